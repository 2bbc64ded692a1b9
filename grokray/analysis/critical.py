"""The critical training fraction: where a trial groks within its budget with probability one half.

Of each group of trials apart, averaged over whatever else the sweep varies. All that is taken for granted is that the
share that groks rises with the fraction, see `rising`: averaged over other parameters it is no logistic curve, and
where some never grok it does not come near 1. Whether two groups differ: see `critical_differences`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import codes, column, grouped, outcomes, varying
from grokray.analysis.rising import Crossing, crossing
from grokray.analysis.shares import LEVEL
from grokray.analysis.wording import counted
from grokray.wording import count

GROUPS = ("operation", "task_type", "base")
FRACTION = "training_fraction"
MIN_TRIALS, MIN_CONFIGURATIONS = 10, 5
UNAUDITED = "trials of it were pruned, and none was audited"
MIN_AUDITED = 10  # with fewer for all that were pruned 95 % intervals held the truth in 75 to 86 % of simulated sweeps


@dataclass(frozen=True, kw_only=True)
class Critical:
    """Of one group of trials; `group` maps the columns that tell groups apart to their values.

    `fraction` is NaN where it cannot be estimated. `reason` says why it could not, or what to mind; empty where all is
    well. `lower`, `upper`: 0 and 1 where nothing bounds it, so that it may lie beyond all that were tried. `crossing`:
    of the trials that count; None where no fraction, or no interval, is known. `pruned`: how many of the group were.
    """

    group: dict[str, Any]
    fraction: float
    lower: float
    upper: float
    reason: str = ""
    trials: int = 0
    configurations: int = 0
    pruned: int = 0
    crossing: Crossing | None = field(default=None, repr=False, compare=False)

    @property
    def is_known(self) -> bool:
        return not math.isnan(self.fraction)


def critical_fractions(
    trials: pa.Table, by: Mapping[str, tuple[np.ndarray, list[Any]]] | None = None, level: float = LEVEL
) -> list[Critical]:
    """One for each group, in the order of its values. `by` names what tells groups apart, with a number (n,) for each
    trial and what each number stands for; by default those of GROUPS that vary."""
    if by is None:
        by = {name: codes(column(trials, name)) for name in GROUPS if name in varying(trials)}
    found, fraction = outcomes(trials), column(trials, FRACTION)
    group = grouped([coded for coded, _ in by.values()], trials.num_rows)
    results = []
    for rows in _rows_of(group):
        named = {name: meant[int(coded[rows[0]])] for name, (coded, meant) in by.items()}
        here = group == group[rows[0]]
        is_known, pruned = not found.unrepresented(here), found.unrepresented(here, MIN_AUDITED)
        rows = rows[found.used[rows]]
        configuration = found.configuration[rows]
        if is_known:
            # Where nothing but the fraction differs, trials of one configuration are as independent as any.
            is_alone = set(varying(trials.take(rows))) <= {FRACTION}
            cluster = np.arange(len(rows)) if is_alone else configuration
            audited = int((here & found.is_audited).sum())
            unsure = _unsure(audited, pruned) if pruned > audited else ""
            known = fraction[rows], found.grokked[rows], found.weight[rows], cluster
            one = critical_fraction(*known, level, named, unsure)
        else:
            one = _unknown(UNAUDITED, {"group": named, "trials": len(rows)})
        pruned_here, configurations = int((here & found.is_pruned).sum()), len(np.unique(configuration))
        results.append(replace(one, pruned=pruned_here, configurations=configurations))
    return results


def critical_fraction(
    fraction: np.ndarray,
    grokked: np.ndarray,
    weight: np.ndarray,
    cluster: np.ndarray,
    level: float = LEVEL,
    group: dict[str, Any] | None = None,
    unsure: str = "",
) -> Critical:
    """`fraction` (n,) in (0, 1), `grokked` (n,) bool: True within the budget, `weight` (n,) > 0, `cluster` (n,) int:
    what is drawn by chance, the configurations or each trial. `unsure`: why there are to be no bounds."""
    clusters = len(np.unique(cluster))
    known = {"group": group or {}, "trials": len(fraction), "configurations": clusters}
    if reason := _not_estimable(fraction, grokked, clusters):
        return _unknown(reason, known)
    found = crossing(fraction, grokked, weight, cluster)
    lower, upper = (np.nan, np.nan) if unsure else found.ends(level)
    if reason := _beyond(found, (lower, upper), level):
        return _unknown("; ".join(filter(None, [reason, unsure])), known)
    if unsure:
        return Critical(fraction=found.value, lower=0.0, upper=1.0, reason=unsure, **known)
    return Critical(
        fraction=found.value,
        lower=max(lower, 0.0),
        upper=min(upper, 1.0),
        reason=_unbounded(lower, upper),
        crossing=found,
        **known,
    )


def _not_estimable(fraction: np.ndarray, grokked: np.ndarray, clusters: int) -> str:
    if len(fraction) < MIN_TRIALS or clusters < MIN_CONFIGURATIONS:
        if clusters == len(fraction):
            return f"too few: {count(clusters, 'trial')}, but {MIN_TRIALS} are needed"
        has = f"{count(len(fraction), 'trial')} of {count(clusters, 'configuration')}"
        return f"too few: {has}, but {MIN_TRIALS} of {MIN_CONFIGURATIONS} are needed"
    if fraction.min() == fraction.max() and 0 < grokked.sum() < len(grokked):
        return f"{FRACTION} is always {fraction.min():.3g}"
    return ""


def _beyond(found: Crossing, ends: tuple[float, float], level: float) -> str:
    """Why one half is nowhere among the fractions, and what is known of it all the same; empty where it is there."""
    least, most = found.share[[0, -1]]
    if 0 < least == most < 1:
        return "the share grokked does not rise with the fraction"
    if found.is_known:
        return ""
    if most < 0.5:
        few = "fewer than half" if most > 0 else "none"
        where, bound, side = f"{few} grokked up to {found.place[-1]:.3g}, the largest", ends[0], "above"
    else:
        many = "more than half" if least < 1 else "all"
        where, bound, side = f"{many} grokked from {found.place[0]:.3g}, the smallest", ends[1], "below"
    if np.isnan(bound):
        return where
    if np.isinf(bound):
        return f"{where}, which may be chance: it may lie anywhere"
    return f"{where}: it lies {side} {bound:.3g} ({100 * level:g} %), if anywhere"


def _unbounded(lower: float, upper: float) -> str:
    """What the trials leave open."""
    if np.isinf(lower) and np.isinf(upper):
        return "that the share grokked rises with the fraction may be chance: the interval is boundless"
    side, few = ("below", "smallest fractions failed") if np.isinf(lower) else ("above", "largest fractions grokked")
    is_bounded = np.isfinite([lower, upper]).all()
    return "" if is_bounded else f"it may lie {side} all that were tried: too few trials of the {few}"


def _unknown(reason: str, known: dict[str, Any]) -> Critical:
    return Critical(fraction=np.nan, lower=np.nan, upper=np.nan, reason=reason, **known)


def _unsure(audited: int, pruned: int) -> str:
    """Why there are no bounds: so few audited trials stand for all that were pruned."""
    stand = counted(audited, "audited trial", "stands", "stand")
    return f"no interval is known: {stand} for {pruned:,} pruned, and {MIN_AUDITED} are needed"


def _rows_of(group: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, by rising number."""
    if not len(group):
        return []
    return np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
