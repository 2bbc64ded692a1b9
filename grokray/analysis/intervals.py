"""Shares with Wilson's interval.

Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22, 209-212. For
weighted trials with the effective number of them, as in Korn, E. L., and Graubard, B. I. (1998). Confidence intervals
for proportions with small expected number of positive counts estimated from survey data. Survey Methodology 24,
193-201.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from grokray.analysis.clusters import cluster_codes, cluster_sums

_NEGLIGIBLE = 0.02  # part of the weight: whatever is true of it, the share hardly moves


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval. What could not be estimated is NaN, and `note` says why.

    An end that the data do not bound is infinite or NaN, as the estimator says.
    """

    value: float
    lower: float
    upper: float
    standard_error: float = float("nan")
    note: str | None = None

    @classmethod
    def none(cls, note: str) -> Estimate:
        return cls(value=float("nan"), lower=float("nan"), upper=float("nan"), note=note)


def effective_size(weight: np.ndarray, cluster: np.ndarray | None = None) -> float:
    """Of how many equally weighted trials, or clusters if given, the sum has the same relative variance (Kish 1965).

    `weight` (n,), `cluster` (n,). [1, 1, 1, 1] → 4, [4, 0, 0, 0] → 1; 0 where no weight is above 0.
    """
    weight = np.asarray(weight, np.float64)
    sums = weight if cluster is None else cluster_sums(weight, cluster_codes(cluster))
    squares = float(np.sum(sums**2))
    return float(np.sum(sums)) ** 2 / squares if squares > 0 else 0.0


def wilson(share: float, size: float, level: float = 0.95, *, critical: float | None = None) -> tuple[float, float]:
    """Wilson's interval for a share seen among so many trials; `size` may be an effective one, and no whole number.

    None of 10 → (0, 0.278), all of 10 → (0.722, 1); of no trial (0, 1). `critical` takes the place of the normal
    quantile where the size itself is uncertain.
    """
    if not size > 0:
        return 0.0, 1.0
    lower, upper = wilsons(np.array([share]), np.array([size]), level, critical=critical)
    return float(lower[0]), float(upper[0])


def wilsons(
    share: np.ndarray, size: np.ndarray, level: float = 0.95, *, critical: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `wilson`, of shares (k,) among `size` (k,) trials each; NaN of no trial."""
    z2 = (float(norm.isf((1 - level) / 2)) if critical is None else critical) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (share + z2 / (2 * size)) / (1 + z2 / size)
        half = np.sqrt(share * (1 - share) * z2 / size + (z2 / (2 * size)) ** 2) / (1 + z2 / size)
    lower, upper = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    # Exact ends, which rounding would miss.
    return np.where((share <= 0) & (size > 0), 0.0, lower), np.where((share >= 1) & (size > 0), 1.0, upper)


def unseen(
    side: np.ndarray, success: np.ndarray, weight: np.ndarray, cluster: np.ndarray, level: float
) -> tuple[float, float]:
    """By how much the share of a side may be less, and more, than all or none of its trials; 0 where it is neither. The
    fit takes it as certain then, though there may be one trial only; the two errors are joined as by Newcombe (1998,
    Statistics in Medicine 17)."""
    if success[side].any() and not success[side].all():
        return 0.0, 0.0
    share = float(success[side].all())
    lower, upper = wilson(share, effective_size(weight[side], cluster[side]), level)
    return share - lower, upper - share


def student_quantile(degrees: float, level: float = 0.95) -> float:
    """How many standard errors half of an interval is; of fewer than one degree of freedom as of one."""
    return float(student.isf((1 - level) / 2, max(degrees, 1)))


def joined(one: float, other: float, correlation: float = 0.0) -> float:
    """How far a difference may lie to one side, where its terms may lie so far: of 3 and 4, independently, 5. As ends
    need not lie alike on both sides: Zou, G. Y., and Donner, A. (2008). Construction of confidence limits about effect
    measures. Statistics in Medicine 27, 1693-1702."""
    return float(np.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0)))


def size_of_strata(sizes: np.ndarray, parts: np.ndarray, level: float = 0.95) -> float | np.ndarray:
    """The most that a sample is worth whose trials are of strata that weigh differently, as audited trials do.

    `sizes` (strata, …) are the strata's own effective sizes, `parts` their parts of the weight; infinite where none
    counts. Of a stratum in which nothing was seen to happen, up to z² / (size + z²) may have by Wilson, and so of the
    whole its part of that, which is what Wilson says of a sample of this size: (size + z²) / part − z².
    """
    z2 = float(norm.isf((1 - level) / 2)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = (sizes + z2) / parts - z2
    return np.min(np.where(parts > _NEGLIGIBLE, worth, np.inf), axis=0)


def wilson_share(
    success: np.ndarray, weight: np.ndarray | None = None, cluster: np.ndarray | None = None, level: float = 0.95
) -> Estimate:
    """The weighted share of the trials where `success` (n,) is True, with Wilson's interval.

    The effective size is that which gives the share's robust variance, clusters taken whole, or Kish's where all or
    none succeed. Unweighted and without clusters it is n.
    """
    share, variance, size = share_and_size(success, weight, cluster)
    if not size > 0:
        return Estimate.none("no trial counts")
    lower, upper = wilson(share, size, level)
    return Estimate(value=share, lower=lower, upper=upper, standard_error=float(np.sqrt(variance)))


def share_and_size(
    success: np.ndarray, weight: np.ndarray | None = None, cluster: np.ndarray | None = None
) -> tuple[float, float, float]:
    """What `wilson_share` is made of: share, its robust variance, effective size; the size is 0 if no trial counts."""
    success = np.asarray(success, np.float64)
    weight = np.ones(len(success)) if weight is None else np.asarray(weight, np.float64)
    total = float(weight.sum())
    if total <= 0:
        return float("nan"), float("nan"), 0.0
    share = float(weight @ success) / total
    codes = np.arange(len(success)) if cluster is None else cluster_codes(cluster)
    parts = weight * (success - share) / total
    # That clusters are more alike than chance would have them is no knowledge, so the larger variance counts.
    variance = float(max(np.sum(cluster_sums(parts, codes) ** 2), np.sum(parts**2)))
    # Rounding leaves a little variance where all or none succeed.
    if 0 < share < 1 and variance > 1e-15:
        return share, variance, share * (1 - share) / variance
    return share, 0.0, effective_size(weight, codes)
