"""Cox's model, a second view that assumes nothing about the distribution, only that hazards stay proportional.

Cox, D. R. (1972). JRSS B 34, 187-220. Ties, which a grid of measurements makes in plenty, by Efron, B. (1977). JASA
72, 557-565, or Breslow, N. (1974). Biometrics 30, 89-99. Weighted, with the robust covariance of Lin, D. Y., and Wei,
L. J. (1989). JASA 84, 1074-1078, and with ties as in Therneau, T. M., and Grambsch, P. M. (2000). Modeling Survival
Data, section 3.3. Times are the upper ends of intervals.

A trial that the scheduler wanted to stop was seen like any other up to there, whether it was audited or not, so it has
weight 1 until then; afterwards audited ones stand for their like: Robins, J. M., and Finkelstein, D. M. (2000).
Biometrics 56, 779-788. Their weights are not stabilised, that is, divided by the mean weight of those at risk. It would
make intervals much narrower, but count late events less: where hazards are not quite proportional, ratios would be
others than those of a sweep without pruning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grokray.analysis.clusters import blockwise, jackknife
from grokray.analysis.design import Design
from grokray.analysis.effects import LONE, Effect, effect_of, standard_errors
from grokray.analysis.estimable import Estimable, estimable
from grokray.analysis.intervals import effective_size
from grokray.analysis.newton import maximise
from grokray.analysis.times import Times

Ties = Literal["efron", "breslow"]
_FLAT = 1e-9
_LEAST = 1e-250  # of a sum of risks, relative to the largest; where they lie further apart, numbers overflow
_LEVELLED = 1e-6  # of the information where there are no effects: with less at the end, the likelihood rises for ever
NO_MAXIMUM = "the likelihood has no maximum: too few trials grokked, or the covariates order their times exactly"


@dataclass(frozen=True, kw_only=True)
class CoxFit:
    """Effects are hazard ratios: 2 means twice as likely to grok in the next step, of those that have not.

    `parameters` (p,) are by unit of each column in `names`, with their `covariance`; effects may be corrected, see
    `_corrected`. The rest as in AftFit.
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
    watched = times.until_stopped()
    part, counted = estimable(watched, design), int((watched.weight > 0).sum())
    columns = len(part.design.names)
    if part.impossible or not columns:
        return _failed(part, counted, part.impossible or "no column varies among the trials that count")
    likelihood = _PartialLikelihood(part.times, part.design.matrix, ties)
    found, converged = maximise(likelihood, np.zeros(columns))
    value, _, hessian = likelihood(found)
    curvature, before = np.linalg.eigvalsh(-hessian), np.linalg.eigvalsh(-likelihood(np.zeros(columns))[2])
    if not converged or curvature[0] <= max(_FLAT * curvature[-1], _LEVELLED * before[0]):
        return _failed(part, counted, NO_MAXIMUM)
    covariance, alone = np.linalg.inv(-hessian), np.zeros(columns, bool)
    apart, lone = likelihood.jackknife(found, -hessian, part.times.codes)
    if not part.times.is_plain:
        covariance, alone = apart, lone
    by = np.outer(likelihood.by, likelihood.by)
    place, covariance, apart = found / likelihood.by, covariance / by, apart / by
    # Pruned trials count as much as audited ones let them: not at all.
    size = min(effective_size(times.weight[part.rows], part.times.codes), likelihood.size)
    errors = np.maximum(standard_errors(covariance), standard_errors(apart))
    effects = _effects(part, _corrected(part, place, errors, ties, size), alone, level)
    return CoxFit(
        effects=part.effects(effects, LONE),
        names=part.design.names,
        parameters=place,
        covariance=covariance,
        log_likelihood=value,
        trials=len(part.times),
        events=int(part.times.observed.sum()),
        certain=counted - len(part.times),
        robust=not part.times.is_plain,
        left_out=part.design.left_out,
        failure=None,
    )


def _failed(part: Estimable, counted: int, why: str) -> CoxFit:
    size = len(part.design.names)
    return CoxFit(
        effects=part.effects({}, why),
        names=part.design.names,
        parameters=np.full(size, np.nan),
        covariance=np.full((size, size), np.nan),
        log_likelihood=float("nan"),
        trials=len(part.times),
        events=int(part.times.observed.sum()),
        certain=counted - len(part.times),
        robust=not part.times.is_plain,
        left_out=part.design.left_out,
        failure=why,
    )


