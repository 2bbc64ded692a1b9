"""Arithmetic on whole numbers that numbers, arrays and tensors share."""

from __future__ import annotations

from typing import Any


def power(x: Any, exponent: int, p: int) -> Any:
    """xᵉ mod p by squaring, x in [0, p); with exponent p − 2 and a prime p the inverse of x, by Fermat."""
    result = (x * 0 + 1) % p
    while exponent:
        if exponent & 1:
            result = result * x % p
        x = x * x % p
        exponent >>= 1
    return result
