"""The critical training fraction: where a trial groks within its budget with probability one half.

A logistic curve over the training fraction, for each group of trials apart, averaged over whatever else the sweep
varies; its midpoint has Fieller's interval, see `midpoint`. Whether two groups differ: see `critical_differences`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from grokray.analysis.midpoint import Midpoint
from grokray.analysis.outcomes import codes, column, grouped, outcomes, varying
from grokray.analysis.shares import LEVEL
from grokray.analysis.wording import counted
from grokray.wording import count

GROUPS = ("operation", "task_type", "base")
MIN_TRIALS, MIN_CONFIGURATIONS = 10, 5
UNAUDITED = "trials of it were pruned, and none was audited"
MIN_AUDITED = 10  # with fewer for all that were pruned 95 % intervals held the truth in 75 to 86 % of simulated sweeps

EXTRAPOLATED, SEPARATED = "extrapolated", "separated"
NO_LEVEL = "without a level of confidence"

Method = Literal["fieller", "separation", "none"]


@dataclass(frozen=True, kw_only=True)
class Critical:
    """Of one group of trials; `group` maps the columns that tell groups apart to their values.

    `method`: `fieller`; `separation` (no fraction both grokked and failed to, but perhaps one: the interval is from
    the largest that never to the smallest that always grokked, without a level of confidence, and `fraction` where a
    straight line between what was tried crosses one half); `none` where it cannot be estimated, and `fraction` is NaN.
    `reason` says why it could not, or what to mind; empty where all is well.
    `slope`: log odds for each 0.1 of training fraction. Bounds are cut to [0, 1]. `is_extrapolated`: `fraction` lies
    beyond all that were tried. `midpoint`: of the trials that count; None where no fraction, or no interval, is known.
    `pruned`: how many trials of the group were.
    """

    group: dict[str, Any]
    fraction: float
    lower: float
    upper: float
    method: Method
    reason: str = ""
    slope: float = float("nan")
    trials: int = 0
    configurations: int = 0
    pruned: int = 0
    is_extrapolated: bool = False
    midpoint: Midpoint | None = field(default=None, repr=False, compare=False)

    @property
    def mark(self) -> str:
        """How a label says that the interval is of another kind, or the value is; empty where neither is."""
        return EXTRAPOLATED if self.is_extrapolated else SEPARATED if self.method == "separation" else ""


def critical_fractions(
    trials: pa.Table, by: Mapping[str, tuple[np.ndarray, list[Any]]] | None = None, level: float = LEVEL
) -> list[Critical]:
    """One for each group, in the order of its values. `by` names what tells groups apart, with a number (n,) for each
    trial and what each number stands for; by default those of GROUPS that vary."""
    if by is None:
        by = {name: codes(column(trials, name)) for name in GROUPS if name in varying(trials)}
    found, fraction = outcomes(trials), column(trials, "training_fraction")
    group = grouped([coded for coded, _ in by.values()], trials.num_rows)
    results = []
    for rows in _rows_of(group):
        named = {name: meant[int(coded[rows[0]])] for name, (coded, meant) in by.items()}
        here = group == group[rows[0]]
        is_known, pruned = not found.unrepresented(here), found.unrepresented(here, MIN_AUDITED)
        rows = rows[found.used[rows]]
        clusters = found.configuration[rows]
        if is_known:
            one = critical_fraction(fraction[rows], found.grokked[rows], found.weight[rows], clusters, level, named)
            audited = int((here & found.is_audited).sum())
            one = _unsure(one, audited, pruned) if pruned > audited else one
        else:
            known = {"group": named, "trials": len(rows), "configurations": len(np.unique(clusters))}
            one = _unknown(UNAUDITED, known)
        results.append(replace(one, pruned=int((here & found.is_pruned).sum())))
    return results


def critical_fraction(
    fraction: np.ndarray,
    grokked: np.ndarray,
    weight: np.ndarray,
    cluster: np.ndarray,
    level: float = LEVEL,
    group: dict[str, Any] | None = None,
) -> Critical:
    """`fraction` (n,) in (0, 1), `grokked` (n,) bool: True within the budget, `weight` (n,) > 0, `cluster` (n,) int."""
    known = {"group": group or {}, "trials": len(fraction), "configurations": len(np.unique(cluster))}
    if reason := _not_estimable(fraction, grokked, known):
        return _unknown(reason, known)
    midpoint = Midpoint(place=fraction, success=grokked, weight=weight, cluster=cluster)
    if fraction[~grokked].max() <= fraction[grokked].min():
        one = _separated(fraction, grokked, weight, known)
        return replace(one, midpoint=midpoint) if one.method == "separation" else one
    return _fitted(midpoint, level, known)


def _not_estimable(fraction: np.ndarray, grokked: np.ndarray, known: dict[str, Any]) -> str:
    if len(fraction) < MIN_TRIALS or known["configurations"] < MIN_CONFIGURATIONS:
        has = f"{count(len(fraction), 'trial')} of {count(known['configurations'], 'configuration')}"
        return f"too few: {has}, but {MIN_TRIALS} of {MIN_CONFIGURATIONS} are needed"
    if grokked.all():
        return f"all grokked: it lies below {fraction.min():.3g}, the smallest fraction, if anywhere"
    if not grokked.any():
        return f"none grokked: it lies above {fraction.max():.3g}, the largest fraction, if anywhere"
    if fraction.min() == fraction.max():
        return f"training_fraction is always {fraction.min():.3g}"
    return ""


def _separated(fraction: np.ndarray, grokked: np.ndarray, weight: np.ndarray, known: dict[str, Any]) -> Critical:
    """Every fraction below some value failed and every one above it grokked; at the value itself both may be."""
    never, always = fraction[~grokked].max(), fraction[grokked].min()
    if never < always:
        return _of_gap((never + always) / 2, never, always, known)
    # Both happened at one fraction, which a grid has several trials at. From none at the next one below the share rises
    # to this one's, and from there to all at the next one above.
    here = fraction == always
    share = float(np.average(grokked[here], weights=weight[here]))
    below, above = fraction[fraction < always].max(initial=-np.inf), fraction[fraction > always].min(initial=np.inf)
    if share < 0.5 and above == np.inf:
        return _unknown(
            f"fewer than half grokked at {always:.3g}, the largest fraction: it lies above, if anywhere", known
        )
    if share > 0.5 and below == -np.inf:
        return _unknown(
            f"more than half grokked at {always:.3g}, the smallest fraction: it lies below, if anywhere", known
        )
    middle = always
    if share < 0.5:
        middle += (0.5 - share) / (1 - share) * (above - always)
    elif share > 0.5:
        middle -= (share - 0.5) / share * (always - below)
    return _of_gap(middle, max(below, 0.0), min(above, 1.0), known)


def _of_gap(middle: float, lower: float, upper: float, known: dict[str, Any]) -> Critical:
    reason = "perfect separation: no curve can be fitted; the interval has no level of confidence"
    return Critical(fraction=middle, lower=lower, upper=upper, method="separation", reason=reason, **known)


def _unknown(reason: str, known: dict[str, Any]) -> Critical:
    return Critical(fraction=np.nan, lower=np.nan, upper=np.nan, method="none", reason=reason, **known)


def _unsure(one: Critical, audited: int, pruned: int) -> Critical:
    """Without bounds, as so few audited trials stand for all that were pruned."""
    if one.method != "fieller":
        return one
    stand = counted(audited, "audited trial", "stands", "stand")
    few = f"no interval is known: {stand} for {pruned:,} pruned, and {MIN_AUDITED} are needed"
    return replace(one, lower=0.0, upper=1.0, reason="; ".join(filter(None, [few, one.reason])), midpoint=None)


def _fitted(midpoint: Midpoint, level: float, known: dict[str, Any]) -> Critical:
    if not midpoint.converged:
        return _unknown("the fit did not converge", known)
    if midpoint.slope <= 0:
        return _unknown("the share grokked does not rise with the fraction", known)
    middle = midpoint.value
    if not 0 < middle < 1:
        reason = "fewer" if middle >= 1 else "more"
        return _unknown(
            f"{reason} than half would grok at any fraction: the curve crosses one half at {middle:.3g}", known
        )
    bounds, seen = midpoint.ends(level), (midpoint.place.min(), midpoint.place.max())
    lower, upper = np.clip(bounds, 0, 1).tolist() if bounds else (0.0, 1.0)
    reasons = []
    if bounds is None:
        reasons.append("that the share grokked rises with the fraction may be chance: the interval is boundless")
    if beyond := not seen[0] <= middle <= seen[1]:
        reasons.append(f"{EXTRAPOLATED}: fractions go from {seen[0]:.3g} to {seen[1]:.3g}")
    return Critical(
        fraction=middle,
        lower=lower,
        upper=upper,
        method="fieller",
        reason="; ".join(reasons),
        slope=0.1 * midpoint.slope,
        is_extrapolated=beyond,
        midpoint=midpoint,
        **known,
    )


def _rows_of(group: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, by rising number."""
    if not len(group):
        return []
    return np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
