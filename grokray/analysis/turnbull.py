"""The distribution of times of which only intervals are known, without assuming its form.

Turnbull, B. W. (1976). The empirical distribution function with arbitrarily grouped, censored and truncated data. JRSS
B 38, 290-295. Found by expectation maximisation in turns with the iterative convex minorant: Wellner, J. A., and Zhan,
Y. (1997). A hybrid algorithm for computation of the nonparametric maximum likelihood estimator from censored data.
JASA 92, 945-959. That it is the maximum is checked by the conditions of Gentleman, R., and Geyer, C. J. (1994).
Maximum likelihood for interval censored data: consistency and computation. Biometrika 81, 618-623.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from grokray.analysis.times import Times

_ITERATIONS = 2_000
# Of the directional derivative, for each trial: nothing can raise the log likelihood by more than this times n.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Turnbull:
    """Mass `mass[j]` lies somewhere in (left[j], right[j]]; (m,) each, rising and apart, the last right may be
    infinite.

    Where within its interval a mass lies the data cannot tell, so survival there is known to lie between two values.
    """

    left: np.ndarray
    right: np.ndarray
    mass: np.ndarray
    log_likelihood: float
    iterations: int
    converged: bool

    def survival(self, steps: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """The least and the most that the share not grokked by these steps may be; equal between the intervals."""
        steps = np.asarray(steps, np.float64)
        total = np.append(0.0, np.cumsum(self.mass))
        least = 1 - total[np.searchsorted(self.left, steps, side="left")]
        most = 1 - total[np.searchsorted(self.right, steps, side="right")]
        return np.clip(least, 0, 1), np.clip(most, 0, 1)

    @property
    def median(self) -> tuple[float, float]:
        """The interval that holds the median; (…, inf) or (inf, inf) where less than half have grokked."""
        place = int(np.searchsorted(np.cumsum(self.mass), 0.5 * (1 - 1e-9)))
        return float(self.left[place]), float(self.right[place])


def turnbull(times: Times) -> Turnbull:
    """Of the trials with a weight; ValueError if there is none. Equal intervals are counted once, with their
    weights."""
    counted = times.counted()
    if not len(counted):
        raise ValueError("no trial has a weight above 0, but one at least is needed")
    ends, group = np.unique(np.stack([counted.lower, counted.upper]), axis=1, return_inverse=True)
    weight = np.bincount(group.reshape(-1), weights=counted.weight)
    left, right = innermost_intervals(ends[0], ends[1])
    # Observation i may lie in the innermost intervals first[i] … last[i].
    first = np.searchsorted(left, ends[0], side="left")
    last = np.searchsorted(right, ends[1], side="right") - 1
    mass, iterations, slack = _maximise(first, last, weight, len(left))
    held = _probability(mass, first, last)
    return Turnbull(
        left=left,
        right=right,
        mass=mass,
        log_likelihood=float(weight @ np.log(held)),
        iterations=iterations,
        converged=bool(slack <= 10 * _TOLERANCE),
    )


def innermost_intervals(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where mass can lie: from a lower end to an upper one with no other end between. (0, 7], (5, 8] → (5, 7].

    (n,) each → (m,) each.
    """
    ends = np.concatenate([lower, upper])
    is_lower = np.repeat([True, False], [len(lower), len(upper)])
    # (1, 2] and (2, 3] do not meet, so at one place upper ends come first.
    order = np.lexsort((is_lower, ends))
    ends, is_lower = ends[order], is_lower[order]
    start = np.flatnonzero(is_lower[:-1] & ~is_lower[1:])
    return ends[start], ends[start + 1]


def _maximise(first: np.ndarray, last: np.ndarray, weight: np.ndarray, size: int) -> tuple[np.ndarray, int, float]:
    mass = np.full(size, 1 / size)
    gains = _gains(mass, first, last, weight)
    iteration = 0
    while gains.max() - 1 > _TOLERANCE and iteration < _ITERATIONS:
        iteration += 1
        mass = mass * gains  # expectation maximisation, which raises the likelihood
        mass = _minorant_step(mass / mass.sum(), first, last, weight)
        gains = _gains(mass, first, last, weight)
    return mass, iteration, float(gains.max() - 1)


def _probability(mass: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(observations,): of lying in its interval."""
    total = np.append(0.0, np.cumsum(mass))
    return np.maximum(total[last + 1] - total[first], 1e-300)


def _gains(mass: np.ndarray, first: np.ndarray, last: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(m,): what more mass there would gain, for each trial; 1 where mass lies, and at most 1, at the maximum."""
    share = weight / _probability(mass, first, last)
    changes = np.bincount(first, weights=share, minlength=len(mass) + 1)
    changes = changes - np.bincount(last + 1, weights=share, minlength=len(mass) + 1)
    return np.cumsum(changes)[:-1] / weight.sum()


def _minorant_step(mass: np.ndarray, first: np.ndarray, last: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One Newton step with a diagonal Hessian in the cumulative sums, made monotone, and halved until it helps."""
    size = len(mass)
    if size < 2:
        return mass
    held = _probability(mass, first, last)
    slope, curve = weight / held, weight / held**2
    # F[k], the mass up to and with k, raises an observation that ends at k, and lowers one that begins after k.
    up, down = last < size - 1, first > 0
    gradient = _at(last[up], slope[up], size) - _at(first[down] - 1, slope[down], size)
    hessian = _at(last[up], curve[up], size) + _at(first[down] - 1, curve[down], size)
    hessian = np.maximum(hessian, 1e-12 * hessian.max())
    now = np.cumsum(mass)[:-1]
    target = np.clip(isotonic_regression(now + gradient / hessian, weights=hessian).x, 0, 1)
    before = float(weight @ np.log(held))
    for halvings in range(12):
        tried = now + (target - now) * 0.5**halvings
        tried_mass = np.maximum(np.diff(tried, prepend=0.0, append=1.0), 0.0)
        if float(weight @ np.log(_probability(tried_mass, first, last))) > before:
            return tried_mass / tried_mass.sum()
    return mass


def _at(place: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(place, weights=values, minlength=size)[: size - 1]
