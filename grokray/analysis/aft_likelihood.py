"""The likelihood of accelerated failure times that lie in intervals, and of those that could only be seen early."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from grokray.analysis.aft_families import Family
from grokray.analysis.clusters import jackknife
from grokray.analysis.times import Times

# Values (n,) times the outer products of two (n, p + 2): a part of the Hessian.
Product = tuple[np.ndarray, np.ndarray, np.ndarray]
Terms = tuple[np.ndarray, np.ndarray, list[Product]]
_NARROW = 1e-4  # of a logarithm of time: a step in 10,000
_HOLLOW = 1e-6  # of the largest curvature: with less it may as well be a valley


class Likelihood:
    """Called with (p + 2,): intercept and coefficients of standardised columns, over the scale, and 1 / scale of the
    standardised logarithm of steps. z = rate * log steps - x'c is what the family is told."""

    def __init__(self, times: Times, matrix: np.ndarray, family: Family) -> None:
        self.weight, self.family = times.weight, family
        self.columns_at, self.columns_by = matrix.mean(axis=0), matrix.std(axis=0)
        self.x = np.column_stack([np.ones(len(times)), (matrix - self.columns_at) / self.columns_by])
        known = np.log(times.seen_until[times.seen_until > 0])
        self.log_at, self.log_by = float(known.mean()), max(float(known.std()), 1e-3)
        self.low, self.high = ((end - self.log_at) / self.log_by for end in _log_ends(times))

    def start(self) -> np.ndarray:
        """All times alike: a scale of one standard deviation about the mean."""
        place = np.zeros(self.x.shape[1] + 1)
        place[-1] = 1.0
        return place

    def __call__(self, place: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The value, its gradient, and a Hessian that leads upwards."""
        if place[-1] > 0:
            with np.errstate(invalid="ignore"):
                values, slopes, products = self._terms(place)
            if np.isfinite(value := float(self.weight @ values)):
                return value, slopes.T @ self.weight, self._summed(products)
        return -np.inf, np.zeros_like(place), -np.eye(len(place))  # a step too far

    def hessian(self, place: np.ndarray) -> np.ndarray:
        return self._summed(self._terms(place)[2])

    def jackknife(self, place: np.ndarray, total: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The covariance of `place`, and what rests on one cluster, as `clusters.jackknife` has it; `total` is less the
        Hessian there, `codes` (n,) the clusters."""
        _, slopes, products = self._terms(place)

        def information(rows: np.ndarray) -> np.ndarray:
            parts = [
                (left[rows] * (self.weight * values)[rows, None])[:, :, None] * right[rows, None, :]
                for left, right, values in products
            ]
            return -np.sum(parts, axis=0)

        return jackknife(slopes * self.weight[:, None], information, total, codes)

    def in_steps(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AftFit.parameters, and their derivatives by `place`; (p + 2,), (p + 2, p + 2)."""
        coefficients, rate = place[:-1], place[-1]
        # From standardised columns and logarithms to those given: linear in coefficients / rate.
        back = np.diag(np.append(self.log_by, self.log_by / self.columns_by))
        back[0, 1:] = -self.log_by * self.columns_at / self.columns_by
        parameters = back @ coefficients / rate
        parameters[0] += self.log_at
        jacobian = np.zeros((len(place), len(place)))
        jacobian[:-1, :-1] = back / rate
        jacobian[:-1, -1] = -(back @ coefficients) / rate**2
        jacobian[-1, -1] = -1 / rate
        return np.append(parameters, np.log(self.log_by / rate)), jacobian

    def _terms(self, place: np.ndarray) -> Terms:
        """Of each trial, without its weight: the log likelihood (n,), its slopes (n, p + 2), and the Hessian."""
        shift = self.x @ place[:-1]
        at = self.family.interval(place[-1] * self.low - shift, place[-1] * self.high - shift)
        low, high = self._side(self.low), self._side(self.high)
        products = [(low, low, at.by_aa), (high, high, at.by_bb), (low, high, at.by_ab), (high, low, at.by_ab)]
        return at.value, low * at.by_a[:, None] + high * at.by_b[:, None], products

    def _side(self, ends: np.ndarray) -> np.ndarray:
        """(n, p + 2): derivatives of z at these logarithms of time (n,); 0 where one is infinite."""
        finite = np.isfinite(ends)
        return np.column_stack([-self.x, np.where(finite, ends, 0.0)]) * finite[:, None]

    def _summed(self, products: Iterable[Product]) -> np.ndarray:
        size = self.x.shape[1] + 1
        hessian = np.zeros((size, size))
        for left, right, values in products:
            hessian += (left * (self.weight * values)[:, None]).T @ right
        return hessian


class Truncated(Likelihood):
    """Of trials that grokked, given that they did by `within` (n,) steps: the probability of each time over that of any
    up to there. That is no longer concave everywhere."""

    def __init__(self, times: Times, matrix: np.ndarray, family: Family, within: np.ndarray) -> None:
        super().__init__(times, matrix, family)
        self.end = (np.log(np.maximum(within, times.upper)) - self.log_at) / self.log_by

    def __call__(self, place: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, slope, hessian = super().__call__(place)
        if np.isfinite(value) and not _is_hill(hessian):
            # The part without the condition always is one, and no flatter: a shorter step, but upwards.
            hessian = self._summed(super()._terms(place)[2])
        return value, slope, hessian

    def _terms(self, place: np.ndarray) -> Terms:
        values, slopes, products = super()._terms(place)
        end = place[-1] * self.end - self.x @ place[:-1]
        until, side = self.family.interval(np.full(len(end), -np.inf), end), self._side(self.end)
        return values - until.value, slopes - side * until.by_b[:, None], [*products, (side, side, -until.by_bb)]


def _is_hill(hessian: np.ndarray) -> bool:
    curvature = np.linalg.eigvalsh(-hessian)
    return bool(curvature[0] > _HOLLOW * curvature[-1])


def _log_ends(times: Times) -> tuple[np.ndarray, np.ndarray]:
    """(n,) each. Narrow intervals are widened about their middle: differences of almost equal numbers would be lost."""
    with np.errstate(divide="ignore"):
        low, high = np.log(times.lower), np.log(times.upper)
    narrow = high - low < _NARROW
    middle = (low[narrow] + high[narrow]) / 2
    low[narrow], high[narrow] = middle - _NARROW / 2, middle + _NARROW / 2
    return low, high
