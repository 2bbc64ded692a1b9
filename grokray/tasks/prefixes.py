"""Which rows of a table begin alike.

A causal model computes the same at the first tokens of every row that shares them, whatever comes after: of x/y mod 97
the 9,312 rows have 97 prefixes of 2 tokens, an operand and the operator.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BITS = 62  # of an int64 that tokens are packed into


class SortedRows(NamedTuple):
    """`order` (rows,) int64: row numbers in the order of their tokens, then of their number · `shared` (rows,) int32:
    how many leading tokens each of these has in common with the one before it; −1 for the first, which has none."""

    order: Tensor
    shared: Tensor

    def distinct(self, length: int) -> int:
        """How many prefixes of so many tokens there are."""
        return int((self.shared < length).sum())

    def firsts(self, length: int) -> Tensor:
        """(distinct,) int64: of each prefix of so many tokens, in their order, the first row that begins with it."""
        return self.order[self.shared < length]

    def prefix_ids(self, length: int) -> Tensor:
        """(rows,) int64: each row's prefix of so many tokens, numbered from 0 in their order."""
        ids = torch.empty_like(self.order)
        ids[self.order] = (self.shared < length).cumsum(0) - 1
        return ids


def sorted_rows(tokens: Tensor) -> SortedRows:
    """tokens (rows, length), none negative.

    Of the rows 3 1, 2 1, 3 0, 3 1 the order is 1, 2, 0, 3 and what they share −1, 0, 1, 2.
    """
    rows, length = tokens.shape
    bits = max(1, int(tokens.max()).bit_length()) if rows else 1
    order = torch.arange(rows)
    # By the last few tokens first: each stable sort keeps the order of those before it among equals.
    for columns in reversed(tokens.long().split(_BITS // bits, dim=1)):
        packed = torch.zeros(rows, dtype=torch.int64)
        for column in columns.unbind(1):
            packed = (packed << bits) | column
        order = order[packed[order].argsort(stable=True)]
    shared = torch.full((rows,), length, dtype=torch.int32)
    in_order = tokens[order]
    for i, differs in reversed([*enumerate((in_order[1:] != in_order[:-1]).unbind(1))]):
        shared[1:].masked_fill_(differs, i)
    shared[:1] = -1
    return SortedRows(order, shared)
