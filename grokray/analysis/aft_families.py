"""Log likelihoods of an interval of a standardised logarithm of time, with two derivatives by each of its ends.

a and b are (n,), a < b; the probability is that of lying between them. Where a is minus infinity, or b infinity, that
end's derivatives are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import log_ndtr, ndtri

FamilyName = Literal["lognormal", "weibull"]


@dataclass(frozen=True, kw_only=True)
class Derivatives:
    """(n,) each: the log probability, and its derivatives by a and b."""

    value: np.ndarray
    by_a: np.ndarray
    by_b: np.ndarray
    by_aa: np.ndarray
    by_ab: np.ndarray
    by_bb: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Family:
    """`interval(a, b)`; `log_survival(z)`; `quantile(p)` is the z that a share p lies below."""

    name: FamilyName
    interval: Callable[[np.ndarray, np.ndarray], Derivatives]
    log_survival: Callable[[np.ndarray], np.ndarray]
    quantile: Callable[[float], float]


def _normal(a: np.ndarray, b: np.ndarray) -> Derivatives:
    with np.errstate(all="ignore"):
        # In the upper tail the complement is exact where the probability itself is 1 less almost nothing.
        swap = a > 0
        high, low = log_ndtr(np.where(swap, -a, b)), log_ndtr(np.where(swap, -b, a))
        value = high + np.log(-np.expm1(low - high))
        by_a, by_b = -np.exp(_log_normal_density(a) - value), np.exp(_log_normal_density(b) - value)
        return _derivatives(value, by_a, by_b, slope_a=-a, slope_b=-b)


def _smallest_extreme(a: np.ndarray, b: np.ndarray) -> Derivatives:
    with np.errstate(all="ignore"):
        risk_a, risk_b = np.exp(a), np.exp(b)
        value = -risk_a + np.log(-np.expm1(risk_a - risk_b))
        by_a, by_b = -np.exp(a - risk_a - value), np.exp(b - risk_b - value)
        return _derivatives(value, by_a, by_b, slope_a=1 - risk_a, slope_b=1 - risk_b)


def _derivatives(
    value: np.ndarray, by_a: np.ndarray, by_b: np.ndarray, *, slope_a: np.ndarray, slope_b: np.ndarray
) -> Derivatives:
    """`slope` is the derivative of the log density. At an infinite end, or one with no density left, all are 0."""
    none_a, none_b = ~(by_a < 0), ~(by_b > 0)
    by_a, by_b = np.where(none_a, 0.0, by_a), np.where(none_b, 0.0, by_b)
    return Derivatives(
        value=value,
        by_a=by_a,
        by_b=by_b,
        by_aa=np.where(none_a, 0.0, by_a * slope_a - by_a**2),
        by_ab=-by_a * by_b,
        by_bb=np.where(none_b, 0.0, by_b * slope_b - by_b**2),
    )


def _log_normal_density(z: np.ndarray) -> np.ndarray:
    return -0.5 * z**2 - 0.5 * np.log(2 * np.pi)


FAMILIES: dict[FamilyName, Family] = {
    "lognormal": Family(
        name="lognormal",
        interval=_normal,
        log_survival=lambda z: log_ndtr(-z),
        quantile=lambda p: float(ndtri(p)),
    ),
    "weibull": Family(
        name="weibull",
        interval=_smallest_extreme,
        log_survival=lambda z: -np.exp(z),
        quantile=lambda p: float(np.log(-np.log1p(-p))),
    ),
}
