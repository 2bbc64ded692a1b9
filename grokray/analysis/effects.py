"""What a covariate does, as a factor: on time to grok, or on the hazard of grokking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

_MOST = float(np.log(1e6))  # half of an interval: with more there is no number worth printing
BOUNDLESS = "too few trials tell it: its interval goes over more than twelve powers of ten"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The factor that goes with one unit of a covariate, all others held fixed.

    `name` is the column of the design, `label` what one unit is: "a doubling of weight_decay". `log_ratio` and
    `standard_error` are of the factor's natural logarithm. All are NaN where there is a `reason` why it could not be
    estimated.
    """

    name: str
    label: str
    ratio: float
    lower: float
    upper: float
    log_ratio: float
    standard_error: float
    p_value: float
    reason: str | None = None


def standard_errors(covariance: np.ndarray) -> np.ndarray:
    """(p,) of (p, p). Where trials agree completely, rounding can leave a variance just below zero: it is none."""
    return np.sqrt(np.diag(covariance).clip(min=0.0))


def effect_of(
    name: str, label: str, log_ratio: float, standard_error: float, *, level: float, degrees: float = np.inf
) -> Effect:
    """`degrees` of freedom of the standard error: infinite for one that the model gives, else Student's. Not estimable
    where the likelihood is so flat that it hardly has a maximum, as where it all but separates those that grok."""
    scale: Any = norm if np.isinf(degrees) else student(degrees)
    half = float(scale.isf((1 - level) / 2)) * standard_error
    if half > _MOST:
        return not_estimable(name, label, BOUNDLESS)
    with np.errstate(over="ignore"):
        ratio, lower, upper = (float(np.exp(log_ratio + change)) for change in (0.0, -half, half))
    return Effect(
        name=name,
        label=label,
        ratio=ratio,
        lower=lower,
        upper=upper,
        log_ratio=float(log_ratio),
        standard_error=float(standard_error),
        p_value=float(2 * scale.sf(abs(log_ratio) / standard_error)) if standard_error > 0 else float("nan"),
    )


def not_estimable(name: str, label: str, reason: str) -> Effect:
    nan = float("nan")
    return Effect(
        name=name,
        label=label,
        ratio=nan,
        lower=nan,
        upper=nan,
        log_ratio=nan,
        standard_error=nan,
        p_value=nan,
        reason=reason,
    )


def find(effects: Sequence[Effect], name: str) -> Effect:
    """The effect of that column; KeyError if there is none."""
    found = {effect.name: effect for effect in effects}
    return found[name]
