"""Rows of a table by number, and the gradient of it as a product with one-hot rows.

PyTorch adds such gradients up in whatever order a GPU's threads come, so that no two runs are alike. And its compiler
takes no notice of a gradient that is defined for a function of one's own, at least where gradients are functions. So
whoever wants gradients takes those of what was looked up, and then calls `look_up_gradient`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.products import bmm


def look_up(table: Tensor, ids: Tensor) -> Tensor:
    """table (slots, rows, *width), ids (slots, *n) -> (slots, *n, *width)"""
    slots, rows, *width = table.shape
    flat = ids.reshape(slots, -1)
    first = torch.arange(slots, device=table.device)[:, None] * rows
    return F.embedding(flat + first, table.reshape(slots * rows, -1)).view(*ids.shape, *width)


def look_up_gradient(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    """That of a table of so many rows: gradient (slots, *n, *width), ids (slots, *n) -> (slots, rows, *width)."""
    slots, width = len(gradient), gradient.shape[ids.dim() :]
    every = torch.arange(rows, device=gradient.device)[None, :, None]
    one_hot = (every == ids.reshape(slots, 1, -1)).to(gradient.dtype)
    return bmm(one_hot, gradient.reshape(slots, -1, width.numel())).view(slots, rows, *width)
