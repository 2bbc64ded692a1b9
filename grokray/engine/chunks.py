"""Which rows a trial is evaluated on, in which order, and how they are cut into chunks of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.randomness import generator
from grokray.engine.shape import ShapeKey
from grokray.engine.sharing import work_of_a_row
from grokray.tasks.dataset import Dataset
from grokray.trial import PARTS


class Chunks(NamedTuple):
    """The rows that a trial is evaluated on, rows that begin alike side by side, cut into chunks of one size.

    rows (chunks, n) int32: row numbers of the trial's table · part (chunks, n) int8: the index of each in PARTS, or −1
    where the chunk is filled up · prefixes (chunks, shape.sharing.prefixes) int64: rows that begin as the chunk's
    rows do · at (chunks, n) int32: where in `prefixes` each row's is · sizes: how many rows of each chunk are there
    """

    rows: Tensor
    part: Tensor
    prefixes: Tensor
    at: Tensor
    sizes: tuple[int, ...]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.rows, self.part, self.prefixes, self.at

    def to(self, device: torch.device) -> Chunks:
        rows, part, prefixes, at = (t.to(device) for t in self.tensors)
        return Chunks(rows, part, prefixes, at, self.sizes)


def side_by_side(chunks: Sequence[Chunks], first_rows: Tensor) -> Chunks:
    """Those of several slots, of equal sizes, with the slots in front: rows (slots, chunks, n). Rows are numbered as
    those of all tables, among which each slot's begins at one of `first_rows` (slots,)."""
    rows, part, prefixes, at = (torch.stack(columns) for columns in zip(*(c.tensors for c in chunks), strict=True))
    first = first_rows[:, None, None]
    return Chunks(rows + first.int(), part, prefixes + first, at, chunks[0].sizes)


def chunks_of(shape: ShapeKey, dataset: Dataset) -> Chunks:
    """What a trial of this shape is evaluated on."""
    rows, part = evaluated_rows(dataset)
    shared, most = shape.sharing
    ids = dataset.table.sorted_rows.prefix_ids(shared)[rows]
    order = ids.argsort(stable=True)
    rows, part, ids = rows[order], part[order], ids[order]
    begins = torch.ones_like(ids, dtype=torch.bool)  # whether a row's prefix is another than that of the row before
    begins[1:] = ids[1:] != ids[:-1]
    number = begins.cumsum(0) - 1
    size, cuts = shape.chunk_rows, [0]
    while cuts[-1] < len(rows):
        start = cuts[-1]
        fits = int(torch.searchsorted(number, number[start] + most)) if shared else len(rows)
        cuts.append(min(start + size, fits, len(rows)))
    pieces = [slice(start, stop) for start, stop in zip(cuts, cuts[1:], strict=False)]
    firsts = begins.nonzero().squeeze(1)
    used = [rows[firsts[number[piece.start] : number[piece.stop - 1] + 1]] if shared else rows[:0] for piece in pieces]
    return Chunks(
        rows=_filled([rows[piece] for piece in pieces], size, 0).int(),
        part=_filled([part[piece] for piece in pieces], size, -1),
        prefixes=_filled(used, most, 0),
        at=_filled([number[piece] - number[piece.start] for piece in pieces], size, 0).int(),
        sizes=tuple(piece.stop - piece.start for piece in pieces),
    )


def _filled(pieces: Sequence[Tensor], size: int, value: int) -> Tensor:
    return torch.stack([F.pad(piece, (0, size - len(piece)), value=value) for piece in pieces])


def evaluated_rows(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The rows (n,) int64 of its table that a trial is evaluated on, rising, and of each the index (n,) int8 in PARTS.

    Of the training rows `eval_train_rows` are drawn, if it says so, the same at every evaluation; and one more of each
    task of which none is among them.
    """
    split, most = dataset.split, dataset.config.eval_train_rows
    part = torch.full((len(dataset.table.tokens),), -1, dtype=torch.int8)
    for i, name in enumerate(PARTS):
        rows = getattr(split, name)
        if name == "train" and most is not None and most < len(rows):
            rows = rows[torch.randperm(len(rows), generator=generator(dataset.config.split_seed, "evaluation"))]
            rows = torch.cat([rows[:most], *_firsts_of_tasks(dataset, rows, rows[:most])])
        part[rows] = i
    rows = (part >= 0).nonzero().squeeze(1)
    return rows, part[rows]


def evaluation_steps(shape: ShapeKey, dataset: Dataset) -> float:
    """How many training steps of a trial take as long as one evaluation of it, by multiplications.

    Of x/y mod 97, batches of 512 rows, width 128: 5.3; of 64 rows, width 32: 28. Measured were 4.6 to 4.9 and 24 to 29
    (docs/log.md).
    """
    of_row = work_of_a_row(shape.sharing, shape.chunk_rows, shape.length, shape.answers, shape.num_layers)
    trained = work_of_a_row(shape.batch_sharing, shape.batch_size, shape.length, shape.answers, shape.num_layers)
    rows = len(evaluated_rows(dataset)[0])
    # A step goes forward and twice backward.
    return rows * of_row / (3 * shape.accumulation_steps * shape.batch_size * trained)


def _firsts_of_tasks(dataset: Dataset, rows: Tensor, drawn: Tensor) -> list[Tensor]:
    """Of each task without a row among those drawn, the first of `rows` (n,), as (1,)."""
    task = dataset.table.task
    there = set(task[drawn].tolist())
    missing = [i for i in range(len(dataset.tasks_apart)) if i not in there]
    return [rows[task[rows] == i][:1] for i in missing]
