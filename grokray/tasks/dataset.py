"""What a trial trains on: its table, shared with others, and its own split of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grokray.tasks.label_noise import draw_noise, noise_key, with_noise
from grokray.tasks.splits import Split, split_rows
from grokray.tasks.tables import Table, build_table, shared, table_key
from grokray.trial import TrialConfig


@dataclass(frozen=True, eq=False)
class Dataset:
    """The table, and which of its rows are trained on, held out and out of domain. `key` tells tables apart.

    `noisy` (rows,) int64 are the training rows that ask for another row's answer; none without `label_noise`.
    """

    config: TrialConfig
    key: tuple[object, ...]
    table: Table
    split: Split
    noisy: Tensor | None = None

    def __repr__(self) -> str:
        return f"<dataset of {self.config.operation}: {self.split!r} of {self.table!r}>"

    @property
    def vocabulary_size(self) -> int:
        return self.table.vocabulary.size

    @property
    def length(self) -> int:
        """Tokens that a row reads, padding included."""
        return self.table.tokens.shape[1]

    @property
    def answers(self) -> int:
        """Answer tokens of a row, at most."""
        return self.table.targets.shape[1]

    @property
    def tasks_apart(self) -> tuple[str, ...]:
        """The tasks that are measured each for itself too: all where there are several."""
        return self.table.task_names if len(self.table.task_names) > 1 else ()


def build_dataset(config: TrialConfig) -> Dataset:
    """The dataset of a resolved trial (see `grokray.tasks.resolve`): for `TrialConfig()`, 9,312 rows of 4 tokens."""
    table, key = build_table(config), table_key(config)
    split = split_rows(table, config)
    if not config.label_noise:
        return Dataset(config=config, key=key, table=table, split=split)
    noise, key = draw_noise(table, split, config), (*key, *noise_key(config))
    noisy = shared(key, lambda: with_noise(table, noise))
    return Dataset(config=config, key=key, table=noisy, split=split, noisy=noise.rows)
