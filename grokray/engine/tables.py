"""The tables of a stack's trials on the engine's device, one below the other, so that a batch is one gather."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.shape import ShapeKey
from grokray.tasks.dataset import Dataset
from grokray.tasks.tables import Table


class RowTable(NamedTuple):
    """Rows on the engine's device: tokens (rows, length), positions (rows, answers) or None where the shape is uniform,
    targets (rows, answers), task (rows,), which of its table's tasks each is of; see `tasks.tables.Table`. prefix
    (rows,) int32, which of its table's prefixes each row in domain begins with, or None where batches share none."""

    tokens: Tensor
    positions: Tensor | None
    targets: Tensor
    task: Tensor
    prefix: Tensor | None = None


class Tables:
    """Grows as trials of other tables join, until `keep` drops those that nobody uses. Trials with equal dataset keys
    share one table.

    `all` has the rows of all tables, and perhaps room for more. It is another object whenever its tensors are replaced;
    until there is no room left a new table is written behind the others.
    """

    all: RowTable

    def __init__(self, shape: ShapeKey, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self._places: dict[tuple, range] = {}  # among all rows
        self._used = self._room = 0  # rows

    def add(self, dataset: Dataset) -> int:
        """The first row of the dataset's table among all, adding it if it is new."""
        if dataset.key not in self._places:
            table = dataset.table
            self._places[dataset.key] = range(self._used, self._used + len(table.tokens))
            positions = None if self.shape.uniform else table.positions
            prefix = _prefixes(table, self.shape.batch_sharing.length) if self.shape.batch_sharing.length else None
            self._append(RowTable(table.tokens, positions, table.targets, table.task, prefix))
        return self.first_row(dataset.key)

    def first_row(self, key: tuple) -> int:
        return self._places[key].start

    def keep(self, used: Collection[tuple]) -> bool:
        """Drop the other tables if they hold more rows than the used ones: whether first rows have changed."""
        kept = {key: place for key, place in self._places.items() if key in used}
        if 2 * sum(map(len, kept.values())) >= self._used:
            return False
        pieces, self._used = [slice(place.start, place.stop) for place in kept.values()], 0
        for key, place in kept.items():
            self._places[key] = range(self._used, self._used + len(place))
            self._used += len(place)
        self._places = {key: self._places[key] for key in kept}
        self._room = self._used
        self.all = _each(self.all, lambda t: torch.cat([t[:0], *(t[piece] for piece in pieces)]))
        return True

    def _append(self, added: RowTable) -> None:
        """Put rows behind the others. The first table is used as it is: others may share it, but nobody writes to it,
        since it leaves no room."""
        rows = slice(self._used, self._used + len(added.tokens))
        if self._room == 0:
            self.all, self._room = _each(added, lambda t: t.to(self.device)), rows.stop
        elif rows.stop > self._room:
            self._room = max(rows.stop, 2 * self._room)
            self.all = _each(self.all, self._with_room)
        if rows.start:
            for target, new in zip(self.all, added, strict=True):
                if target is not None and new is not None:
                    target[rows] = new.to(self.device)
        self._used = rows.stop

    def _with_room(self, t: Tensor) -> Tensor:
        larger = t.new_zeros(self._room, *t.shape[1:])
        larger[: self._used] = t[: self._used]
        return larger


def _prefixes(table: Table, length: int) -> Tensor:
    ids = table.sorted_in_domain.prefix_ids(length).int()
    return F.pad(ids, (0, len(table.tokens) - len(ids)))  # nobody trains on the others


def _each(table: RowTable, function: Callable[[Tensor], Tensor]) -> RowTable:
    positions, prefix = (None if t is None else function(t) for t in (table.positions, table.prefix))
    return RowTable(function(table.tokens), positions, function(table.targets), function(table.task), prefix)
