"""Which rows are trained on, and which are held out: by row and `split_seed` alone.

The rows of a task on pairs stand for the same pairs in every base and representation, and nothing but their number
enters the draw, so bases are compared on the same pairs. With `split: random` a larger training fraction only adds
rows. Several tasks are drawn each by itself from the same seed: tasks over the same domain train on the same pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokray.errors import ConfigError, Problem
from grokray.tasks.sizes import one_sided, training_count
from grokray.tasks.tables import Table
from grokray.trial import TrialConfig


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers int64 into a Table. `twin_share`: of the held-out pairs (x, y), the share with (y, x) trained on;
    None where rows are no pairs.

    `train` ascends with `curriculum: random`: the trainer shuffles it anew each epoch. With `ordered` it goes from easy
    to hard, by the table's `difficulty` and then by row, and the trainer takes it in that order, unshuffled.
    """

    train: Tensor
    heldout: Tensor
    out_of_domain: Tensor
    twin_share: float | None

    def __repr__(self) -> str:
        parts = f"{len(self.train):,} train, {len(self.heldout):,} heldout, {len(self.out_of_domain):,} out_of_domain"
        return f"<split: {parts}>"


def split_rows(table: Table, config: TrialConfig) -> Split:
    """Both sides ascend by row, but for an ordered curriculum; together they hold every in-domain row once.

    97 · 96 pairs at training_fraction 0.5 give 4,656 and 4,656. For `x/y_mod` the pair is quotient and divisor.
    Raises ConfigError where a side would be empty.
    """
    chosen = torch.zeros(table.in_domain, dtype=torch.bool)
    for rows in _task_rows(table):
        chosen[rows[_chosen(table, rows, config)]] = True
    train, heldout = chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0]
    if config.curriculum == "ordered" and table.difficulty is not None:
        train = train[torch.argsort(table.difficulty[train], stable=True)]
    return Split(
        train=train,
        heldout=heldout,
        out_of_domain=torch.arange(table.in_domain, len(table.tokens)),
        twin_share=None if table.twins is None else _twin_share(chosen, table.twins[: table.in_domain], heldout),
    )


def _task_rows(table: Table) -> list[Tensor]:
    """The rows of each task in domain."""
    tasks = table.task[: table.in_domain]
    return [(tasks == i).nonzero()[:, 0] for i in range(len(table.task_names))]


def _chosen(table: Table, rows: Tensor, config: TrialConfig) -> Tensor:
    """Which of a task's rows (rows,) are trained on, as places in `rows`."""
    generator = torch.Generator().manual_seed(config.split_seed)
    if table.groups is not None:
        return _whole_groups(table.groups[rows], config.training_fraction, generator)
    size = training_count(len(rows), config.training_fraction)
    _require_both_sides(len(rows), config.training_fraction, "rows")
    if config.split == "commutative" and table.twins is not None:
        twins = table.twins[rows]
        return _whole_couples(torch.where(twins < 0, twins, twins - rows[0]), size, generator)
    return torch.randperm(len(rows), generator=generator)[:size]


def _whole_groups(groups: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """All rows of a share of the groups: of 10 groups at a fraction of 0.75, those of 7."""
    names, group = groups.unique(return_inverse=True)
    size = training_count(len(names), fraction)
    _require_both_sides(len(names), fraction, "groups of rows")
    taken = torch.zeros(len(names), dtype=torch.bool)
    taken[torch.randperm(len(names), generator=generator)[:size]] = True
    return taken[group].nonzero()[:, 0]


def _require_both_sides(number: int, fraction: float, unit: str) -> None:
    if fault := one_sided(number, fraction, f"{number:,} {unit}"):
        raise ConfigError([Problem(field="training_fraction", message=fault)])


def _whole_couples(twins: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Exactly `size` rows (size,), such that no row is taken without its twin.

    Couples and singles (x = y, or no twin in domain) are shuffled together and taken in turn. Where a couple no longer
    fits, a single from further on fills the last place, or, all singles being in, one of them makes room for it.
    """
    row = torch.arange(len(twins))
    single = (twins < 0) | (twins == row)
    units = row[single | (row < twins)]  # a couple goes by its smaller row
    units = units[torch.randperm(len(units), generator=generator)]
    width = 2 - single[units].long()
    count = int((width.cumsum(0) <= size).sum())
    taken, rest = units[:count], units[count:]
    if int(width[:count].sum()) < size:
        later_singles = rest[single[rest]]
        if len(later_singles):
            taken = torch.cat([taken, later_singles[:1]])
        else:
            last_single = single[taken].nonzero()[-1, 0]
            taken = torch.cat([taken[:last_single], taken[last_single + 1 :], rest[:1]])
    partners = twins[taken[~single[taken]]]
    return torch.cat([taken, partners])


def _twin_share(chosen: Tensor, twins: Tensor, heldout: Tensor) -> float:
    twin = twins[heldout]
    return float((chosen[twin.clamp(min=0)] & (twin >= 0)).double().mean())
