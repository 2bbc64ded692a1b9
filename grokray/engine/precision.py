"""How the matrix products of a model are rounded, forward and backward.

`float32`: as the tensors are, on a GPU too, whatever the process has set. `tf32`: a GPU multiplies with 10 bits of
mantissa and adds up in float32; a CPU computes as with float32. `bf16`: both factors and the product have 7 bits of
mantissa and float32's range. All else stays in the shape's dtype: parameters, moments, biases, norms, softmax, the
loss, the optimiser with Muon's products, and the sums that are gradients of what is looked up (but for tf32, where they
are products like the others). See docs/precision.md for what this means for grokking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["float32", "tf32", "bf16"]


def product(precision: Precision, multiply: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """multiply(a, b), which is to be a product of matrices, of a's dtype."""
    if precision != "bf16":
        return multiply(a, b)
    return multiply(a.to(torch.bfloat16), b.to(torch.bfloat16)).to(a.dtype)


def rounded(precision: Precision, t: Tensor) -> Tensor:
    """`t` as a factor or the result of such a product, for whoever computes it otherwise."""
    return t.to(torch.bfloat16).to(t.dtype) if precision == "bf16" else t


@contextmanager
def matrix_products(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within it a GPU rounds products of float32 matrices as the precision says, and as before after it."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def in_precision(precision: Precision, device: torch.device, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which is called within `matrix_products`."""
    if device.type != "cuda":
        return function

    @wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with matrix_products(precision, device):
            return function(*args, **kwargs)

    return scoped
