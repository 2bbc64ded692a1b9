"""The tables of a stack's trials on the engine's device, one below the other, so that a batch is one gather."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from grokray.engine.evaluation import RowTable
from grokray.engine.shape import ShapeKey
from grokray.tasks.dataset import Dataset


@dataclass(frozen=True)
class _Place:
    """Where a table's rows lie among all, and which of its tasks each is of, where there are several."""

    rows: slice
    task: Tensor | None
    task_names: tuple[str, ...]

    @property
    def size(self) -> int:
        return self.rows.stop - self.rows.start


class Tables:
    """Grows as trials of other tables join, until `keep` drops those that nobody uses. Trials with equal dataset keys
    share one table.

    `all` has the rows of all tables, without their tasks, and perhaps room for more. It is another object whenever its
    tensors are replaced; until there is no room left a new table is written behind the others.
    """

    all: RowTable

    def __init__(self, shape: ShapeKey, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self._places: dict[tuple, _Place] = {}
        self._used = self._room = 0  # rows

    def __getitem__(self, key: tuple) -> RowTable:
        place = self._places[key]
        tokens, positions, targets = (None if t is None else t[place.rows] for t in _columns(self.all))
        return RowTable(tokens, positions, targets, place.task, place.task_names)  # type: ignore[arg-type]

    def add(self, dataset: Dataset) -> int:
        """The first row of the dataset's table among all, adding it if it is new."""
        if dataset.key not in self._places:
            table, several = dataset.table, len(dataset.table.task_names) > 1
            rows = slice(self._used, self._used + len(table.tokens))
            task = table.task.to(self.device) if several else None
            self._places[dataset.key] = _Place(rows, task, table.task_names if several else ())
            positions = None if self.shape.uniform else table.positions
            self._append(RowTable(table.tokens, positions, table.targets))
        return self.first_row(dataset.key)

    def first_row(self, key: tuple) -> int:
        return self._places[key].rows.start

    def keep(self, used: Collection[tuple]) -> bool:
        """Drop the other tables if they hold more rows than the used ones: whether first rows have changed."""
        if 2 * sum(self._places[key].size for key in used) >= self._used:
            return False
        kept = {key: place for key, place in self._places.items() if key in used}
        old, start = self.all, 0
        for key, place in kept.items():
            self._places[key] = _Place(slice(start, start + place.size), place.task, place.task_names)
            start += place.size
        self._places = {key: self._places[key] for key in kept}
        self._used = self._room = start
        self.all = _each(old, lambda t: torch.cat([t[:0], *(t[place.rows] for place in kept.values())]))
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
            for target, new in zip(_columns(self.all), _columns(added), strict=True):
                if target is not None:
                    target[rows] = new.to(self.device)  # type: ignore[union-attr]
        self._used = rows.stop

    def _with_room(self, t: Tensor) -> Tensor:
        larger = t.new_zeros(self._room, *t.shape[1:])
        larger[: self._used] = t[: self._used]
        return larger


def _columns(table: RowTable) -> tuple[Tensor | None, ...]:
    return table.tokens, table.positions, table.targets


def _each(table: RowTable, function: Callable[[Tensor], Tensor]) -> RowTable:
    tokens, positions, targets = (None if t is None else function(t) for t in _columns(table))
    return RowTable(tokens, positions, targets)  # type: ignore[arg-type]
