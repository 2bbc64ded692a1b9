"""Do critical training fractions of two groups differ? Their difference, with an interval and a p-value.

The ends of both groups' own intervals, see `rising`, are joined (Zou and Donner 2008, see `intervals.joined`), so that
what is lopsided stays so; an end that nothing bounds counts in full. p is one less the highest level at which the
interval leaves out 0, see `inverted`. Both are as of groups that have nothing in common: where configurations have
trials in both, as groups by seed do, the truth is in the interval more often than said.
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
from grokray.analysis.shares import LEVEL, Estimate


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of the critical fraction of `b` to that of `a`: above 0 where `b` needs more data. `p_value` is NaN where it is
    not known; `adjusted` (Holm 1979) allows for all pairs."""

    a: Critical
    b: Critical
    difference: Estimate
    p_value: float
    adjusted: float = float("nan")


def differences(found: Sequence[Critical], level: float = LEVEL) -> list[Difference]:
    """Of each pair of groups that have a fraction, in their order."""
    pairs = list(combinations([one for one in found if one.is_known], 2))
    at_levels = [_at_level(a, b) for a, b in pairs]
    p_values = np.array([p_of_none(at_level) if at_level else np.nan for at_level in at_levels])
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
    """Of what has no bounds but those of all fractions."""
    value = b.fraction - a.fraction
    return Estimate(value=value, lower=b.lower - a.upper, upper=b.upper - a.lower, method="from end to end")


def _at_level(a: Critical, b: Critical) -> Callable[[float], Estimate] | None:
    """The interval at any level; None where there is none."""
    one, other = a.crossing, b.crossing
    if one is None or other is None:
        return None
    value = other.value - one.value

    def estimate(level: float) -> Estimate:
        (low_a, high_a), (low_b, high_b) = one.ends(level), other.ends(level)
        lower = value - _reach(other.value - low_b, high_a - one.value, (other.value, 1 - one.value))
        upper = value + _reach(high_b - other.value, one.value - low_a, (1 - other.value, one.value))
        return Estimate(value=value, lower=lower, upper=upper, method="ends joined")

    return estimate


def _reach(one: float, other: float, farthest: tuple[float, float]) -> float:
    """How far the difference may lie to one side: what is not bounded may lie anywhere, up to `farthest`, and that is
    no rare luck, which both would hardly have at once."""
    if np.isfinite([one, other]).all():
        return joined(one, other)
    return min(one, farthest[0]) + min(other, farthest[1])