Corrected = tuple[np.ndarray, np.ndarray, float]


def _corrected(part: Estimable, place: np.ndarray, errors: np.ndarray, ties: Ties, size: float) -> Corrected:
    """Coefficients (p,), their errors (p,) and degrees of freedom. Where a few audited trials stand for many these draw
    effects out and make them look sure: with weights that differ each block of configurations is left out. `size` is
    that of an even sample that tells as much."""
    times, matrix = part.times, part.design.matrix
    if times.is_plain:
        return place, errors, np.inf
    blocks = None
    if np.ptp(times.weight) > 0:
        blocks = blockwise(lambda kept: _refitted(times.select(kept), matrix[kept], place, ties), place, times.codes)
    if blocks is None:
        return place, errors, max(size - len(place), 1.0)
    corrected, covariance, number = blocks
    # Of so few blocks the covariance is rough; it is no reason to be surer.
    return corrected, np.maximum(errors, standard_errors(covariance)), max(min(size, number) - 1, 1.0)


def _refitted(times: Times, matrix: np.ndarray, start: np.ndarray, ties: Ties) -> np.ndarray | None:
    """None where a column does not vary, or the likelihood has no maximum that is found."""
    if not times.observed.any() or not (np.ptp(matrix, axis=0) > 0).all():
        return None
    likelihood = _PartialLikelihood(times, matrix, ties)
    found, converged = maximise(likelihood, start * likelihood.by)
    curvature = np.linalg.eigvalsh(-likelihood(found)[2])
    return found / likelihood.by if converged and curvature[0] > _FLAT * curvature[-1] else None


def _effects(part: Estimable, corrected: Corrected, alone: np.ndarray, level: float) -> dict[str, Effect]:
    place, errors, degrees = corrected
    return {
        name: effect_of(name, part.labels[name], place[at], errors[at], level=level, degrees=degrees)
        for at, name in enumerate(part.design.names)
        if not (alone[at] or part.lone[at])
    }


