"""Primes by trial division: ample for a modulus of at most 65,536, and it needs no torch."""

from __future__ import annotations

from functools import lru_cache
from math import isqrt


@lru_cache(maxsize=4096)
def is_prime(number: int) -> bool:
    """`is_prime(97)` is true, `is_prime(1)` false."""
    return number >= 2 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def next_prime(number: int) -> int:
    """The smallest prime that is at least `number`: 97 for 97, 101 for 98."""
    candidate = max(number, 2)
    while not is_prime(candidate):
        candidate += 1
    return candidate


def previous_prime(number: int) -> int | None:
    """The largest prime that is at most `number`: 97 for 98. None below 2."""
    return next((candidate for candidate in range(number, 1, -1) if is_prime(candidate)), None)
