"""Which pairs are trained on, and which are held out: by pair and `split_seed` alone.

The table's rows stand for the same pairs in every base and representation, and nothing but their number enters the
draw, so bases are compared on the same pairs. With `split: random` a larger training fraction only adds pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokray.tasks.operations import OPERATIONS
from grokray.tasks.pairs import pairs_in_domain
from grokray.tasks.sizes import training_count
from grokray.tasks.tables import Table
from grokray.trial import TrialConfig


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers int64 into a Table. `twin_share`: of the held-out pairs (x, y), the share with (y, x) trained on.

    `train` ascends with `curriculum: random`: the trainer shuffles it anew each epoch. With `ordered` it goes from easy
    to hard, by the larger number of the pair and then by row, and the trainer takes it in that order, unshuffled.
    """

    train: Tensor
    heldout: Tensor
    out_of_domain: Tensor
    twin_share: float


def split_rows(table: Table, config: TrialConfig) -> Split:
    """Both sides ascend by row, but for an ordered curriculum; together they hold every in-domain row once.

    97 · 96 pairs at training_fraction 0.5 give 4,656 and 4,656. For `x/y_mod` the pair is quotient and divisor.
    """
    twins = table.twins[: table.in_domain]
    size = training_count(table.in_domain, config.training_fraction)
    generator = torch.Generator().manual_seed(config.split_seed)
    chosen = torch.zeros(table.in_domain, dtype=torch.bool)
    if config.split == "commutative":
        chosen[_whole_couples(twins, size, generator)] = True
    else:
        chosen[torch.randperm(table.in_domain, generator=generator)[:size]] = True
    train, heldout = chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0]
    if config.curriculum == "ordered":
        train = train[torch.argsort(_difficulty(config)[train], stable=True)]
    return Split(
        train=train,
        heldout=heldout,
        out_of_domain=torch.arange(table.in_domain, len(table.z)),
        twin_share=_twin_share(chosen, twins, heldout),
    )


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


def _difficulty(config: TrialConfig) -> Tensor:
    x, y = pairs_in_domain(OPERATIONS[config.operation], config.operand_limit)
    return x.maximum(y)


def _twin_share(chosen: Tensor, twins: Tensor, heldout: Tensor) -> float:
    twin = twins[heldout]
    return float((chosen[twin.clamp(min=0)] & (twin >= 0)).double().mean())
