"""The tables of a stack's trials on the engine's device, one below the other, so that a batch is one gather."""

from __future__ import annotations

from collections.abc import Collection

import torch

from grokray.engine.evaluation import RowTable
from grokray.engine.shape import ShapeKey
from grokray.tasks.dataset import Dataset


class Tables:
    """Grows as trials of other tables join, until `keep` drops those that nobody uses. Trials with equal dataset keys
    share one table."""

    def __init__(self, shape: ShapeKey, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self._tables: dict[tuple, tuple[int, RowTable]] = {}  # key -> first row, the table
        self._all: RowTable | None = None

    def __getitem__(self, key: tuple) -> RowTable:
        return self._tables[key][1]

    def add(self, dataset: Dataset) -> int:
        """The first row of the dataset's table among all, adding it if it is new."""
        if dataset.key not in self._tables:
            table, several = dataset.table, len(dataset.table.task_names) > 1
            added = RowTable(
                table.tokens.to(self.device),
                None if self.shape.uniform else table.positions.to(self.device),
                table.targets.to(self.device),
                table.task.to(self.device) if several else None,
                table.task_names if several else (),
            )
            self._tables[dataset.key] = (sum(len(table.tokens) for _, table in self._tables.values()), added)
            self._all = None
        return self._tables[dataset.key][0]

    def first_row(self, key: tuple) -> int:
        return self._tables[key][0]

    def keep(self, used: Collection[tuple]) -> bool:
        """Drop the other tables if they hold more rows than the used ones: whether first rows have changed."""
        rows = {key: len(table.tokens) for key, (_, table) in self._tables.items()}
        if 2 * sum(rows[key] for key in used) >= sum(rows.values()):
            return False
        kept, first = {}, 0
        for key, (_, table) in self._tables.items():
            if key in used:
                kept[key] = (first, table)
                first += rows[key]
        self._tables, self._all = kept, None
        return True

    @property
    def all(self) -> RowTable:
        """All rows, without their tasks."""
        if self._all is None:
            tables = [table for _, table in self._tables.values()]
            if len(tables) == 1:
                self._all = tables[0]
            else:
                positions = None if self.shape.uniform else torch.cat([t.positions for t in tables])  # type: ignore[misc]
                tokens, targets = torch.cat([t.tokens for t in tables]), torch.cat([t.targets for t in tables])
                self._all = RowTable(tokens, positions, targets)
        return self._all
