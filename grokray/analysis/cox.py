"""Cox's model, a second view that assumes nothing about the distribution, only that hazards stay proportional.

Cox, D. R. (1972). JRSS B 34, 187-220. Ties, which a grid of measurements makes in plenty, by Efron, B. (1977). JASA
72, 557-565, or Breslow, N. (1974). Biometrics 30, 89-99. Weighted, with the robust covariance of Lin, D. Y., and Wei,
L. J. (1989). JASA 84, 1074-1078, and with ties as in Therneau, T. M., and Grambsch, P. M. (2000). Modeling Survival
Data, section 3.3. Times are the upper ends of intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grokray.analysis.clusters import cluster_codes, meat
from grokray.analysis.design import Design
from grokray.analysis.effects import Effect, effect_of
from grokray.analysis.estimable import Estimable, estimable
from grokray.analysis.intervals import effective_size
from grokray.analysis.newton import maximise
from grokray.analysis.times import Times

Ties = Literal["efron", "breslow"]
_FLAT = 1e-9
NO_MAXIMUM = "the likelihood has no maximum: too few trials grokked, or the covariates order their times exactly"


@dataclass(frozen=True, kw_only=True)
class CoxFit:
    """Effects are hazard ratios: 2 means twice as likely to grok in the next step, of those that have not.

    `parameters` (p,) are by unit of each column in `names`, with their `covariance`. The rest as in AftFit.
    """

    effects: tuple[Effect, ...]
    names: tuple[str, ...]
    parameters: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    trials: int
    events: int
    certain: int
    robust: bool
    left_out: Mapping[str, str]
    failure: str | None


def fit_cox(times: Times, design: Design, ties: Ties = "efron", level: float = 0.95) -> CoxFit:
    """`design` has the rows of `times`. ValueError if it does not; whatever else goes wrong is said in the result."""
    part = estimable(times, design)
    failure = part.impossible or ("no column varies" if not part.design.names else None)
    size = len(part.design.names)
    place, covariance, value = np.full(size, np.nan), np.full((size, size), np.nan), float("nan")
    if not failure:
        likelihood = _PartialLikelihood(part.times, part.design.matrix, ties)
        place, converged = maximise(likelihood, np.zeros(size))
        value, _, hessian = likelihood(place)
        curvature = np.linalg.eigvalsh(-hessian)
        failure = None if converged and curvature[0] > _FLAT * curvature[-1] else NO_MAXIMUM
        if not failure:
            covariance = _covariance(part.times, likelihood, place, hessian)
            place = place / likelihood.by
    return CoxFit(
        effects=part.effects({} if failure else _effects(part, place, covariance, level), failure or ""),
        names=part.design.names,
        parameters=np.full(size, np.nan) if failure else place,
        covariance=covariance,
        log_likelihood=float("nan") if failure else value,
        trials=len(part.times),
        events=int(part.times.observed.sum()),
        certain=int((times.weight > 0).sum()) - len(part.times),
        robust=not part.times.is_plain,
        left_out=part.design.left_out,
        failure=failure,
    )


def _covariance(times: Times, likelihood: _PartialLikelihood, place: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(-hessian)
    if not times.is_plain:
        inverse = inverse @ meat(likelihood.scores(place), cluster_codes(times.cluster)) @ inverse
    return inverse / np.outer(likelihood.by, likelihood.by)


def _effects(part: Estimable, place: np.ndarray, covariance: np.ndarray, level: float) -> dict[str, Effect]:
    degrees = np.inf
    if not part.times.is_plain:
        degrees = max(effective_size(part.times.weight, part.times.cluster) - len(place), 1.0)
    errors = np.sqrt(np.diag(covariance))
    return {
        name: effect_of(name, part.labels[name], place[at], errors[at], level=level, degrees=degrees)
        for at, name in enumerate(part.design.names)
    }


class _PartialLikelihood:
    """Trials sorted by time, the latest first, so that a risk set is a beginning. Columns are standardised: `by` (p,).

    Each event is a term of its own. With ties by Efron, the d events of one time leave the risk set bit by bit: the
    l-th term counts l / d of their sum less. Terms have the mean weight of the events of their time.
    """

    def __init__(self, times: Times, matrix: np.ndarray, ties: Ties) -> None:
        self.by = matrix.std(axis=0)
        self.order = np.lexsort((~times.observed, -times.seen_until))
        seen, self.event = times.seen_until[self.order], times.observed[self.order]
        self.x = ((matrix - matrix.mean(axis=0)) / self.by)[self.order]
        self.weight = times.weight[self.order]
        events = np.flatnonzero(self.event)
        time, self.tie, count = np.unique(seen[events], return_inverse=True, return_counts=True)
        self.events = events  # (d,) places of events, in the order of falling time
        # Terms, one an event: of which event time, and which part of its events is gone.
        self.term_time = self.tie
        starts = len(events) - np.cumsum(count)  # falling order: the earliest time comes last
        within = np.arange(len(events)) - starts[self.tie]
        self.gone = within / count[self.tie] if ties == "efron" else np.zeros(len(events))
        self.mean_weight = (np.bincount(self.tie, self.weight[events]) / count)[self.tie]
        self.risk_end = np.searchsorted(-seen, -time, side="right")  # (m,): the risk set is all before this place
        self.passed = np.searchsorted(time, seen, side="right")  # (n,): event times not after its own
        self.times = len(time)

    def __call__(self, place: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        linear = self.x @ place
        # A constant in all risks cancels; without it they would overflow.
        risk = self.weight * np.exp(linear - linear.max())
        denominator, means = self._terms(risk)
        rate = self.mean_weight / denominator
        value = float(self.weight[self.events] @ linear[self.events])
        value -= float(self.mean_weight @ (np.log(denominator) + linear.max()))
        share = risk * self._exposure(rate)
        gradient = self.x[self.events].T @ self.weight[self.events] - self.x.T @ share
        hessian = (means * self.mean_weight[:, None]).T @ means - (self.x * share[:, None]).T @ self.x
        return value, gradient, hessian

    def scores(self, place: np.ndarray) -> np.ndarray:
        """(n, p), in the order that the trials were given: each one's part in the gradient, were its weight changed,
        times its weight."""
        linear = self.x @ place
        risk = self.weight * np.exp(linear - linear.max())
        denominator, means = self._terms(risk)
        rate = self.mean_weight / denominator
        drift = np.stack([self._exposure(rate * mean) for mean in means.T], axis=1)
        scores = risk[:, None] * (drift - self.x * self._exposure(rate)[:, None])
        # Tied events share their terms evenly.
        shared = np.stack([np.bincount(self.tie, mean) for mean in means.T], axis=1) / np.bincount(self.tie)[:, None]
        own = self.x[self.events] - shared[self.tie]
        scores[self.events] += own * self.weight[self.events][:, None]
        unsorted = np.empty_like(scores)
        unsorted[self.order] = scores
        return unsorted

    def _terms(self, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(d,) sums of risks of each term, and (d, p) the means of the columns in it."""
        return_sum, return_x = self._term_sums(risk[:, None]), self._term_sums(risk[:, None] * self.x)
        return return_sum[:, 0], return_x / return_sum

    def _term_sums(self, values: np.ndarray) -> np.ndarray:
        total = np.cumsum(values, axis=0)[self.risk_end - 1]
        tied = np.stack([np.bincount(self.tie, column) for column in values[self.events].T], axis=1)
        return total[self.term_time] - self.gone[:, None] * tied[self.term_time]

    def _exposure(self, rate: np.ndarray) -> np.ndarray:
        """(d,) → (n,): the sum over the terms that a trial is at risk in; at its own event the part that is not
        gone."""
        per_time = np.bincount(self.term_time, rate, minlength=self.times)
        exposure = np.append(0.0, np.cumsum(per_time))[self.passed]
        exposure[self.events] -= np.bincount(self.tie, rate * self.gone)[self.tie]
        return exposure
