"""How well a number that is known of trials tells which of two will grok first.

Harrell, F. E., Califf, R. M., Pryor, D. B., Lee, K. L., and Rosati, R. A. (1982). Evaluating the yield of medical
tests. JAMA 247, 2543-2546. Of all pairs of which it is known who grokked first, the share in which that is the trial
with the larger number; equal numbers count half. 1/2 is no better than a coin. Steps are intervals: it is known where
the one ends before the other begins, or before observation of the other ended.

Intervals are by leaving out each configuration, on Fisher's z of Somers' D, which is twice the share less 1: Newson, R.
(2006). Confidence intervals for rank statistics: Somers' D and extensions. Stata Journal 6, 309-334.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grokray.analysis.intervals import Estimate, effective_size, student_quantile, wilson
from grokray.analysis.jackknifed import error, left_out
from grokray.analysis.times import Times

FEWEST = 10  # trials that grok, and configurations
TOO_FEW = f"fewer than {FEWEST} trials grok after it, or fewer than {FEWEST} configurations are left"
NO_TWO = f"fewer than {FEWEST} configurations have two trials of which it is known who grokked first"
ALL_EQUAL = "it is the same for all trials"
UNMOVED = "no configuration moves it, so no interval is known"
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Concordance:
    """`among_all` pairs of trials, and `within` configurations, where they differ by their seeds alone. `trials`, of
    which `grokked` were seen to grok."""

    among_all: Estimate
    within: Estimate
    trials: int
    grokked: int


def concordance(x: np.ndarray, times: Times, level: float = 0.95) -> Concordance:
    """`x` (n,) finite, of the same trials as `times`: near 1 where larger numbers go with earlier grokking, near 0
    where smaller ones do."""
    known = times.weight > 0
    x, times = x[known], times.select(known)
    counts = {"trials": len(times), "grokked": int(times.observed.sum())}
    clusters = int(times.codes.max(initial=-1)) + 1
    if counts["grokked"] < FEWEST or clusters < FEWEST or x.min() == x.max():
        none = Estimate.none(ALL_EQUAL if len(x) and x.min() == x.max() else TOO_FEW)
        return Concordance(among_all=none, within=none, **counts)
    return Concordance(among_all=_among_all(x, times, clusters, level), within=_within(x, times, level), **counts)


def _among_all(x: np.ndarray, times: Times, clusters: int, level: float) -> Estimate:
    of_each = _of_each(x, times)  # and each pair is of both of its trials
    whole, moved = of_each.sum(axis=1) / 2, []
    for kept in left_out(clusters):
        gone = np.flatnonzero(~kept[times.codes])
        twice = _of_pairs(x, times, gone[:, None], gone).sum(axis=(1, 2))
        moved.append(whole - of_each[:, gone].sum(axis=1) + twice)
    size = effective_size(times.weight, times.codes)
    return _estimate(whole, np.array(moved), level, size, apart=size / 2)


def _within(x: np.ndarray, times: Times, level: float) -> Estimate:
    """Of pairs of one configuration."""
    order = np.argsort(times.codes, kind="stable")
    codes, of_clusters = times.codes[order], np.zeros((2, int(times.codes.max()) + 1))
    for apart in range(1, int(np.bincount(codes).max())):
        one, other = order[:-apart], order[apart:]
        alike = codes[:-apart] == codes[apart:]
        one, other, of = one[alike], other[alike], codes[apart:][alike]
        pairs = _of_pairs(x, times, one, other) + _of_pairs(x, times, other, one)
        of_clusters += [np.bincount(of, weights=row, minlength=of_clusters.shape[1]) for row in pairs]
    of_clusters = of_clusters[:, of_clusters[1] > 0]
    if of_clusters.shape[1] < FEWEST:
        return Estimate.none(NO_TWO)
    moved = [of_clusters[:, kept].sum(axis=1) for kept in left_out(of_clusters.shape[1])]
    size = effective_size(of_clusters[1])
    return _estimate(of_clusters.sum(axis=1), np.array(moved), level, size, apart=size)


def _of_each(x: np.ndarray, times: Times) -> np.ndarray:
    """(2, n): of all pairs of each trial the weight of those that agree, and of all of which it is known who was first.

    Trials are measured at few different steps, so one sum along `x` for each of these is enough."""
    order, out = np.argsort(x, kind="stable"), np.zeros((2, len(x)))
    below, upto = (np.searchsorted(x[order], x, side=side) for side in ("left", "right"))
    weight, lower, upper = times.weight, times.lower, times.upper

    def summed(there: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(np.where(there, weight, 0.0)[order])])

    for step in np.unique(upper[times.observed]):  # those that grok then, as the first of a pair
        at, sums = np.flatnonzero(upper == step), summed(lower >= step)
        smaller = (sums[below[at]] + sums[upto[at]]) / 2
        out[:, at] += weight[at] * np.stack([smaller, np.full(len(at), sums[-1])])
    for step in np.unique(lower[lower >= upper.min()]):  # those that had not grokked then, as the second
        at, sums = np.flatnonzero(lower == step), summed(upper <= step)
        larger = sums[-1] - (sums[below[at]] + sums[upto[at]]) / 2
        out[:, at] += weight[at] * np.stack([larger, np.full(len(at), sums[-1])])
    return out


def _of_pairs(x: np.ndarray, times: Times, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(2, …) of rows that are broadcast: the weight of pairs whose first grokked first, by whether they agree, and of
    all."""
    known = times.weight[first] * times.weight[second] * (times.upper[first] <= times.lower[second])
    return np.stack([known * ((x[first] > x[second]) + 0.5 * (x[first] == x[second])), known])


def _estimate(whole: np.ndarray, moved: np.ndarray, level: float, size: float, apart: float) -> Estimate:
    """Of weights that agree, and of all, (2,); and without each block of configurations, (blocks, 2). `size`: how many
    configurations count in effect; `apart`: how many pairs, of which no two have a configuration in common."""
    share = float(whole[0] / whole[1])
    if not (moved[:, 1] > 0).all():
        return Estimate(value=share, lower=np.nan, upper=np.nan, note=TOO_FEW)
    d, without = 2 * share - 1, 2 * moved[:, 0] / moved[:, 1] - 1
    if max(abs(d), np.abs(without).max()) > 1 - ROUNDING:
        lower, upper = wilson(share, apart, level)
        return Estimate(value=share, lower=lower, upper=upper)
    spread = error(np.arctanh(without))
    if not spread > 0:
        return Estimate(value=share, lower=np.nan, upper=np.nan, note=UNMOVED)
    reach = student_quantile(min(size, len(moved)) - 1, level) * spread
    lower, upper = ((np.tanh(np.arctanh(d) + side * reach) + 1) / 2 for side in (-1, 1))
    return Estimate(value=share, lower=float(lower), upper=float(upper), standard_error=spread * (1 - d**2) / 2)
