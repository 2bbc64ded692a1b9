"""Where a logistic curve over one number is at one half, and how sure that is.

The midpoint is a ratio of coefficients, so its interval is Fieller's (1954, JRSS B 16): as lopsided, and where the
curve hardly rises as boundless, as the data have it. The covariance is a sandwich: see `regression`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from grokray.analysis.clusters import cluster_codes, cluster_sums
from grokray.analysis.regression import Fit, expit, logistic

_SIGNS = np.array([[1, -1], [-1, 1]])  # of the covariance, as the intercept is taken with the other sign


@dataclass(frozen=True, kw_only=True)
class Midpoint:
    """Of n trials: `place` (n,) along the axis, `success` (n,) bool, `weight` (n,) > 0, `cluster` (n,) int."""

    place: np.ndarray
    success: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray

    @cached_property
    def _scale(self) -> tuple[float, float]:
        return float(self.place.mean()), float(self.place.std())

    @cached_property
    def _design(self) -> np.ndarray:
        centre, scale = self._scale
        return np.stack([np.ones(len(self.place)), (self.place - centre) / scale], axis=1)

    @cached_property
    def _fits(self) -> tuple[Fit, Fit]:
        """By cluster and by trial: the wider interval counts, as that clusters of one place are more alike than chance
        would have them is no knowledge."""
        weight = self.weight / self.weight.mean()
        by_cluster, by_trial = (
            logistic(self._design, self.success, weight, by) for by in (self.cluster, np.arange(len(weight)))
        )
        return by_cluster, by_trial

    @property
    def converged(self) -> bool:
        return self._fits[0].converged

    @property
    def slope(self) -> float:
        """Log odds for each unit of the axis."""
        return float(self._fits[0].coefficients[1] / self._scale[1])

    @property
    def value(self) -> float:
        intercept, slope = self._fits[0].coefficients
        centre, scale = self._scale
        return float(centre + scale * -intercept / slope)

    def ends(self, level: float) -> tuple[float, float] | None:
        """None where that the curve rises at all may be chance: the interval is boundless."""
        fit, (centre, scale) = self._fits[0], self._scale
        intercept, slope = fit.coefficients
        quantile = float(stats.t.ppf((1 + level) / 2, max(fit.clusters - 2, 1)))
        found = [fieller(-intercept, slope, one.covariance * _SIGNS, quantile) for one in self._fits]
        if None in found:
            return None
        lower, upper = max((one for one in found if one), key=lambda ends: ends[1] - ends[0])
        return float(centre + scale * lower), float(centre + scale * upper)

    @cached_property
    def moves(self) -> Mapping[int, float]:
        """What each cluster adds to the midpoint, to first order: by its score, in one step of Newton's method."""
        (intercept, slope), weight = self._fits[0].coefficients, self.weight / self.weight.mean()
        chance = expit(self._design @ self._fits[0].coefficients)
        information = self._design.T @ (self._design * (weight * chance * (1 - chance))[:, None])
        gradient = self._scale[1] * np.array([-1 / slope, intercept / slope**2])
        moved = self._design @ np.linalg.solve(information, gradient) * weight * (self.success - chance)
        sums = cluster_sums(moved, cluster_codes(self.cluster))
        return dict(zip(np.unique(self.cluster).tolist(), sums.tolist(), strict=True))


def fieller(above: float, below: float, covariance: np.ndarray, quantile: float) -> tuple[float, float] | None:
    """Bounds of above / below, whose covariance is (2, 2); None where `below` cannot be told from 0, and the set of
    ratios that agree with the data is no interval."""
    a = below**2 - quantile**2 * covariance[1, 1]
    b = above * below - quantile**2 * covariance[0, 1]
    c = above**2 - quantile**2 * covariance[0, 0]
    if a <= 0:
        return None
    root = np.sqrt(max(b**2 - a * c, 0.0))
    return (b - root) / a, (b + root) / a
