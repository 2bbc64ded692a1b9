"""Rows of a table by number, and the gradient of it: what the rows' gradients add up to.

A GPU's threads would add them up in whatever order they come, so that no two runs are alike. There they are multiplied
by one-hot rows. A CPU adds one after the other, a tenth of the work where a table has a hundred rows. PyTorch's
compiler takes no notice of a gradient that is defined for a function of one's own, at least where gradients are
functions. So whoever wants gradients takes those of what was looked up, and then calls `look_up_gradient`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.products import bmm, is_for_cpu


def look_up(table: Tensor, ids: Tensor) -> Tensor:
    """table (slots, rows, *width), ids (slots, *n) -> (slots, *n, *width)"""
    slots, rows, *width = table.shape
    flat = ids.reshape(slots, -1)
    first = torch.arange(slots, device=table.device)[:, None] * rows
    return F.embedding(flat + first, table.reshape(slots * rows, -1)).view(*ids.shape, *width)


def look_up_gradient(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    """That of a table of so many rows: gradient (slots, *n, *width), ids (slots, *n) in [0, rows) -> (slots, rows,
    *width)."""
    slots, width = len(gradient), gradient.shape[ids.dim() :]
    ids, gradient = ids.reshape(slots, -1), gradient.reshape(slots, -1, width.numel())
    add = _added if is_for_cpu(gradient) else _multiplied
    return add(gradient, ids, rows).view(slots, rows, *width)


def _added(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    """gradient (slots, n, width), ids (slots, n) -> (slots, rows, width), of each row one after the other."""
    slots, _, width = gradient.shape
    first = torch.arange(slots, device=ids.device)[:, None] * rows
    sums = gradient.new_zeros(slots * rows, width)
    return sums.index_add(0, (ids + first).view(-1), gradient.reshape(-1, width))


def _multiplied(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    every = torch.arange(rows, device=gradient.device)[None, :, None]
    one_hot = (every == ids[:, None]).to(gradient.dtype)
    return bmm(one_hot, gradient)
