"""Accelerated failure time: covariates stretch the time to grok by factors.

log T = intercept + x'b + scale * e, where e is normal (T is log-normal) or a smallest extreme value (T is Weibull).
Fitted by maximum likelihood to intervals, so that neither the grid of measurements nor a budget biases it:
Kalbfleisch, J. D., and Prentice, R. L. (2002). The Statistical Analysis of Failure Time Data, chapter 3. In b / scale
and 1 / scale the log likelihood is concave: Burridge, J. (1981). A note on maximum likelihood estimation for
regression models using grouped data. JRSS B 43, 41-45; so it has one maximum, which Newton's method finds from
anywhere.

That takes a trial that never groks for a late one, so b tells whether and when at once. With `within`, the last step at
which each trial could have been seen to grok, the likelihood is that of the grokked alone, given that they did until
then: of when and nothing else, whatever makes the others fail. Turnbull, B. W. (1976). The empirical distribution
function with arbitrarily grouped, censored and truncated data. JRSS B 38, 290-295.

Weights and clusters make the covariance a sandwich. Where neither counts, the likelihood takes its scale, which is too
small, for the true one: intervals are widened and Student's, as a linear model's are. An effect that the trials cannot
tell has a reason instead of a number, see `grokray.analysis.estimable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from grokray.analysis.aft_families import FAMILIES, FamilyName
from grokray.analysis.aft_likelihood import Likelihood, Truncated
from grokray.analysis.design import Design
from grokray.analysis.effects import LONE, Effect, effect_of, standard_errors
from grokray.analysis.estimable import Estimable, estimable
from grokray.analysis.intervals import effective_size
from grokray.analysis.newton import maximise
from grokray.analysis.times import Times

_FLAT = 1e-7  # of the largest curvature; the likelihood has no maximum there
NO_MAXIMUM = "the likelihood has no maximum: too few trials grokked, or their times follow from the covariates exactly"
CUT_OFF = "the likelihood has no maximum: too few trials grokked, or most of them late in their budget"


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


def fit_aft(
    times: Times,
    design: Design,
    family: FamilyName = "lognormal",
    level: float = 0.95,
    *,
    within: np.ndarray | None = None,
) -> AftFit:
    """`design` has the rows of `times`. ValueError if it does not; whatever else goes wrong is said in the result.

    `within` (n,): steps, no less than `times.upper`; then all of `times` must be observed.
    """
    part = estimable(times, design)
    counted = int((times.weight > 0).sum())
    if part.impossible:
        return _failed(part, family, counted, part.impossible)
    likelihood = _likelihood_of(part, family, within)
    place, converged = maximise(likelihood, likelihood.start())
    value, hessian = likelihood(place)[0], likelihood.hessian(place)
    curvature = np.linalg.eigvalsh(-hessian)
    if not converged or curvature[0] <= _FLAT * curvature[-1]:
        return _failed(part, family, counted, NO_MAXIMUM if within is None else CUT_OFF)
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


def best_aft(
    times: Times, design: Design, level: float = 0.95, *, within: np.ndarray | None = None
) -> tuple[AftFit, AftFit]:
    """Log-normal and Weibull, the one with the lower AIC first; arguments as of `fit_aft`."""
    fits = [fit_aft(times, design, family, level, within=within) for family in FAMILIES]
    first, second = sorted(fits, key=lambda fit: (fit.failure is not None, fit.aic))
    return first, second


def _likelihood_of(part: Estimable, family: FamilyName, within: np.ndarray | None) -> Likelihood:
    if within is None:
        return Likelihood(part.times, part.design.matrix, FAMILIES[family])
    return Truncated(part.times, part.design.matrix, FAMILIES[family], within[part.rows])


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
