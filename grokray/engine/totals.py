"""What an evaluation adds up over its chunks, for several slots at once. Nothing is read from the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grokray.engine.chunks import Chunks
from grokray.engine.evaluation import COLUMNS
from grokray.engine.shape import ShapeKey
from grokray.engine.tables import RowTable
from grokray.trial import PARTS

RowSums = Callable[..., Tensor]  # `row_sums` of one shape, perhaps compiled, from `rows` on


@torch.no_grad()
def add_chunk(
    shape: ShapeKey, sums_of: RowSums, table: RowTable, totals: Tensor, parameters: Tensor, *chunk: Tensor
) -> None:
    """Add what a chunk's rows sum up to: over all rows, and where `totals` has more groups, over those of each task.

    totals (slots, groups, PARTS, COLUMNS) float64, for `evaluations_of` · parameters (slots, row_size) · chunk: one
    chunk of each of `Chunks.tensors`, with the slots in front.
    """
    rows, part, prefixes, at = chunk
    rows = rows.long()
    sums = sums_of(parameters, *_inputs(shape, table, rows, prefixes, at))
    groups = totals.shape[1]
    masks = [part == i for i in range(len(PARTS))]
    if groups > 1:
        task = table.task[rows]
        masks += [of_part & (task == i) for i in range(groups - 1) for of_part in masks[: len(PARTS)]]
    totals.add_(torch.stack([(sums * mask[..., None]).sum(1) for mask in masks], 1).view_as(totals))


def totals_of(
    shape: ShapeKey, sums_of: RowSums, table: RowTable, parameters: Tensor, chunks: Chunks, groups: int
) -> Tensor:
    """All that is added up for the slots; `chunks` of several slots are `side_by_side`."""
    totals = new_totals(len(parameters), groups, parameters.device)
    for i, size in enumerate(chunks.sizes):
        rows, part, prefixes, at = (t[:, i] for t in chunks.tensors)
        add_chunk(shape, sums_of, table, totals, parameters, rows[:, :size], part[:, :size], prefixes, at[:, :size])
    return totals


def new_totals(slots: int, groups: int, device: torch.device) -> Tensor:
    return torch.zeros(slots, groups, len(PARTS), COLUMNS, dtype=torch.float64, device=device)


class Totals:
    """The same on tensors that stay where they are, so that adding a chunk can be recorded; chunks are whole ones."""

    def __init__(
        self, shape: ShapeKey, sums_of: RowSums, table: RowTable, parameters: Tensor, chunks: Chunks, groups: int
    ) -> None:
        self.shape, self.sums_of, self.table = shape, sums_of, table
        self.totals = new_totals(len(parameters), groups, parameters.device)
        self.parameters = torch.zeros_like(parameters)
        self.chunk = [torch.zeros_like(t[:, 0]) for t in chunks.tensors]

    def add(self) -> None:
        add_chunk(self.shape, self.sums_of, self.table, self.totals, self.parameters, *self.chunk)

    def of(self, parameters: Tensor, chunks: Chunks, add: Callable[[], None]) -> Tensor:
        """`totals_of` these slots; `add` does what `self.add` does."""
        self.totals.zero_()
        self.parameters.copy_(parameters)
        for i in range(len(chunks.sizes)):
            for own, given in zip(self.chunk, chunks.tensors, strict=True):
                own.copy_(given[:, i])
            add()
        return self.totals.clone()


def _inputs(shape: ShapeKey, table: RowTable, rows: Tensor, prefixes: Tensor, at: Tensor) -> list[Tensor]:
    """What `row_sums` takes after the parameters."""
    shared = shape.sharing.length
    inputs = [table.tokens[rows][..., shared:].contiguous(), table.targets[rows]]
    if table.positions is not None:
        inputs.append(table.positions[rows])
    return [*inputs, table.tokens[prefixes][..., :shared].contiguous(), at.contiguous()] if shared else inputs
