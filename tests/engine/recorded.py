"""Recorded operations on tensors, run again as a CUDA graph would: on the memory that they were recorded on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.utils._pytree import tree_leaves


@torch.no_grad()
def run_again(operations: Iterable[tuple]) -> None:
    """Each is the operation, its arguments by place and by name, and what it gave."""
    for operation, args, kwargs, out in operations:
        aliases = [r.alias_info for r in operation._schema.returns]
        if any(alias is not None and not alias.is_write for alias in aliases):
            continue  # a view sees what is written to its base
        again = operation(*args, **kwargs)
        for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
            if old is not new:
                old.copy_(new)
