"""The shapes a parameter's values can have: draw one from a number in [0, 1), or let Optuna suggest it.

Every shape answers the same four questions, so that grid, random, Sobol and TPE share one description:
`from_unit` (the quantile function), `suggest` (with an Optuna trial), `listed` (all values, where they can be listed)
and `extremes` (the values that are tried out before a sweep starts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

from grokray.sweep.multiples import Multiples, Number, Scalar, index_at, multiples_within, snap

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# How far into its tails a bell curve is followed: 6 standard deviations.
TAIL = 1e-9


class Distribution(Protocol):
    def from_unit(self, u: float) -> Scalar:
        """The value at quantile u in [0, 1); u = 1 is taken as just below."""
        ...

    def suggest(self, trial: BaseTrial, name: str) -> Scalar: ...

    def listed(self) -> Sequence[Scalar] | None:
        """Every value in rising or given order; None where there are infinitely many."""
        ...

    def extremes(self) -> tuple[Scalar, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the listed values, equally likely unless there are probabilities."""

    values: tuple[Scalar, ...]
    probabilities: tuple[float, ...] | None = None

    def from_unit(self, u: float) -> Scalar:
        if self.probabilities is None:
            return self.values[index_at(u, len(self.values))]
        reached = 0.0
        for value, probability in zip(self.values, self.probabilities, strict=True):
            reached += probability
            if u < reached and probability > 0:
                return value
        return [v for v, p in zip(self.values, self.probabilities, strict=True) if p > 0][-1]

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        if len(self.values) == 1:
            return self.values[0]
        if self.probabilities is not None:  # Optuna's categories know no probabilities.
            return self.from_unit(trial.suggest_float(f"{name}:u", 0, 1))
        return trial.suggest_categorical(name, list(self.values))

    def listed(self) -> Sequence[Scalar]:
        return self.values

    def extremes(self) -> tuple[Scalar, ...]:
        return self.values


@dataclass(frozen=True, kw_only=True)
class Real:
    """A real number of [low, high], uniform in itself or in its logarithm."""

    low: float
    high: float
    log: bool = False

    def from_unit(self, u: float) -> Scalar:
        if not self.log:
            return _clip(self.low + u * (self.high - self.low), self.low, self.high)
        exponent = math.log(self.low) + u * (math.log(self.high) - math.log(self.low))
        return _clip(math.exp(exponent), self.low, self.high)

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def listed(self) -> None:
        return None

    def extremes(self) -> tuple[Scalar, ...]:
        return (self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class LogMultiples:
    """A multiple of q near a number of [low, high] that is uniform in its logarithm."""

    low: float
    high: float
    first: int
    last: int
    q: Number

    def from_unit(self, u: float) -> Scalar:
        return self._snap(Real(low=self.low, high=self.high, log=True).from_unit(u))

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:  # Optuna has no step on a logarithmic scale.
        return self._snap(trial.suggest_float(name, self.low, self.high, log=True))

    def listed(self) -> None:
        return None

    def extremes(self) -> tuple[Scalar, ...]:
        return Multiples(first=self.first, last=self.last, q=self.q).extremes()

    def _snap(self, value: Scalar) -> Scalar:
        assert isinstance(value, int | float)
        return snap(value, self.q, self.first, self.last)


@dataclass(frozen=True, kw_only=True)
class Bell:
    """Normal, or log-normal, with mean mu and standard deviation sigma (of the logarithm); cut at low and high.

    Optuna has no bell curve, so it is asked for the quantile, under the name with `:u` behind it.
    """

    mu: float
    sigma: float
    log: bool = False
    low: float | None = None
    high: float | None = None
    q: Number | None = None

    def from_unit(self, u: float) -> Scalar:
        normal = NormalDist(self.mu, self.sigma)
        start, end = self._quantiles(normal)
        exponent = normal.inv_cdf(_clip(start + u * (end - start), TAIL, 1 - TAIL))
        value = math.exp(min(exponent, 700.0)) if self.log else exponent
        value = _clip(value, self.low, self.high)
        return value if self.q is None else snap(value, self.q, *self._multiples())

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        return self.from_unit(trial.suggest_float(f"{name}:u", 0, 1))

    def listed(self) -> None:
        return None

    def extremes(self) -> tuple[Scalar, ...]:
        return (self.from_unit(0.0), self.from_unit(0.5), self.from_unit(1.0))

    def _quantiles(self, normal: NormalDist) -> tuple[float, float]:
        def quantile(value: float) -> float:
            if not self.log:
                return normal.cdf(value)
            return normal.cdf(math.log(value)) if value > 0 else 0.0

        start = 0.0 if self.low is None else quantile(self.low)
        return start, 1.0 if self.high is None else quantile(self.high)

    def _multiples(self) -> tuple[int | None, int | None]:
        q = self.q or 1
        first, last = multiples_within(self.low, self.high, q)
        return first, last


def _clip(value: float, low: float | None, high: float | None) -> float:
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)