class _PartialLikelihood:
    """Trials sorted by time, the latest first, so that a risk set is a beginning. Columns are standardised: `by` (p,).

    A trial with a `stop`, unless its weight is 1, has two rows: one to its end, with its weight, and one to its stop,
    with 1 less that weight. So a risk set holds it with weight 1 until its stop, and with its own from then on.

    Each event is a term of its own. With ties by Efron, the d events of one time leave the risk set bit by bit: the
    l-th term counts l / d of their sum less. Terms have the mean weight of the events of their time.
    """

    def __init__(self, times: Times, matrix: np.ndarray, ties: Ties) -> None:
        self.by = matrix.std(axis=0)
        # Of weight 1 the second row would weigh nothing, and yet decide how sums are rounded on some processors.
        stopped = np.flatnonzero(np.isfinite(times.stop) & (times.weight != 1))
        trial = np.append(np.arange(len(times)), stopped)  # (rows,)
        seen = np.append(times.seen_until, times.stop[stopped])
        event = np.append(times.observed, np.zeros(len(stopped), bool))
        weight = np.append(times.weight, 1.0 - times.weight[stopped])
        square = np.append(times.weight**2, 1.0 - times.weight[stopped] ** 2)
        by_time = np.lexsort((~event, -seen))
        self.order = trial[by_time]
        seen, self.event, self.weight = seen[by_time], event[by_time], weight[by_time]
        self.x = ((matrix - matrix.mean(axis=0)) / self.by)[self.order]
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
        self.passed = np.searchsorted(time, seen, side="right")  # (rows,): event times not after its own
        self.times = len(time)
        self.size = self._size(square[by_time]) if len(stopped) else np.inf

    def _size(self, square: np.ndarray) -> float:
        """The effective number of trials at risk (Kish 1965), as its harmonic mean over the events, so that those count
        where only a few audited trials are left: there spread is known no better than from these."""
        squares, sums = (np.cumsum(values)[self.risk_end - 1] for values in (square, self.weight))
        events = np.bincount(self.tie, self.weight[self.events])
        return float(events.sum() / (events @ (squares / sums**2)))

    def __call__(self, place: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        linear = self.x @ place
        with np.errstate(invalid="ignore", divide="ignore"):
            risk, denominator, means = self._at(place)
        if not np.all(denominator > _LEAST):
            return -np.inf, np.zeros_like(place), -np.eye(len(place))
        rate = self.mean_weight / denominator
        value = float(self.weight[self.events] @ linear[self.events])
        value -= float(self.mean_weight @ (np.log(denominator) + linear.max()))
        share = risk * self._exposure(rate[:, None])[:, 0]
        gradient = self.x[self.events].T @ self.weight[self.events] - self.x.T @ share
        hessian = (means * self.mean_weight[:, None]).T @ means - (self.x * share[:, None]).T @ self.x
        return value, gradient, hessian

    def jackknife(self, place: np.ndarray, total: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The covariance of `place`, and what rests on one cluster, as `clusters.jackknife` has it; `total` is less the
        Hessian there, `codes` (n,) the clusters, as the trials were given."""
        risk, denominator, means = self._at(place)
        rate, columns = self.mean_weight / denominator, self.x.shape[1]
        squares = (means[:, :, None] * means[:, None, :]).reshape(-1, columns**2)
        sums = self._summed(rate[:, None] * np.column_stack([np.ones(len(means)), means, squares]))

        def information(rows: np.ndarray) -> np.ndarray:
            """Each one's part in the variance of the columns over the risk sets."""
            exposure, x = self._exposed(*sums, rows), self.x[rows]
            drift = exposure[:, 1 : columns + 1]
            mixed = x[:, :, None] * drift[:, None, :]
            parts = (x * exposure[:, :1])[:, :, None] * x[:, None, :] - mixed - mixed.transpose(0, 2, 1)
            parts += exposure[:, columns + 1 :].reshape(-1, columns, columns)
            return risk[rows, None, None] * parts

        return jackknife(self._scores(risk, denominator, means), information, total, codes[self.order])

    def _scores(self, risk: np.ndarray, denominator: np.ndarray, means: np.ndarray) -> np.ndarray:
        """(rows, p), in order of time: each one's part in the gradient, were its weight changed, times its weight."""
        rate = (self.mean_weight / denominator)[:, None]
        exposure = self._exposure(np.column_stack([rate, rate * means]))
        scores = risk[:, None] * (exposure[:, 1:] - self.x * exposure[:, :1])
        # Tied events share their terms evenly.
        shared = np.stack([np.bincount(self.tie, mean) for mean in means.T], axis=1) / np.bincount(self.tie)[:, None]
        own = self.x[self.events] - shared[self.tie]
        scores[self.events] += own * self.weight[self.events][:, None]
        return scores

    def _at(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(rows,) risks, and what `_terms` makes of them."""
        linear = self.x @ place
        # A constant factor in all risks cancels; without it they would overflow.
        risk = self.weight * np.exp(linear - linear.max())
        return risk, *self._terms(risk)

    def _terms(self, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(d,) sums of risks of each term, and (d, p) the means of the columns in it."""
        sums = self._term_sums(risk[:, None] * np.column_stack([np.ones(len(risk)), self.x]))
        return sums[:, 0], sums[:, 1:] / sums[:, :1]

    def _term_sums(self, values: np.ndarray) -> np.ndarray:
        total = np.cumsum(values, axis=0)[self.risk_end - 1]
        tied = np.stack([np.bincount(self.tie, column) for column in values[self.events].T], axis=1)
        return total[self.term_time] - self.gone[:, None] * tied[self.term_time]

    def _exposure(self, rates: np.ndarray) -> np.ndarray:
        """(d, k) → (rows, k): sums over the terms that a trial is at risk in; at its own event the part not gone."""
        return self._exposed(*self._summed(rates), slice(None))

    def _summed(self, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m + 1, k) cumulative sums over time, and (m, k) what is gone before an event of that time leaves."""
        per_time, gone = (
            np.stack([np.bincount(self.tie, column, minlength=self.times) for column in values.T], axis=1)
            for values in (rates, rates * self.gone[:, None])
        )
        return np.concatenate([np.zeros((1, rates.shape[1])), np.cumsum(per_time, axis=0)]), gone

    def _exposed(self, cumulative: np.ndarray, gone: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        exposure = cumulative[self.passed[rows]]
        event = self.event[rows]
        exposure[event] -= gone[self.passed[rows][event] - 1]
        return exposure
