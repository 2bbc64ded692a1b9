"""Weighted logistic regression with a covariance that is robust to clusters and weights.

Trials of one configuration may resemble each other, and weights are no counts: each cluster is left out in one step of
Newton's method, see `clusters.py`. The sandwich (Liang and Zeger 1986, Biometrika 73) is too small where few trials
tell a coefficient, as where few of a level grok.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grokray.analysis.clusters import cluster_codes, jackknife

_STEPS = 50
_UNTOLD = 1e-12  # of the most information in any direction; with less, there is none but for rounding
_STILL = 1e-5  # log odds that a step moves at most when it has arrived


@dataclass(frozen=True, kw_only=True)
class Fit:
    """`coefficients` (p,), `covariance` (p, p). `converged` False: the numbers mean nothing (perfect separation)."""

    coefficients: np.ndarray
    covariance: np.ndarray
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
    residuals, curvature = weight * (success - chance), weight * chance * (1 - chance)
    # Where all succeed, or none does, chances are rounded to 1 or 0 at last, and nothing moves any more.
    converged = converged and bool(curvature.any())
    # Under separation there is no information to leave a part of.
    unknown = np.full((len(beta), len(beta)), np.nan)
    covariance = _left_out(design, residuals, curvature, cluster) if converged else unknown
    return Fit(coefficients=beta, covariance=covariance, converged=converged)


def expit(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))


def _left_out(design: np.ndarray, residuals: np.ndarray, curvature: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(p, p), from `residuals` (n,), weighted, and `curvature` (n,): the weights of the information. By the jackknife,
    in the directions that the trials tell at all: columns may follow from others."""
    information = design.T @ (design * curvature[:, None])
    sizes, directions = np.linalg.eigh(information)
    told = sizes > _UNTOLD * sizes.max()
    # Scaled so that the information is the unit matrix.
    basis = directions[:, told] / np.sqrt(sizes[told])
    x = design @ basis

    def parts(rows: np.ndarray) -> np.ndarray:
        return curvature[rows, None, None] * x[rows, :, None] * x[rows, None, :]

    covariance, _ = jackknife(x * residuals[:, None], parts, np.eye(x.shape[1]), cluster_codes(cluster))
    return basis @ covariance @ basis.T


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
