"""From numbers to rows of tokens: each number is encoded once, then rows are put together by look-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from grokray.tasks.codes import Vocabulary

# Rows laid out at a time, to keep the index tensors of the largest tables small.
CHUNK = 65_536


@dataclass(frozen=True, eq=False)
class Numbers:
    """The tokens (numbers, width) int32 and lengths (numbers,) of `values` (numbers,), which ascend; −1 fills a row."""

    tokens: Tensor
    lengths: Tensor
    values: Tensor

    @classmethod
    def covering(cls, *values: Tensor, encode: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Numbers:
        """All of `values`, and what lies between them, unless that is more: the answers of an expression may lie as far
        apart as those of x**40."""
        first, last = min(int(v.min()) for v in values), max(int(v.max()) for v in values)
        near = last - first < sum(map(len, values))
        covered = torch.arange(first, last + 1) if near else torch.cat(values).unique()
        tokens, lengths = encode(covered)
        return cls(tokens.int(), lengths, covered)

    def place(self, values: Tensor) -> Tensor:
        first, last = int(self.values[0]), int(self.values[-1])
        if last - first < len(self.values):
            return values - first
        return torch.searchsorted(self.values, values)

    def without_last(self) -> Numbers:
        """Each number but its last token: of an answer, what teacher forcing reads."""
        column = torch.arange(self.tokens.shape[1])
        tokens = self.tokens.masked_fill(column >= self.lengths[:, None] - 1, -1)
        return Numbers(tokens, self.lengths - 1, self.values)

    def mark_seen(self, seen: Tensor, *values: Tensor) -> None:
        """Set `seen` (ids,) at every token that spells one of `values`."""
        used = torch.zeros(len(self.tokens), dtype=torch.bool)
        for some in values:
            used[self.place(some)] = True
        tokens = self.tokens[used].flatten()
        seen[tokens[tokens >= 0].long()] = True

    def covered_by(self, seen: Tensor) -> Tensor:
        """Which numbers (numbers,) are spelled in tokens that are all `seen`."""
        return (seen[self.tokens.clamp(min=0).long()] | (self.tokens < 0)).all(1)


def lay_out(
    vocabulary: Vocabulary, operands: Numbers, answers: Numbers, left: Tensor, right: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Tokens, positions, targets and `uniform`, as a Table has them, of `left op right = z` (each (rows,))."""
    left, right, z = operands.place(left), operands.place(right), answers.place(z)
    equals_at = operands.lengths[left] + 1 + operands.lengths[right]  # (rows,)
    answer_lengths = answers.lengths[z]
    row_lengths = equals_at + answer_lengths
    length, answer_width = int(row_lengths.max()), int(answer_lengths.max())

    read = answers.without_last()
    tokens = torch.empty(len(z), length, dtype=torch.int32)
    for start in range(0, len(z), CHUNK):
        rows = slice(start, start + CHUNK)
        chunk = _Rows(len(z[rows]), length, vocabulary.pad or 0)
        chunk.put(operands.tokens[left[rows]], torch.zeros_like(left[rows]))
        chunk.put_mark(vocabulary.op, operands.lengths[left[rows]])
        chunk.put(operands.tokens[right[rows]], operands.lengths[left[rows]] + 1)
        chunk.put_mark(vocabulary.equals, equals_at[rows])
        chunk.put(read.tokens[z[rows]], equals_at[rows] + 1)
        tokens[rows] = chunk.cells[:, :length]

    targets = answers.tokens[:, :answer_width].long()[z]
    uniform = int(row_lengths.min()) == length and int(answer_lengths.min()) == answer_width
    if uniform:
        positions = torch.arange(length - answer_width, length).expand(len(z), answer_width)
    else:
        # Where there is nothing to score, the row's last token is as good as any.
        step = torch.arange(answer_width).minimum(answer_lengths[:, None] - 1)
        positions = equals_at[:, None] + step
    return tokens, positions, targets, uniform


class _Rows:
    """Some rows in the making, with one column more that takes what is to be thrown away."""

    def __init__(self, rows: int, length: int, fill: int) -> None:
        self.cells = torch.full((rows, length + 1), fill, dtype=torch.int32)

    def put(self, tokens: Tensor, start: Tensor) -> None:
        """Write tokens (rows, width), those that are not −1, from column `start` (rows,) on."""
        columns = start[:, None] + torch.arange(tokens.shape[1])
        columns.masked_fill_(tokens < 0, self.cells.shape[1] - 1)
        self.cells.scatter_(1, columns, tokens)

    def put_mark(self, token: int, column: Tensor) -> None:
        self.cells.scatter_(1, column[:, None], token)
