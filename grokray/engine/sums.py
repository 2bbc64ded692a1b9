"""Sums over long rows, the same however many threads there are: a long sum would be split by their number, and round
accordingly. So it is one of short pieces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_PIECE = 1024


def dots(a: Tensor, b: Tensor) -> Tensor:
    """a, b (slots, n) to their inner products (slots,) float64."""
    products = a.to(torch.float64, copy=True).mul_(b)
    while products.shape[1] > _PIECE:
        products = F.pad(products, (0, -products.shape[1] % _PIECE)).unflatten(1, (-1, _PIECE)).sum(-1)
    return products.sum(1)


def norms(rows: Tensor) -> Tensor:
    """rows (slots, n) to their L2 norms (slots,) float64."""
    return dots(rows, rows).sqrt()
