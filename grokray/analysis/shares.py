"""Shares of trials with intervals, where trials have weights and come in clusters (the seeds of one configuration).

Wilson's interval (1927, JASA 22) with the *effective* number of trials in place of their number: as many independent
ones of equal weight as would give an equal variance (Franco, Little, Louis and Slud 2019, Journal of Survey Statistics
and Methodology 7), corrected for few clusters as Korn and Graubard (1998, Survey Methodology 24) do. Resamples are
those of the bootstrap (Efron 1979, Annals of Statistics 7), of whole clusters (Davison and Hinkley 1997, Bootstrap
Methods and Their Application, section 3.8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from grokray.analysis.intervals import size_of_strata, wilsons

LEVEL = 0.95
REPLICATES = 500


@dataclass(frozen=True, kw_only=True)
class Shares:
    """One entry a cell. `share`, `lower`, `upper` are NaN where the cell is empty, which `trials` 0 says.

    `trials`, `clusters` count those with a weight above 0; `effective` is the effective number of trials.
    """

    share: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    trials: np.ndarray
    clusters: np.ndarray
    effective: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval; NaN bounds where there is none. `method` says how both came about."""

    value: float
    lower: float
    upper: float
    method: str

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.lower:.4g} to {self.upper:.4g}; {self.method})"


def shares(
    success: np.ndarray,
    weight: np.ndarray,
    cluster: np.ndarray,
    cell: np.ndarray,
    cells: int,
    level: float = LEVEL,
    *,
    audited: np.ndarray | None = None,
) -> Shares:
    """The weighted share of successes in each cell.

    `success` (n,) bool, `weight` (n,) float ≥ 0, `cluster` (n,) int, `cell` (n,) int in 0 … cells − 1, or −1 for
    none. `audited` (n,) bool: whose weights stand for pruned trials, see `intervals.size_of_strata`.
    Example: 8 of 10 trials, each in a cluster of its own → 0.8, 0.474 to 0.947.
    """
    keep = (cell >= 0) & (weight > 0)
    success, weight, cell = success[keep].astype(float), weight[keep], cell[keep]
    pair, first = np.unique(cell * (cluster.max(initial=0) + 1) + cluster[keep], return_inverse=True)
    cell_of = pair // (cluster.max(initial=0) + 1)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights=values, minlength=cells)

    def total_squared(values: np.ndarray) -> np.ndarray:
        """Squares of the clusters' sums, summed in each cell."""
        return np.bincount(
            cell_of, weights=np.bincount(first, weights=values, minlength=len(pair)) ** 2, minlength=cells
        )

    size, clusters = total(weight), np.bincount(cell_of, minlength=cells)
    trials = np.bincount(cell, minlength=cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(total(weight * success) / size, 0, 1)
        # The variance of a ratio, by the spread of the clusters' residuals.
        variance = total_squared(weight * (success - share[cell])) / size**2 * clusters / (clusters - 1)
        kish, kish_clusters = size**2 / total(weight**2), size**2 / total_squared(weight)
        effective = share * (1 - share) / variance
        corrected = effective * _few(trials, clusters, level)
        # Where all agree there is no spread to see: clusters count as if their trials were copies of each other.
        agree = (share < 1e-12) | (share > 1 - 1e-12) | (clusters < 2)
        effective = np.where(agree, kish_clusters, np.minimum(corrected, kish))
        if audited is not None:
            strata = [weight * (audited[keep] == side) for side in (False, True)]
            totals = np.stack([total(part) for part in strata])
            squares = np.stack([total(part**2) for part in strata])
            effective = np.minimum(effective, size_of_strata(totals**2 / squares, totals / size, level))
    lower, upper = wilsons(share, effective, level)
    return Shares(
        share=share,
        lower=lower,
        upper=upper,
        trials=trials,
        clusters=clusters,
        effective=np.where(clusters > 0, effective, 0.0),
    )


def resampled(clusters: int, replicates: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """For each replicate of a bootstrap (clusters,) int64: how often each cluster was drawn, with replacement."""
    for _ in range(replicates):
        yield np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """(…, n) → (…): of what is not NaN; NaN where that is nothing, as of resamples without weight."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)


def percentiles(replicates: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of a bootstrap's values (replicates,); NaN ones (no value in that resample) are left
    out, and two NaN are the answer where fewer than half are left."""
    values = replicates[~np.isnan(replicates)]
    if len(values) < max(2, len(replicates) / 2):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def spread(replicates: np.ndarray, clusters: int, level: float = LEVEL) -> tuple[float, float]:
    """As `percentiles`, but two NaN where all resamples agree on a finite value: what has no spread in the sample has
    some beyond it, and nothing here tells how much.

    Resamples of few clusters vary less than samples do, by n − 1 in n, and the normal's quantiles are not Student's.
    So the level is expanded: Hesterberg, T. C. (2015). What teachers should know about the bootstrap. The American
    Statistician 69, 371-386, section 5.3.
    """
    reach = np.sqrt(clusters / (clusters - 1)) * stats.t.ppf((1 + level) / 2, clusters - 1)
    lower, upper = percentiles(replicates, 2 * float(stats.norm.cdf(reach)) - 1)
    return (float("nan"), float("nan")) if lower == upper and np.isfinite(lower) else (lower, upper)


def _few(trials: np.ndarray, clusters: np.ndarray, level: float) -> np.ndarray:
    """By how much fewer clusters than trials cut the effective number: quantiles of t, squared."""
    q = (1 + level) / 2
    return (stats.t.ppf(q, np.maximum(trials - 1, 1)) / stats.t.ppf(q, np.maximum(clusters - 1, 1))) ** 2
