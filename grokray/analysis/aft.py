"""Accelerated failure time: covariates stretch the time to grok by factors.

log T = intercept + x'b + scale * e, where e is normal (T is log-normal) or a smallest extreme value (T is Weibull).
Fitted by maximum likelihood to intervals, so that neither the grid of measurements nor a budget biases it:
Kalbfleisch, J. D., and Prentice, R. L. (2002). The Statistical Analysis of Failure Time Data, chapter 3. In b / scale
and 1 / scale the log likelihood is concave: Burridge, J. (1981). A note on maximum likelihood estimation for
regression models using grouped data. JRSS B 43, 41-45; so it has one maximum, which Newton's method finds from
anywhere.

Weights and clusters make the covariance a sandwich. Where neither counts, the likelihood takes its scale, which is too
small, for the true one: intervals are widened and Student's, as a linear model's are. An effect that the trials cannot
tell has a reason instead of a number, see `grokray.analysis.estimable`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from grokray.analysis.aft_families import FAMILIES, Derivatives, Family, FamilyName
from grokray.analysis.clusters import jackknife
from grokray.analysis.design import Design
from grokray.analysis.effects import Effect, effect_of, standard_errors
from grokray.analysis.estimable import Estimable, estimable
from grokray.analysis.intervals import effective_size
from grokray.analysis.newton import maximise
from grokray.analysis.times import Times

_FLAT = 1e-7  # of the largest curvature; the likelihood has no maximum there
LONE = "only one configuration tells it, so nothing says how far chance moves it"
_NARROW = 1e-4  # of a logarithm of time: a step in 10,000
NO_MAXIMUM = "the likelihood has no maximum: too few trials grokked, or their times follow from the covariates exactly"


@dataclass(frozen=True, kw_only=True)
class AftFit:
    """Effects are time ratios: 0.5 means in half as many steps.

    `names` (p) are the columns that were fitted; `parameters` (p + 2,) are intercept, coefficients by unit of each
    column, and the logarithm of the scale, with their `covariance`, not widened as that of effects is. `aic` compares
    fits of the same trials; with weights the log likelihood in it counts as that of the effective number of trials.
    `trials` and `events` are those that took part, and `certain` those that did not because they only say that an
    effect cannot be told. `left_out` says why columns are not in the design. If `failure` is not None nothing could be
    fitted, and the numbers are NaN.
    """

    family: FamilyName
    effects: tuple[Effect, ...]
    names: tuple[str, ...]
    parameters: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    aic: float
    trials: int
    events: int
    certain: int
    robust: bool
    left_out: Mapping[str, str]
    failure: str | None

    def survival(self, matrix: np.ndarray, steps: np.ndarray | float) -> np.ndarray:
        """The share not grokked by `steps`, of trials with the covariates `matrix` (n, p); (n,)."""
        spread = np.exp(self.parameters[-1])
        z = (np.log(np.asarray(steps, np.float64)) - self._place(matrix)) / spread
        return np.exp(FAMILIES[self.family].log_survival(z))

    def quantile(self, matrix: np.ndarray, share: float = 0.5) -> np.ndarray:
        """Steps by which so many have grokked, of trials with the covariates `matrix` (n, p); (n,)."""
        return np.exp(self._place(matrix) + np.exp(self.parameters[-1]) * FAMILIES[self.family].quantile(share))

    def _place(self, matrix: np.ndarray) -> np.ndarray:
        return self.parameters[0] + np.asarray(matrix) @ self.parameters[1:-1]


def fit_aft(times: Times, design: Design, family: FamilyName = "lognormal", level: float = 0.95) -> AftFit:
    """`design` has the rows of `times`. ValueError if it does not; whatever else goes wrong is said in the result."""
    part = estimable(times, design)
    counted = int((times.weight > 0).sum())
    if part.impossible:
        return _failed(part, family, counted, part.impossible)
    likelihood = _Likelihood(part.times, part.design.matrix, FAMILIES[family])
    place, converged = maximise(likelihood, likelihood.start())
    value, _, hessian = likelihood(place)
    curvature = np.linalg.eigvalsh(-hessian)
    if not converged or curvature[0] <= _FLAT * curvature[-1]:
        return _failed(part, family, counted, NO_MAXIMUM)
    inverse = np.linalg.inv(-hessian)
    robust, alone = not part.times.is_plain, np.zeros(len(place), bool)
    if robust:
        inverse, alone = likelihood.jackknife(place, -hessian, part.times.codes)
    parameters, jacobian = likelihood.in_steps(place)
    covariance = jacobian @ inverse @ jacobian.T
    size = effective_size(part.times.weight)
    # The last one is the scale, in which all are measured.
    told = ~(alone[1:-1] | alone[-1] | part.lone)
    found = _effects(part, parameters, covariance, told, robust=robust, level=level)
    return AftFit(
        family=family,
        effects=part.effects(found, LONE),
        names=part.design.names,
        parameters=parameters,
        covariance=covariance,
        log_likelihood=value,
        aic=2 * len(parameters) - 2 * value * size / float(part.times.weight.sum()),
        trials=len(part.times),
        events=int(part.times.observed.sum()),
        certain=counted - len(part.times),
        robust=robust,
        left_out=part.design.left_out,
        failure=None,
    )


def best_aft(times: Times, design: Design, level: float = 0.95) -> tuple[AftFit, AftFit]:
    """Log-normal and Weibull, the one with the lower AIC first."""
    fits = [fit_aft(times, design, family, level) for family in FAMILIES]
    first, second = sorted(fits, key=lambda fit: (fit.failure is not None, fit.aic))
    return first, second


class _Likelihood:
    """Called with (p + 2,): intercept and coefficients of standardised columns, over the scale, and 1 / scale of the
    standardised logarithm of steps. z = rate * log steps - x'c is what the family is told."""

    def __init__(self, times: Times, matrix: np.ndarray, family: Family) -> None:
        self.weight, self.family = times.weight, family
        self.columns_at, self.columns_by = matrix.mean(axis=0), matrix.std(axis=0)
        self.x = np.column_stack([np.ones(len(times)), (matrix - self.columns_at) / self.columns_by])
        known = np.log(times.seen_until[times.seen_until > 0])
        self.log_at, self.log_by = float(known.mean()), max(float(known.std()), 1e-3)
        self.low, self.high = ((end - self.log_at) / self.log_by for end in _log_ends(times))
        self.has_low, self.has_high = np.isfinite(self.low), np.isfinite(self.high)

    def start(self) -> np.ndarray:
        """All times alike: a scale of one standard deviation about the mean."""
        place = np.zeros(self.x.shape[1] + 1)
        place[-1] = 1.0
        return place

    def __call__(self, place: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        if place[-1] <= 0:
            return -np.inf, np.zeros_like(place), -np.eye(len(place))
        at = self._derivatives(place)
        hessian = np.zeros((len(place), len(place)))
        for left, right, values in self._products(at):
            hessian += (left * (self.weight * values)[:, None]).T @ right
        return float(self.weight @ at.value), self._each(at).T @ self.weight, hessian

    def jackknife(self, place: np.ndarray, total: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The covariance of `place`, and what rests on one cluster, as `clusters.jackknife` has it; `total` is less the
        Hessian there, `codes` (n,) the clusters."""
        at = self._derivatives(place)
        products = list(self._products(at))

        def information(rows: np.ndarray) -> np.ndarray:
            parts = [
                (left[rows] * (self.weight * values)[rows, None])[:, :, None] * right[rows, None, :]
                for left, right, values in products
            ]
            return -np.sum(parts, axis=0)

        return jackknife(self._each(at) * self.weight[:, None], information, total, codes)

    def _products(self, at: Derivatives) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Whose sum, of values (n,) times the outer products of two (n, p + 2), is the Hessian."""
        low, high = self._sides()
        yield from ((low, low, at.by_aa), (high, high, at.by_bb), (low, high, at.by_ab), (high, low, at.by_ab))

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

    def _derivatives(self, place: np.ndarray) -> Derivatives:
        shift = self.x @ place[:-1]
        return self.family.interval(place[-1] * self.low - shift, place[-1] * self.high - shift)

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, p + 2) each: derivatives of z at the interval's ends; 0 where an end is infinite."""
        low = np.column_stack([-self.x, np.where(self.has_low, self.low, 0.0)]) * self.has_low[:, None]
        high = np.column_stack([-self.x, np.where(self.has_high, self.high, 0.0)]) * self.has_high[:, None]
        return low, high

    def _each(self, at: Derivatives) -> np.ndarray:
        low, high = self._sides()
        return low * at.by_a[:, None] + high * at.by_b[:, None]


def _log_ends(times: Times) -> tuple[np.ndarray, np.ndarray]:
    """(n,) each. Narrow intervals are widened about their middle: differences of almost equal numbers would be lost."""
    with np.errstate(divide="ignore"):
        low, high = np.log(times.lower), np.log(times.upper)
    narrow = high - low < _NARROW
    middle = (low[narrow] + high[narrow]) / 2
    low[narrow], high[narrow] = middle - _NARROW / 2, middle + _NARROW / 2
    return low, high


def _effects(
    part: Estimable,
    parameters: np.ndarray,
    covariance: np.ndarray,
    told: np.ndarray,
    *,
    robust: bool,
    level: float,
) -> dict[str, Effect]:
    errors = standard_errors(covariance)
    if robust:
        degrees = max(effective_size(part.times.weight, part.times.codes) - len(parameters), 1.0)
    else:
        # Where all grokked and T is log-normal this is the linear model's own; see the log of 2026-11-29 for the rest.
        known = (len(part.times) + int(part.times.observed.sum())) / 2
        degrees = max(known - (len(parameters) - 1), 1.0)
        errors = errors * np.sqrt(known / degrees)
    return {
        name: effect_of(name, part.labels[name], parameters[at], errors[at], level=level, degrees=degrees)
        for at, name in enumerate(part.design.names, start=1)
        if told[at - 1]
    }


def _failed(part: Estimable, family: FamilyName, counted: int, why: str) -> AftFit:
    size = len(part.design.names) + 2
    return AftFit(
        family=family,
        effects=part.effects({}, why),
        names=part.design.names,
        parameters=np.full(size, np.nan),
        covariance=np.full((size, size), np.nan),
        log_likelihood=float("nan"),
        aic=float("inf"),
        trials=len(part.times),
        events=int(part.times.observed.sum()),
        certain=counted - len(part.times),
        robust=not part.times.is_plain,
        left_out=part.design.left_out,
        failure=why,
    )
