"""What a covariate does, as a factor: on time to grok, or on the hazard of grokking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

_MOST = float(np.log(1e6))  # half of an interval: with more there is no number worth printing
_NONE = 1e-9  # of a logarithm: an error that is none but for rounding
LONE = "only one configuration tells it, so nothing says how far chance moves it"
NO_CHANCE = "what tells it follows from the parameters exactly, so nothing says how far chance moves it"
BOUNDLESS = "too few trials tell it: its interval goes over more than twelve powers of ten"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What goes with one unit of a covariate, all others held fixed.

    `name` is the column of the design, `label` what one unit is: "a doubling of weight_decay". All numbers are NaN
    where there is a `reason` why they could not be estimated.
    """

    name: str
    label: str
    lower: float = float("nan")
    upper: float = float("nan")
    standard_error: float = float("nan")
    p_value: float = float("nan")
    reason: str | None = None

    @property
    def from_none(self) -> float:
        """How far it is from no effect, on the scale of `standard_error`."""
        raise NotImplementedError

    @property
    def certainty(self) -> float:
        """How many standard errors it is away from none."""
        return abs(self.from_none) / self.standard_error if self.standard_error > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Effect(Told):
    """A factor; `log_ratio` and `standard_error` are of its natural logarithm."""

    ratio: float = float("nan")
    log_ratio: float = float("nan")

    @property
    def from_none(self) -> float:
        return self.log_ratio

    @property
    def stated(self) -> str:
        """Of a time ratio."""
        verb = "lengthens" if self.ratio > 1 else "shortens"
        return f"{verb} the time to {self.ratio:.2f} times what it was ({self.lower:.2f} to {self.upper:.2f})"


def standard_errors(covariance: np.ndarray) -> np.ndarray:
    """(p,) of (p, p). Where trials agree completely, rounding can leave a variance just below zero: it is none."""
    return np.sqrt(np.diag(covariance).clip(min=0.0))


def effect_of(
    name: str, label: str, log_ratio: float, standard_error: float, *, level: float, degrees: float = np.inf
) -> Effect:
    """`degrees` of freedom of the standard error: infinite for one that the model gives, else Student's. Not estimable
    where the likelihood is so flat that it hardly has a maximum, as where it all but separates those that grok."""
    if standard_error < _NONE:
        return not_estimable(name, label, NO_CHANCE)
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
        p_value=float(2 * scale.sf(abs(log_ratio) / standard_error)),
    )


def not_estimable(name: str, label: str, reason: str) -> Effect:
    return Effect(name=name, label=label, reason=reason)


def find(effects: Sequence[Effect], name: str) -> Effect:
    """The effect of that column; KeyError if there is none."""
    found = {effect.name: effect for effect in effects}
    return found[name]
