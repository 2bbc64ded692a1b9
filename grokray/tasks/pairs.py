"""The pairs (x, y) of a task, in an order that depends on nothing but the operation's y_min and the limits.

Pair number i of the domain is x = i ÷ (limit − y_min), y = i mod (limit − y_min) + y_min, whatever the base or the
representation, so the same row number means the same pair wherever operation and limits agree.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokray.tasks.operations import Operation


def pairs_in_domain(operation: Operation, limit: int) -> tuple[Tensor, Tensor]:
    """All x and y (pairs,) with 0 ≤ x < limit and y_min ≤ y < limit; x is the slower one."""
    y_values = torch.arange(operation.y_min, limit)
    return torch.arange(limit).repeat_interleave(len(y_values)), y_values.repeat(limit)


def pairs_out_of_domain(operation: Operation, limit: int, limit_out: int | None) -> tuple[Tensor, Tensor]:
    """All x and y (pairs,) below `limit_out` of which at least one is `limit` or more, each pair once."""
    x, y = pairs_in_domain(operation, limit_out or limit)
    outside = x.maximum(y) >= limit
    return x[outside], y[outside]


def twin_rows(operation: Operation, limit: int) -> Tensor:
    """For each pair in domain the row (pairs,) of (y, x), its own where x = y, or −1 where (y, x) is not in domain."""
    x, y = pairs_in_domain(operation, limit)
    row = y * (limit - operation.y_min) + x - operation.y_min
    return row.masked_fill(x < operation.y_min, -1)
