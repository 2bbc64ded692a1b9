"""Weighted logistic and linear regression with covariances that are robust to clusters and weights.

The sandwich (Liang and Zeger 1986, Biometrika 73): trials of one configuration may resemble each other, and weights are
no counts. Scaled by G / (G − p) for G clusters and p coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEPS = 50
_STILL = 1e-5  # log odds that a step moves at most when it has arrived


@dataclass(frozen=True, kw_only=True)
class Fit:
    """`coefficients` (p,), `covariance` (p, p). `converged` False: the numbers mean nothing (perfect separation)."""

    coefficients: np.ndarray
    covariance: np.ndarray
    clusters: int
    converged: bool


def logistic(design: np.ndarray, success: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> Fit:
    """`design` (n, p) with its column of ones, `success` (n,) bool, `weight` (n,) > 0, `cluster` (n,) int."""
    beta, converged = np.zeros(design.shape[1]), False
    value = _log_likelihood(design @ beta, success, weight)
    for _ in range(_STEPS):
        chance = expit(design @ beta)
        gradient = design.T @ (weight * (success - chance))
        step = np.linalg.pinv(_information(design, weight, chance)) @ gradient
        # Under separation the likelihood soon stands still, and the coefficients never do.
        if np.abs(design @ step).max() < _STILL:
            converged = True
            break
        beta, value = _ascend(design, success, weight, beta, step, value)
    chance = expit(design @ beta)
    residuals = weight * (success - chance)
    return _fit(design, beta, np.linalg.pinv(_information(design, weight, chance)), residuals, cluster, converged)


def linear(design: np.ndarray, values: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> Fit:
    """Weighted least squares; arrays as of `logistic`, `values` (n,) float."""
    bread = np.linalg.pinv(design.T @ (design * weight[:, None]))
    beta = bread @ (design.T @ (weight * values))
    return _fit(design, beta, bread, weight * (values - design @ beta), cluster, True)


def expit(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))


def _fit(
    design: np.ndarray, beta: np.ndarray, bread: np.ndarray, residuals: np.ndarray, cluster: np.ndarray, converged: bool
) -> Fit:
    number = np.unique(cluster, return_inverse=True)[1]
    clusters = int(number.max()) + 1
    scores = np.stack([np.bincount(number, weights=column * residuals, minlength=clusters) for column in design.T])
    small = clusters / max(clusters - len(beta), 1)
    covariance = small * bread @ (scores @ scores.T) @ bread
    return Fit(coefficients=beta, covariance=covariance, clusters=clusters, converged=converged)


def _ascend(
    design: np.ndarray, success: np.ndarray, weight: np.ndarray, beta: np.ndarray, step: np.ndarray, value: float
) -> tuple[np.ndarray, float]:
    """Newton's step, halved until the likelihood does not fall."""
    for _ in range(30):
        reached = _log_likelihood(design @ (beta + step), success, weight)
        if reached >= value - 1e-12 * abs(value):
            return beta + step, reached
        step = step / 2
    return beta, value


def _information(design: np.ndarray, weight: np.ndarray, chance: np.ndarray) -> np.ndarray:
    return design.T @ (design * (weight * chance * (1 - chance))[:, None])


def _log_likelihood(log_odds: np.ndarray, success: np.ndarray, weight: np.ndarray) -> float:
    return float(-np.sum(weight * np.logaddexp(0, np.where(success, -log_odds, log_odds))))
