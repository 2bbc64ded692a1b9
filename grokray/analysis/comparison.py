"""One level of a parameter against another on the same pairs: classification against sequence, base against base.

The split depends on its seed alone, so trials of two representations train on the same pairs. Where the sweep has, for
a trial of the one, a trial of the other that agrees in everything else and in its seeds, they are *matched*, as in a
grid. Elsewhere the difference is *adjusted* by regression on all other parameters, which is as good as the regression.

Trials that did not grok are not left out: a trial that grokked was earlier than one that had not when it was censored
later than that, and `median_ratio` takes a trial that did not grok within its budget as infinitely slow, so it is a
number while fewer than half of the matches are such. `ratio` alone is of matches in which both grokked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from scipy import stats

from grokray.analysis.adjusted import adjusted_difference, adjusted_ratio
from grokray.analysis.outcomes import SEEDS, Outcomes, column, drawn_by_chance, grouped, outcomes, varying
from grokray.analysis.shares import LEVEL, REPLICATES, Estimate, resampled, spread
from grokray.analysis.wording import counted

# What makes up how a task is written; levels of `representations` differ in these together.
REPRESENTATION = ("task_type", "base", "digit_order", "fixed_sequence_length")
MIN_PAIRS, MIN_CONFIGURATIONS = 10, 3
_NONE = 1e-15  # of a variance: rounding
TOO_FEW = "too few trials grokked, or failed to, for the difference to be adjusted"
NO_SPREAD = (
    "where the ends of an interval are ?, all pairs agree, or they are of fewer than "
    f"{MIN_CONFIGURATIONS} configurations: nothing tells of a spread"
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`b` against `a`: positive `difference` and ratios below 1 speak for b.

    `pairs` of matched trials, of so many `configurations` of each. `difference` of the shares grokked within the
    budget; `ratio` of grok steps, geometric mean where both grokked; `median_ratio` as above, maybe infinite or 0;
    `earlier`: the share of matches in which b grokked first, a tie counting half, among those where it is known. None
    where it cannot be had; `reason` says why there is no `difference`. `method`: `matched` or `adjusted`, or `none`.
    """

    a: str
    b: str
    method: str
    difference: Estimate | None
    ratio: Estimate | None
    median_ratio: Estimate | None
    earlier: Estimate | None
    pairs: int
    configurations: int
    notes: tuple[str, ...]
    reason: str | None = None


def representations(trials: pa.Table) -> np.ndarray:
    """(n,) object: how each trial's task is written, in as few words as tell them apart: `classification`, `base 10`,
    `base 10 least_first`, `base 10 fixed`."""
    kind, base = column(trials, "task_type"), column(trials, "base")
    order, fixed = column(trials, "digit_order"), column(trials, "fixed_sequence_length") == 1
    sequence = kind == "sequence"
    several_orders = len(set(order[sequence].tolist())) > 1
    several_widths = len(set(fixed[sequence].tolist())) > 1
    words = np.array(kind, dtype=object)
    for row in np.flatnonzero(sequence):
        parts = [f"base {base[row]:.0f}", str(order[row]) if several_orders else ""]
        words[row] = " ".join([part for part in parts if part] + ["fixed"] * bool(several_widths and fixed[row]))
    return words


def compare_all(trials: pa.Table, **options) -> list[Comparison]:
    """Every representation against the first one: classification where there is any, else the smallest base."""
    level = representations(trials)
    number = column(trials, "base")
    names = sorted(
        set(level), key=lambda name: (name != "classification", np.nanmin(number[level == name], initial=1e9))
    )
    return [compare(trials, level, names[0], other, REPRESENTATION, **options) for other in names[1:]]


