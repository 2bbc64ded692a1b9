"""What a trial trains on: its table, shared with others, and its own split of it."""

from __future__ import annotations

from dataclasses import dataclass

from grokray.tasks.splits import Split, split_rows
from grokray.tasks.tables import Table, build_table, table_key
from grokray.trial import TrialConfig


@dataclass(frozen=True, eq=False)
class Dataset:
    """The table, and which of its rows are trained on, held out and out of domain. `key` tells tables apart."""

    config: TrialConfig
    key: tuple[object, ...]
    table: Table
    split: Split

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


def build_dataset(config: TrialConfig) -> Dataset:
    """The dataset of a resolved trial (see `grokray.tasks.resolve`): for `TrialConfig()`, 9,312 rows of 4 tokens."""
    table = build_table(config)
    return Dataset(config=config, key=table_key(config), table=table, split=split_rows(table, config))
