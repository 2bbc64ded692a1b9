"""Several tasks' tables as one: their rows one below the other, in domain first, padded to a common length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from grokray.tasks.codes import Vocabulary
from grokray.tasks.tables import Table


def side_by_side(tables: Sequence[Table], vocabulary: Vocabulary) -> Table:
    """One table of all tasks; each of `tables` is of one task on pairs, and all share the vocabulary.

    Rows of tasks of 3 and 2 pairs in domain and 1 and 1 beyond: `0 0 0 1 1 | 0 1`.
    """
    length = max(table.tokens.shape[1] for table in tables)
    answers = max(table.targets.shape[1] for table in tables)
    uniform = all(t.uniform and t.tokens.shape[1] == length and t.targets.shape[1] == answers for t in tables)
    filler, rows = vocabulary.pad or 0, sum(len(table.tokens) for table in tables)
    if uniform:
        positions = torch.arange(length - answers, length).expand(rows, answers)
    else:
        positions = _stacked(tables, [_widened(table.positions, answers) for table in tables])
    return Table(
        tokens=_stacked(tables, [pad(t.tokens, (0, length - t.tokens.shape[1]), value=filler) for t in tables]),
        positions=positions,
        targets=_stacked(tables, [pad(t.targets, (0, answers - t.targets.shape[1]), value=-1) for t in tables]),
        in_domain=sum(table.in_domain for table in tables),
        uniform=uniform,
        vocabulary=vocabulary,
        task_names=tuple(name for table in tables for name in table.task_names),
        task=_stacked(tables, [torch.full((len(t.tokens),), i, dtype=torch.uint8) for i, t in enumerate(tables)]),
        code=tables[0].code,
        x=_stacked(tables, [table.x for table in tables]),
        y=_stacked(tables, [table.y for table in tables]),
        z=_stacked(tables, [table.z for table in tables]),
        twins=_stacked(tables, _moved_twins(tables)),
        difficulty=_stacked(tables, [table.difficulty for table in tables]),
    )


def _stacked(tables: Sequence[Table], columns: Sequence[Tensor | None]) -> Tensor:
    """One column (rows, …) of every table: what is in domain of each, then the rest of each."""
    there = [(t.in_domain, column) for t, column in zip(tables, columns, strict=True) if column is not None]
    return torch.cat([*(column[:n] for n, column in there), *(column[n:] for n, column in there)])


def _widened(positions: Tensor, answers: int) -> Tensor:
    """Where there is nothing to score, a row's last position again."""
    return torch.cat([positions, positions[:, -1:].expand(-1, answers - positions.shape[1])], dim=1)


def _moved_twins(tables: Sequence[Table]) -> list[Tensor]:
    moved, first = [], 0
    for table in tables:
        if table.twins is not None:
            moved.append(torch.where(table.twins < 0, table.twins, table.twins + first))
        first += table.in_domain
    return moved