def compare(
    trials: pa.Table,
    level: np.ndarray,
    a: str,
    b: str,
    own: Sequence[str],
    *,
    confidence: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Comparison:
    """`level` (n,) object: which level each trial has, such as `representations` gives; `own`: the columns that the
    level is made of, which need not agree. Intervals of means are Student's by pair of configurations, or by pair of
    trials where that is wider; those of medians bootstraps.
    """
    found = outcomes(trials)
    if unknown := [side for side in (a, b) if found.unrepresented(level == side)]:
        return _nothing(a, b, f"of {' and '.join(unknown)} trials were pruned, and none was audited", found)
    used = (level == a) | (level == b)
    trials, is_b = trials.filter(pa.array(used)), level[used] == b
    others = [name for name in varying(trials) if name not in own]
    first, second = _matched(trials, is_b, [*others, *SEEDS], found.weight[used])
    if len(first) < MIN_PAIRS:
        options = (is_b, others, confidence)
        difference = adjusted_difference(trials, *options)
        agree = counted(len(first), "pair", "agrees", "agree")
        note = f"{agree} in everything else, but {MIN_PAIRS} are needed: adjusted by regression"
        return Comparison(
            a=a,
            b=b,
            method="adjusted",
            difference=difference,
            ratio=adjusted_ratio(trials, *options),
            median_ratio=None,
            earlier=None,
            pairs=len(first),
            configurations=0,
            notes=(note, "the ratio is of trials that grokked alone", *found.notes),
            reason=None if difference else TOO_FEW,
        )
    pairs = _Pairs.of(trials, first, second, others)
    estimates = _estimates(pairs, confidence, replicates, np.random.default_rng(seed))
    unknown = any(one is not None and np.isnan(one.lower) for one in estimates.values())
    return Comparison(
        a=a,
        b=b,
        method="matched",
        **estimates,
        pairs=len(first),
        configurations=len(np.unique(pairs.cluster)),
        notes=(*found.notes, *([NO_SPREAD] * unknown)),
        reason=None,
    )


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Arrays of one entry a pair; `log_ratio` of grok steps, ±infinite where one alone grokked, NaN where neither did.
    `sign`: +1 where b is known to have been earlier, −1 where a was, 0 for a tie, NaN where it is not known."""

    weight: np.ndarray
    cluster: np.ndarray
    difference: np.ndarray
    log_ratio: np.ndarray
    sign: np.ndarray

    @classmethod
    def of(cls, trials: pa.Table, first: np.ndarray, second: np.ndarray, others: Sequence[str]) -> _Pairs:
        found = outcomes(trials)
        step = np.where(found.grokked, column(trials, "grok_step"), np.inf)
        # A trial that did not grok was seen not to until its end; one that diverged will not within the budget.
        diverged = column(trials, "outcome") == "diverged"
        seen = np.where(diverged, column(trials, "num_steps"), column(trials, "duration_steps"))
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is what is not known: NaN
            log_ratio = np.log(step[second]) - np.log(step[first])
        known = {True: step[first] <= seen[second], False: step[second] <= seen[first]}
        sign = -np.sign(log_ratio)
        sign[(log_ratio == np.inf) & ~known[True]] = np.nan
        sign[(log_ratio == -np.inf) & ~known[False]] = np.nan
        cluster = grouped([column(trials, name)[first] for name in others], len(first))
        # Two audits are made independently, so the chance that both are is the product.
        weight = found.weight[first] * found.weight[second]
        size = np.bincount(cluster)[cluster]
        return cls(
            weight=weight / size,
            cluster=cluster,
            difference=found.grokked[second] * 1.0 - found.grokked[first],
            log_ratio=log_ratio,
            sign=sign,
        )


def _matched(
    trials: pa.Table, is_b: np.ndarray, names: Sequence[str], weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a and of b, pairwise: trials that agree in all `names`; each trial is in one pair at most."""
    group = grouped([column(trials, name) for name in names], trials.num_rows)
    rows = [np.flatnonzero((is_b == side) & (weight > 0)) for side in (False, True)]
    firsts = [side[np.unique(group[side], return_index=True)[1]] for side in rows]
    common, at_a, at_b = np.intersect1d(group[firsts[0]], group[firsts[1]], return_indices=True)
    return firsts[0][at_a], firsts[1][at_b]


def _nothing(a: str, b: str, why: str, found: Outcomes) -> Comparison:
    return Comparison(
        a=a,
        b=b,
        method="none",
        difference=None,
        ratio=None,
        median_ratio=None,
        earlier=None,
        pairs=0,
        configurations=0,
        notes=found.notes,
        reason=why,
    )


def _estimates(pairs: _Pairs, level: float, replicates: int, rng: np.random.Generator) -> dict[str, Estimate | None]:
    both = np.isfinite(pairs.log_ratio)
    either = ~np.isnan(pairs.log_ratio)
    known = ~np.isnan(pairs.sign)
    order = np.argsort(np.where(either, pairs.log_ratio, 0), kind="stable")
    order = order[either[order]]

    def median(weight: np.ndarray) -> float:
        return float(np.exp(_median(pairs.log_ratio[order], weight[order])))

    cluster = drawn_by_chance(pairs.cluster)
    clusters = int(cluster.max()) + 1
    drawn = [median(pairs.weight * r[cluster]) for r in resampled(clusters, replicates, rng)]
    ends = spread(np.array(drawn), clusters, level) if clusters >= MIN_CONFIGURATIONS else (float("nan"),) * 2
    middle = median(pairs.weight)

    def mean(values: np.ndarray, kept: np.ndarray) -> Estimate | None:
        return _by_student(values[kept], pairs.weight[kept], cluster[kept], level)

    ratio, earlier = mean(pairs.log_ratio, both), mean(pairs.sign, known)
    return {
        "difference": _within(mean(pairs.difference, pairs.weight > 0), lambda x: np.clip(x, -1, 1)),
        "ratio": _within(ratio, np.exp),
        "median_ratio": None
        if np.isnan(middle)
        else Estimate(value=middle, lower=ends[0], upper=ends[1], method="matched, bootstrap by configuration"),
        "earlier": _within(earlier, lambda x: np.clip(0.5 + x / 2, 0, 1)),
    }


def _by_student(values: np.ndarray, weight: np.ndarray, cluster: np.ndarray, level: float) -> Estimate | None:
    """The weighted mean; None of nothing. That clusters are more alike than chance would have them is no knowledge, so
    the larger variance counts; where there is none, or where clusters are too few, the ends are NaN."""
    total = weight.sum()
    if total <= 0:
        return None
    value = float(values @ weight / total)
    parts, number = weight * (values - value) / total, np.unique(cluster, return_inverse=True)[1]
    sums = [np.bincount(number, weights=parts), parts]
    variance = max(len(one) / max(len(one) - 1, 1) * float(one @ one) for one in sums)
    known = len(sums[0]) >= MIN_CONFIGURATIONS and variance > _NONE
    half = stats.t.ppf((1 + level) / 2, len(sums[0]) - 1) * np.sqrt(variance) if known else float("nan")
    return Estimate(value=value, lower=value - half, upper=value + half, method="matched, Student's by configuration")


def _within(found: Estimate | None, scale: Callable[[np.ndarray], np.ndarray]) -> Estimate | None:
    """On another scale, on which the ends of a share or a difference are bounded; NaN stays NaN."""
    if found is None:
        return None
    value, lower, upper = scale(np.array([found.value, found.lower, found.upper])).tolist()
    return replace(found, value=value, lower=lower, upper=upper)


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    """Of sorted values (n,), some infinite; NaN where no weight is left."""
    reached = np.cumsum(weight)
    if not len(reached) or reached[-1] <= 0:
        return float("nan")
    return float(values[np.searchsorted(reached, reached[-1] / 2)])
