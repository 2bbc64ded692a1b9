"""Do critical training fractions of two groups differ? Their difference, with an interval and a p-value.

The ends of both groups' own intervals, which are Fieller's, are joined (Zou and Donner 2008, see `intervals.joined`),
so that what is lopsided or boundless stays so. p is one less the highest level at which the interval leaves out 0, see
`inverted`. Groups of other configurations are independent; where configurations have trials in both, as groups by seed
do, what these do to both midpoints is taken into account.

Where one of the two is perfectly separated, all that is known of it is a gap: the difference lies from gap to gap,
without a level of confidence. Whether there is any is tested by permutation then: were the curves the same, the groups
of configurations with neighbouring fractions could as well be changed for each other (Fisher 1935, see `permutation`).
That needs groups of which no trial was pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from grokray.analysis.critical import Critical
from grokray.analysis.intervals import joined
from grokray.analysis.inverted import p_of_none
from grokray.analysis.logrank import holm
from grokray.analysis.midpoint import Midpoint
from grokray.analysis.permutation import permutation_test
from grokray.analysis.shares import LEVEL, Estimate

NEIGHBOURS = 4  # configurations, by their training fraction
LEAST_P = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of the critical fraction of `b` to that of `a`: above 0 where `b` needs more data. `p_value` is NaN where it is
    not known, and `is_gap` says that the interval goes from gap to gap; `adjusted` (Holm 1979) allows for all
    pairs."""

    a: Critical
    b: Critical
    difference: Estimate
    p_value: float
    adjusted: float = float("nan")

    @property
    def is_gap(self) -> bool:
        return "separation" in (self.a.method, self.b.method)


def differences(found: Sequence[Critical], level: float = LEVEL) -> list[Difference]:
    """Of each pair of groups that have a fraction, in their order."""
    pairs = list(combinations([one for one in found if one.method != "none"], 2))
    at_levels = [_at_level(a, b) for a, b in pairs]
    p_values = np.array(
        [p_of_none(at_level) if at_level else _permuted(*pair) for pair, at_level in zip(pairs, at_levels, strict=True)]
    )
    return [
        Difference(
            a=a,
            b=b,
            difference=at_level(level) if at_level else _from_end_to_end(a, b),
            p_value=float(p),
            adjusted=float(adjusted),
        )
        for (a, b), at_level, p, adjusted in zip(pairs, at_levels, p_values, holm(p_values), strict=True)
    ]


def _from_end_to_end(a: Critical, b: Critical) -> Estimate:
    """Of what has no level of confidence, or no bounds but those of all fractions."""
    value = b.fraction - a.fraction
    return Estimate(value=value, lower=b.lower - a.upper, upper=b.upper - a.lower, method="from end to end")


def _at_level(a: Critical, b: Critical) -> Callable[[float], Estimate] | None:
    """The interval at any level; None where there is none."""
    one, other = a.midpoint, b.midpoint
    if one is None or other is None or "separation" in (a.method, b.method):
        return None
    value, alike = other.value - one.value, _correlation(one, other)

    def estimate(level: float) -> Estimate:
        ends = one.ends(level), other.ends(level)
        # Boundless as they may be, fractions are from 0 to 1.
        (low_a, high_a), (low_b, high_b) = (np.clip(end or (0, 1), 0, 1).tolist() for end in ends)
        lower, upper = low_b - high_a, high_b - low_a
        if ends[0] and ends[1]:
            (less_a, more_a), (less_b, more_b) = _reach(one, ends[0]), _reach(other, ends[1])
            lower = max(lower, value - joined(less_b, more_a, alike))
            upper = min(upper, value + joined(more_b, less_a, alike))
        return Estimate(value=value, lower=lower, upper=upper, method="Fieller's, joined")

    return estimate


def _permuted(a: Critical, b: Critical) -> float:
    """NaN where trials were pruned, as those that are left, or stand for others, did well more often than all; and
    where p could not be small, as where no two fractions of the groups are neighbours."""
    one, other = a.midpoint, b.midpoint
    if one is None or other is None or a.pruned or b.pruned:
        return float("nan")
    group = np.repeat([0, 1], [len(one.place), len(other.place)])
    place, success, cluster = (
        np.concatenate([getattr(side, name) for side in (one, other)]) for name in ("place", "success", "cluster")
    )
    block = np.unique(cluster, return_inverse=True)[1]
    if not np.isin(one.cluster, other.cluster).any():  # whole configurations, for seeds may be alike
        first = np.unique(cluster, return_index=True)[1]
        success = np.bincount(block, weights=success) / np.bincount(block)
        place, group = place[first], group[first]
        order = np.lexsort([np.random.default_rng(0).random(len(place)), place])  # of equal ones, both groups mixed
        block = np.argsort(order) // NEIGHBOURS
    test = permutation_test(success.astype(np.float64), group, block)
    return test.p_value if test.least <= LEAST_P else float("nan")


def _reach(midpoint: Midpoint, ends: tuple[float, float]) -> tuple[float, float]:
    return midpoint.value - ends[0], ends[1] - midpoint.value


def _correlation(one: Midpoint, other: Midpoint) -> float:
    """Of the two midpoints, by what the clusters that have trials in both do to each; 0 where there are none."""
    moves = [(one.moves[cluster], other.moves[cluster]) for cluster in one.moves.keys() & other.moves.keys()]
    sizes = [sum(move**2 for move in midpoint.moves.values()) for midpoint in (one, other)]
    scale = float(np.sqrt(np.prod(sizes)))
    return sum(a * b for a, b in moves) / scale if moves and scale > 0 else 0.0
