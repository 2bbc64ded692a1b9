"""One level of a parameter against another on the same pairs: classification against sequence, base against base.

The split depends on its seed alone, so trials of two representations train on the same pairs. Where the sweep has, for
a trial of the one, a trial of the other that agrees in everything else and in its seeds, they are *matched*, as in a
grid. Elsewhere the difference is *adjusted* by regression on all other parameters, which is as good as the regression.

Trials that did not grok are not left out: a trial that grokked was earlier than one that had not when it was censored
later than that, and `median_ratio` takes a trial that did not grok within its budget as infinitely slow, so it is a
number while fewer than half of the matches are such. `ratio` is of matches in which both grokked; an adjusted one is of
trials that did, given that they did within their budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa

from grokray.analysis.adjusted import adjusted_difference, adjusted_ratio, told_apart_from
from grokray.analysis.inverted import p_of_none
from grokray.analysis.matched import (
    MIN_CONFIGURATIONS,
    MIN_RESAMPLED,
    difference_of_shares,
    mean_ratio,
    median_ratio,
    share_earlier,
)
from grokray.analysis.outcomes import Outcomes, column, diverged, drawn_by_chance, grouped, outcomes, varying
from grokray.analysis.shares import LEVEL, REPLICATES, Estimate
from grokray.analysis.wording import counted
from grokray.trial import SEEDS

# What makes up how a task is written; levels of `representations` differ in these together.
REPRESENTATION = ("task_type", "base", "digit_order", "fixed_sequence_length")
MIN_PAIRS = 10
TOO_FEW = "too few trials grokked, or failed to, for the difference to be adjusted"
NO_RATIO = "too few configurations grokked, or all at one step, for the ratio of steps to be adjusted"
OF_GROKKED = "the ratio is of trials that grokked, given that they did within their budget"
OF_BOTH = "the ratio is of pairs in which both grokked: nearer to 1 than it is where the budget cuts one of them off"
NO_SIDE = "of one of them all trials that have a pair were pruned"
UNAUDITED = "trials were pruned, and none was audited"
OF_ALL = "The difference is of the trials of all pairs, ratios and who was earlier of the pairs that are left"
NO_SPREAD = (
    "where the ends of an interval are ?, all pairs agree, or they are of fewer than "
    f"{MIN_CONFIGURATIONS} configurations, of a median {MIN_RESAMPLED} in effect: nothing tells of a spread"
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`b` against `a`: positive `difference` and ratios below 1 speak for b.

    `pairs` of matched trials, pruned ones too, of so many `configurations` of each. `difference` of the shares grokked
    within the budget, `p_value` that there is none; `ratio` of grok steps, as above, geometric means if matched;
    `median_ratio` as above, maybe infinite or 0; `earlier`: the share of matches in which b grokked first, a tie
    counting half, among those where it is known.
    None where it cannot be had; `reason` says why there is no `difference`. `method`: `matched` or `adjusted`, or
    `none`.
    """

    a: str
    b: str
    method: str
    difference: Estimate | None = None
    p_value: float = float("nan")
    ratio: Estimate | None = None
    median_ratio: Estimate | None = None
    earlier: Estimate | None = None
    pairs: int = 0
    configurations: int = 0
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
    """Every representation against the first one: classification where there is any, else the smallest base, and of
    several ways to write that, the first by its name."""
    level = representations(trials)
    number = column(trials, "base")
    names = sorted(
        set(level), key=lambda name: (name != "classification", np.nanmin(number[level == name], initial=1e9), name)
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
    level is made of, which need not agree. Intervals are by pair of configurations, or by pair of trials where that is
    wider: those of means are Student's, that of a median is a bootstrap.
    """
    found = outcomes(trials)
    if unknown := [side for side in (a, b) if found.unrepresented(level == side)]:
        return _nothing(a, b, f"of {' and '.join(unknown)} {UNAUDITED}", found)
    used = (level == a) | (level == b)
    trials, is_b = trials.filter(pa.array(used)), level[used] == b
    others = [name for name in varying(trials) if name not in own]
    rows = _matched(trials, is_b, [*others, *SEEDS], found.stands_for[used])
    if rows.shape[1] < MIN_PAIRS:
        if why := told_apart_from(trials, is_b, others):
            return _nothing(a, b, why, found)
        return _adjusted(trials, is_b, a, b, others, confidence, pairs=rows.shape[1], found=found)
    pairs = _Pairs.of(trials, rows, others)
    if unknown := pairs.unrepresented(trials, a, b):
        return _nothing(a, b, f"of pairs, {' and '.join(unknown)} {UNAUDITED}", found)
    estimates = _estimates(pairs, confidence, replicates, np.random.default_rng(seed))
    notes = [*found.notes]
    if gone := int((pairs.weight == 0).sum()):
        notes.append(f"{b} against {a}: in {gone} of {rows.shape[1]} pairs a trial was pruned. {OF_ALL}")
    if any(isinstance(value, Estimate) and np.isnan(value.lower) for value in estimates.values()):
        notes.append(NO_SPREAD)
    if estimates["ratio"] and not np.isfinite(pairs.log_ratio).all():
        notes.append(OF_BOTH)
    return Comparison(
        a=a,
        b=b,
        method="matched",
        **estimates,
        pairs=rows.shape[1],
        configurations=len(np.unique(pairs.cluster)),
        notes=tuple(notes),
        reason=None if estimates["difference"] else NO_SIDE,
    )


def _adjusted(
    trials: pa.Table,
    is_b: np.ndarray,
    a: str,
    b: str,
    others: Sequence[str],
    confidence: float,
    *,
    pairs: int,
    found: Outcomes,
) -> Comparison:
    """By regression on the other parameters, where too few `pairs` agree in them."""
    agree = counted(pairs, "pair", "agrees", "agree")
    few = f"{agree} in everything else, but {MIN_PAIRS} are needed: adjusted by regression"
    at_level = adjusted_difference(trials, is_b, others)
    difference, ratio = at_level(confidence), adjusted_ratio(trials, is_b, others, confidence)
    notes = [few, OF_GROKKED if ratio else f"{b} against {a}: {NO_RATIO}", *found.notes]
    return Comparison(
        a=a,
        b=b,
        method="adjusted",
        difference=difference,
        p_value=p_of_none(at_level),
        ratio=ratio,
        pairs=pairs,
        notes=tuple(notes),
        reason=None if difference else TOO_FEW,
    )


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Arrays of one entry a pair of trials `rows` (2, n), of a and of b. Of `grokked` and `weights` (2, n) the rows are
    those of a and of b; weights are 0 of pruned trials, and divided by how many pairs their configuration has.

    `log_ratio` of grok steps: ±infinite where one alone grokked, NaN where neither did. `sign`: +1 where b is known to
    have been earlier, −1 where a was, 0 for a tie, NaN where it is not known. `weight` (n,) of both trials together.
    """

    rows: np.ndarray
    grokked: np.ndarray
    weights: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray
    log_ratio: np.ndarray
    sign: np.ndarray

    @classmethod
    def of(cls, trials: pa.Table, rows: np.ndarray, others: Sequence[str]) -> _Pairs:
        found, (first, second) = outcomes(trials), rows
        step = np.where(found.grokked, column(trials, "grok_step"), np.inf)
        # A trial that did not grok was seen not to until its end; one that diverged will not within the budget.
        seen = np.where(diverged(trials), column(trials, "num_steps"), column(trials, "duration_steps"))
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is what is not known: NaN
            log_ratio = np.log(step[second]) - np.log(step[first])
        known = {True: step[first] <= seen[second], False: step[second] <= seen[first]}
        sign = -np.sign(log_ratio)
        sign[(log_ratio == np.inf) & ~known[True]] = np.nan
        sign[(log_ratio == -np.inf) & ~known[False]] = np.nan
        cluster = grouped([column(trials, name)[first] for name in others], len(first))
        # Of all pairs of a configuration, also the pruned ones: those that are left stand for them by their weight, and
        # to divide by how many are left would undo that.
        size = np.bincount(cluster)[cluster]
        return cls(
            rows=rows,
            grokked=found.grokked[rows],
            weights=found.weight[rows] / size,
            # Two audits are made independently, so the chance that both are is the product.
            weight=found.weight[rows].prod(axis=0) / size,
            cluster=cluster,
            log_ratio=log_ratio,
            sign=sign,
        )

    def unrepresented(self, trials: pa.Table, a: str, b: str) -> list[str]:
        """Which of a and b have pruned trials in pairs, and none that stands for them."""
        found, every = outcomes(trials), np.arange(trials.num_rows)
        sides = zip((a, b), self.rows, strict=True)
        return [name for name, rows in sides if found.unrepresented(np.isin(every, rows))]


def _matched(trials: pa.Table, is_b: np.ndarray, names: Sequence[str], planned: np.ndarray) -> np.ndarray:
    """(2, pairs): rows of a and of b, pairwise: trials that agree in all `names`; each is in one pair at most.
    `planned` (n,) bool: which may be in one."""
    group = grouped([column(trials, name) for name in names], trials.num_rows)
    rows = [np.flatnonzero((is_b == side) & planned) for side in (False, True)]
    firsts = [side[np.unique(group[side], return_index=True)[1]] for side in rows]
    _, at_a, at_b = np.intersect1d(group[firsts[0]], group[firsts[1]], return_indices=True)
    return np.stack([firsts[0][at_a], firsts[1][at_b]])


def _nothing(a: str, b: str, why: str, found: Outcomes) -> Comparison:
    return Comparison(a=a, b=b, method="none", notes=found.notes, reason=why)


class _Estimates(TypedDict):
    difference: Estimate | None
    p_value: float
    ratio: Estimate | None
    median_ratio: Estimate | None
    earlier: Estimate | None


def _estimates(pairs: _Pairs, level: float, replicates: int, rng: np.random.Generator) -> _Estimates:
    cluster, whole = drawn_by_chance(pairs.cluster), pairs.weight > 0
    both, known = whole & np.isfinite(pairs.log_ratio), whole & ~np.isnan(pairs.sign)
    either = whole & ~np.isnan(pairs.log_ratio)
    ratios = (pairs.log_ratio[either], pairs.weight[either], cluster[either], level)

    def difference(level: float) -> Estimate | None:
        return difference_of_shares(pairs.grokked, pairs.weights, cluster, level)

    return {
        "difference": difference(level),
        "p_value": p_of_none(difference),
        "ratio": mean_ratio(pairs.log_ratio[both], pairs.weight[both], cluster[both], level),
        "median_ratio": median_ratio(*ratios, replicates, rng),
        "earlier": share_earlier(0.5 + pairs.sign[known] / 2, pairs.weight[known], cluster[known], level),
    }
