"""Tables of ARC grids: rows that show an input grid, after other pairs perhaps, and ask for the output grid.

How grids are written is in `arc_rows`, where they come from in `arc_data`. Exact match is that of the whole output,
its shape included, since rows and end are tokens of the answer. With `arc_holdout: pairs` each ARC task is a task of
the table, with measurements of its own, and is split by itself; with `tasks` a task's rows are one group of the split.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokray.errors import ConfigError, Problem
from grokray.tasks.arc_data import content_hash
from grokray.tasks.arc_door import arc_tasks
from grokray.tasks.arc_files import ArcTask
from grokray.tasks.arc_rows import ArcRow, grid_ids, in_domain, out_of_domain, prompt, vocabulary
from grokray.tasks.codes import Vocabulary
from grokray.tasks.malformed import Malformed
from grokray.tasks.tables import Table, one_task
from grokray.trial import TrialConfig

# Of a trial alone: a sweep goes on where its file says that they lie.
WHERE = (
    "they are looked for where they lay as the trial began, and in inputs/ of the sweep's folder; a link there will do"
)


def key(config: TrialConfig) -> tuple[object, ...]:
    """The same for the same grids, wherever they lie."""
    return config.arc_data_hash, config.arc_context, config.arc_holdout


def build(config: TrialConfig) -> Table:
    """Raises ConfigError where the data is no longer what the trial was made for."""
    tasks, context, holdout = _same_tasks(config), config.arc_context or 0, config.arc_holdout or "pairs"
    words = vocabulary(tasks, holdout)
    rows = list(in_domain(tasks, context, holdout))
    number, trained = len(rows), _Trained(rows)
    rows += [row for row in out_of_domain(tasks, context) if trained.covers(row)]
    tokens, positions, targets = _lay_out(rows, words, own_words=holdout == "pairs")
    task = torch.tensor([row.task for row in rows])
    lengths = torch.tensor([row.length for row in rows])
    return Table(
        tokens=tokens,
        positions=positions,
        targets=targets,
        in_domain=number,
        uniform=False,
        vocabulary=words,
        task_names=tuple(t.name for t in tasks) if holdout == "pairs" else ("arc",),
        task=task.to(torch.uint8) if holdout == "pairs" else one_task(len(rows)),
        groups=task if holdout == "tasks" else None,
        difficulty=lengths.int(),
    )


def _same_tasks(config: TrialConfig) -> tuple[ArcTask, ...]:
    try:
        tasks = arc_tasks(config.model_dump())
        found = content_hash(tasks)
    except Malformed as error:
        raise ConfigError([Problem(field="data_dir", message=f"the trial's tasks: {error}")], hint=WHERE) from None
    if found != config.arc_data_hash:
        where = config.data_dir or config.data
        message = (
            f"the tasks in {where} are no longer those of the trial: their hash is {found}, not {config.arc_data_hash}"
        )
        raise ConfigError([Problem(field="arc_data_hash", message=message)], hint=WHERE)
    return tasks


class _Trained:
    """What the rows in domain read and write: a row that needs more (another colour, a later position) asks for
    tokens or positions that nothing ever trained."""

    def __init__(self, rows: Sequence[ArcRow]) -> None:
        self.length = max(row.length for row in rows)
        self.read = {colour for row in rows for colour in _read(row)}
        self.written = {colour for row in rows for colour in grid_ids(row.asked[1])}

    def covers(self, row: ArcRow) -> bool:
        return row.length <= self.length and _read(row) <= self.read and {*grid_ids(row.asked[1])} <= self.written


def _read(row: ArcRow) -> set[int]:
    return {i for pair in (*row.shown, row.asked) for grid in pair for i in grid_ids(grid)}


def _lay_out(rows: Sequence[ArcRow], words: Vocabulary, *, own_words: bool) -> tuple[Tensor, Tensor, Tensor]:
    """tokens, positions and targets as a Table has them."""
    length, answers = max(row.length for row in rows), max(row.answer_length for row in rows)
    tokens = torch.full((len(rows), length), words.pad or 0, dtype=torch.int32)
    targets = torch.full((len(rows), answers), -1)
    positions = torch.empty_like(targets)
    step = torch.arange(answers)
    for i, row in enumerate(rows):
        question = prompt(row, words.for_task(row.task) if own_words else words)
        answer = [*grid_ids(row.asked[1]), words.eos]
        read = [*question, *answer[:-1]]
        tokens[i, : len(read)] = torch.tensor(read, dtype=torch.int32)
        targets[i, : len(answer)] = torch.tensor(answer)
        # Where there is nothing to score, the row's last token is as good as any.
        positions[i] = len(question) - 1 + step.clamp(max=len(answer) - 1)
    return tokens, positions, targets
