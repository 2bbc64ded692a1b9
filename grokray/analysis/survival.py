"""Kaplan-Meier: the share that has not grokked yet, with what can be read off it.

Times are the upper ends of intervals, which delays every event by up to one interval between measurements;
`grokray.analysis.turnbull` does without. Kaplan, E. L., and Meier, P. (1958). JASA 53, 457-481; variance: Greenwood
(1926), which for weights and clusters is the infinitesimal jackknife, equal to it where there are none: Efron, B.
(1981). Censored data and the bootstrap. JASA 76, 312-319. Bands and intervals are Wilson's, of as many trials as would
give that variance: Rothman, K. J. (1978). Journal of Chronic Diseases 31, 557-560. Median: Brookmeyer, R., and Crowley,
J. (1982). Biometrics 38, 29-41. Restricted mean: Irwin, J. O. (1949). Journal of Hygiene 47, 188-189; its skewness:
Hall, P. (1992). On the removal of skewness by transformation. JRSS B 54, 221-228.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from grokray.analysis.clusters import cluster_sums
from grokray.analysis.intervals import Estimate, effective_size, size_of_strata, student_quantile, wilson, wilsons
from grokray.analysis.times import Times

# Weights are sums of floats: less than this share of the trials at risk is none.
_NONE = 1e-12
_MOST_STRATA = 6  # of weights: of those that were not to be stopped, and of each audit
_STRAIGHT, _FAR = 1e-9, 700.0  # of a bend, not to divide by; of log odds, whose exponential is finite


@dataclass(frozen=True, kw_only=True)
class SurvivalCurve:
    """A right-continuous step function: 1 before time[0], survival[j] from time[j] to before time[j + 1]; (m,) each.

    `time`: the distinct steps of events; `at_risk`, `events`: sums of weights; `log_variance`: of log survival, NaN
    where survival is 0; `lower`, `upper`: pointwise; `lower_before`: likewise while nobody has grokked, by those that
    were watched until the first event, NaN of no trial. Nothing is known beyond `last_time`, unless survival is 0.
    """

    time: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    survival: np.ndarray
    log_variance: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    lower_before: float
    last_time: float
    level: float

    def at(self, steps: np.ndarray | float) -> np.ndarray:
        """Survival at these steps; NaN where it is not known."""
        steps = np.asarray(steps, np.float64)
        values = np.append(1.0, self.survival)[np.searchsorted(self.time, steps, side="right")]
        return np.where((steps > self.last_time) & (values > 0), np.nan, values)


def kaplan_meier(times: Times, level: float = 0.95, horizon: float = np.inf) -> SurvivalCurve:
    """Of the trials with a weight. With none of them, or no event, the curve has no steps. It goes on beyond `horizon`,
    but `lower_before` is of those that were watched until then if no event comes first."""
    parts = _Parts(times.counted())
    survival = np.exp(parts.log_survival)
    variance = parts.log_variance()
    lower, upper = _bands(parts, survival, variance, level)
    return SurvivalCurve(
        time=parts.time,
        at_risk=parts.at_risk,
        events=parts.events,
        survival=survival,
        log_variance=variance,
        lower=lower,
        upper=upper,
        lower_before=_lower_before(parts, horizon, level),
        last_time=parts.last_time,
        level=level,
    )


def median_time(curve: SurvivalCurve) -> Estimate:
    """The first step by which half have grokked, with the steps at which the bands cross one half.

    NaN, or an upper end of infinity, where the curve, or its band, does not come down to one half; a lower end of 0
    where its band begins below.
    """
    found = quantile_time(curve, 0.5)
    if np.isinf(found.value):
        return replace(found, value=np.nan, note="less than half have grokked")
    return found


def quantile_time(curve: SurvivalCurve, share: float) -> Estimate:
    """The same for another share than half; infinite where the curve does not come down so far."""
    left = 1 - share

    def first(values: np.ndarray) -> float:
        below = np.flatnonzero(values <= left * (1 + _NONE))
        return float(curve.time[below[0]]) if len(below) else np.inf

    value, upper = first(curve.survival), first(curve.upper)
    # Of so few trials as many may have grokked before the first that was seen to, unless more are known not to later.
    lower = _after(curve, curve.lower > left) if curve.lower_before <= left else first(curve.lower)
    return Estimate(value=value, lower=lower, upper=upper if np.isfinite(value) else np.inf)


def _after(curve: SurvivalCurve, where: np.ndarray) -> float:
    """The event time after the last one in `where` (m,) bool, infinite if that is the last of all; 0 of none."""
    places = np.flatnonzero(where)
    return float(np.append(curve.time, np.inf)[places[-1] + 1]) if len(places) else 0.0


def share_by(times: Times, horizon: float, level: float = 0.95) -> Estimate:
    """The share that has grokked by `horizon` steps: 1 - S, with Wilson's interval; that of the curve's band.

    Its size is that of a plain sample with the same variance; where all have grokked, or none, Kish's size of those
    that were at risk, of all as of the last event but one at most.
    """
    counted = times.counted()
    parts = _Parts(counted)
    if not len(counted):
        return Estimate.none("no trial counts")
    last = int(np.searchsorted(parts.time, horizon, side="right")) - 1
    survival = float(np.exp(parts.log_survival[last])) if last >= 0 else 1.0
    if horizon > parts.last_time and survival > 0:
        return Estimate.none(_beyond(horizon, parts.last_time))
    share = 1 - survival
    variance = 0.0
    if 0 < survival < 1:
        log_variance = float(parts.log_variance()[last])
        variance, size = survival**2 * log_variance, _size(survival, log_variance)
    elif survival == 1:
        there = counted.seen_until >= horizon
        size = effective_size(counted.weight[there], counted.codes[there])
    else:
        size = _size_at_none(parts, np.exp(parts.log_survival), parts.log_variance())
    lower, upper = wilson(share, min(size, parts.most(level)), critical=parts.critical(level))
    return Estimate(value=share, lower=lower, upper=upper, standard_error=float(np.sqrt(variance)))


def restricted_mean(times: Times, horizon: float, level: float = 0.95) -> Estimate:
    """Steps without grokking, up to `horizon`, on average: the area below the curve."""
    parts = _Parts(times.counted())
    survival = np.exp(parts.log_survival)
    if horizon > parts.last_time and not (len(survival) and survival[-1] == 0):
        return Estimate.none(_beyond(horizon, parts.last_time))
    edges = np.concatenate([[0.0], np.minimum(parts.time, horizon), [horizon]])
    areas = np.diff(edges) * np.append(1.0, survival)
    moves = parts.area_moves(areas)
    error = float(np.sqrt(np.sum(moves**2)))
    # The error is an estimate as that of any mean: of few trials the normal quantile would be much too small.
    watched = int((parts.seen >= parts.time[0]).sum()) if len(parts.time) else len(parts.times)
    critical = max(parts.critical(level), student_quantile(watched - 1, level))
    value = float(areas.sum())
    # Where all agree, or one alone grokked, nothing tells how far chance would move them.
    if not error or parts.only_one_grokked(horizon):
        return Estimate(value=value, lower=float("nan"), upper=float("nan"), standard_error=error or float("nan"))
    skewness = float(np.sum(moves**3)) / (6 * error**3)
    lower, upper = _within(value / horizon, error / horizon, skewness, critical)
    return Estimate(value=value, lower=horizon * lower, upper=horizon * upper, standard_error=error)


def _within(share: float, error: float, skewness: float, critical: float) -> tuple[float, float]:
    """An interval on the scale of the log odds, as near 0 and 1 errors lie to one side. What is left of that, as of a
    few audited trials that stand for many, is taken away by a cubic (Hall 1992), which needs a sixth of the skewness
    of what each trial adds to `share`, by its `error` cubed. It only widens: of few trials skewness is hardly known."""
    if not 0 < share < 1:
        return share, share
    by_odds = error / (share * (1 - share))
    bend = 2 * skewness - (1 - 2 * share) / 2 * by_odds

    def straight(z: float) -> float:
        moved = z - skewness
        return (float(np.cbrt(1 + 3 * bend * moved)) - 1) / bend if abs(bend) > _STRAIGHT else moved

    below, above = max(straight(critical), critical), max(-straight(-critical), critical)
    ends = np.log(share / (1 - share)) + by_odds * np.array([-below, above])
    lower, upper = (1 / (1 + np.exp(-np.clip(ends, -_FAR, _FAR)))).tolist()
    return lower, upper


class _Parts:
    """What the estimators share. n trials, m distinct event times, G clusters.

    The derivative of log S(t) by the weight of trial i, times its weight, is weight[i] * A(min(t, T[i])), less
    weight[i] / (n - d) at its own event once t has passed that; A is the sum of d / n / (n - d). Its squares, summed,
    are Greenwood's formula.
    """

    def __init__(self, times: Times) -> None:
        self.times = times
        self.seen, event, weight = times.seen_until, times.observed, times.weight
        self.last_time = float(self.seen.max()) if len(times) else 0.0
        self.time = np.unique(self.seen[event])
        place = np.searchsorted(self.time, self.seen[event])
        self.events = np.bincount(place, weights=weight[event], minlength=len(self.time))
        order = np.argsort(self.seen, kind="stable")
        total = np.append(np.cumsum(weight[order][::-1])[::-1], 0.0)
        self.at_risk = total[np.searchsorted(self.seen[order], self.time)]
        left = self.at_risk - self.events
        # Only at the last event time can none be left; the infinite terms there are asked for by nobody.
        self.left = np.where(left <= _NONE * self.at_risk, 0.0, left)
        with np.errstate(divide="ignore"):
            self.log_survival = np.cumsum(np.log(self.left / self.at_risk))
        safe = np.where(self.left > 0, self.left, np.inf)
        self.increments = self.events / self.at_risk / safe
        self.sums = np.append(0.0, np.cumsum(self.increments))  # A, from before the first event time
        passed = np.searchsorted(self.time, self.seen, side="right")
        own = np.zeros(len(times))
        own[event] = 1.0 / safe[place]
        self.fixed = weight * (self.sums[passed] - own)  # (n,): the derivative once T[i] has passed
        # By clusters, and as if there were none: the larger variance counts, since that clusters are more alike than
        # chance would have them, such as two in which one of two seeds grokked, is no knowledge.
        self.groupings = [np.arange(len(times))] if times.is_plain else [times.codes, np.arange(len(times))]

    def correction(self, clusters: int) -> float:
        return 1.0 if self.times.is_plain else clusters / max(clusters - 1, 1)

    def critical(self, level: float) -> float:
        """The normal quantile; for a robust variance Student's, with a degree of freedom less than effective
        clusters."""
        tail = (1 - level) / 2
        if self.times.is_plain:
            return float(norm.isf(tail))
        return student_quantile(effective_size(self.times.weight, self.times.codes) - 1, level)

    def most(self, level: float) -> float:
        """Of how many trials a share may be at most, as few audited ones stand for many; see `size_of_strata`."""
        weights, stratum = np.unique(self.times.weight, return_inverse=True)
        if not 1 < len(weights) <= _MOST_STRATA:
            return np.inf
        sizes = np.bincount(stratum).astype(float)
        parts = np.bincount(stratum, weights=self.times.weight) / self.times.weight.sum()
        return float(size_of_strata(sizes, parts, level))

    def log_variance(self) -> np.ndarray:
        """(m,)."""
        variance = np.max([self._log_variance(codes) for codes in self.groupings], axis=0)
        return np.where(self.left > 0, variance, np.nan)

    def _log_variance(self, labels: np.ndarray) -> np.ndarray:
        """(m,): the sum over clusters of the squared derivative A(t) W + B, where W is the weight that is still at risk
        and B the derivative of those that are not. Sums of W², WB and B² change as trials leave."""
        order = np.lexsort((self.seen, labels))
        weight, fixed, codes = self.times.weight[order], self.fixed[order], labels[order]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        here = np.searchsorted(self.time, self.seen[order])  # the event time from which it has left
        totals = cluster_sums(self.times.weight, labels)
        still = totals[codes] - _running(weight, starts)  # W, after it left
        gone = _running(fixed, starts)  # B, likewise

        def change(after: np.ndarray, before: np.ndarray) -> np.ndarray:
            return np.cumsum(np.bincount(here, weights=after - before, minlength=len(self.time) + 1)[:-1])

        was_still, was_gone = still + weight, gone - fixed
        squares = float(np.sum(totals**2)) + change(still**2, was_still**2)
        mixed, done = change(still * gone, was_still * was_gone), change(gone**2, was_gone**2)
        sums = self.sums[1:]
        return self.correction(len(totals)) * np.maximum(sums**2 * squares + 2 * sums * mixed + done, 0.0)

    def area_moves(self, areas: np.ndarray) -> np.ndarray:
        """What each cluster adds to the area below the curve, so scaled that the sum of squares is its variance;
        `areas` (m + 1,) from before the first event time, cut at the horizon."""
        beyond = np.append(np.cumsum(areas[::-1])[::-1], 0.0)  # (m + 2,): from each step of the curve on
        until = np.append(0.0, np.cumsum(areas * self.sums))  # (m + 2,): of S times A
        passed = np.searchsorted(self.time, self.seen, side="right")
        # Trial i: the integral of S A up to its time, and of S times its fixed derivative from there on. Its time may
        # lie inside a step of the curve, but A does not change there, so the step's start serves as well.
        each = self.times.weight * until[passed] + self.fixed * beyond[passed]
        grouped = [cluster_sums(each, codes) for codes in self.groupings]
        scaled = [sums * np.sqrt(self.correction(len(sums))) for sums in grouped]
        return max(scaled, key=lambda moves: float(np.sum(moves**2)))

    def only_one_grokked(self, horizon: float) -> bool:
        """Whether one cluster alone, of several, has trials that grokked by then."""
        grokked = self.times.codes[self.times.observed & (self.seen <= horizon)]
        return bool(self.times.codes.any() and (grokked == grokked[:1]).all())


def _running(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Cumulative sums that begin anew at each of `starts`."""
    sums = np.cumsum(values)
    before = sums[starts] - values[starts]
    return sums - np.repeat(before, np.diff(np.append(starts, len(values))))


def _lower_before(parts: _Parts, horizon: float, level: float) -> float:
    if not len(parts.times):
        return float("nan")
    until = min(parts.time[0] if len(parts.time) else parts.last_time, horizon)
    there = parts.seen >= until
    size = effective_size(parts.times.weight[there], parts.times.codes[there])
    return wilson(1.0, size, critical=parts.critical(level))[0]


def _size(survival: float, log_variance: float) -> float:
    """Of how many trials, all watched to their end, this survival would have this variance."""
    return (1 - survival) / (survival * log_variance) if log_variance > 0 else np.inf


def _size_at_none(parts: _Parts, survival: np.ndarray, log_variance: np.ndarray) -> float:
    """Where all have grokked: of those that were watched to the first event, but no more than what the curve rests on
    just before it comes down to nothing."""
    there = parts.seen >= parts.time[0]
    size = effective_size(parts.times.weight[there], parts.times.codes[there])
    before = np.flatnonzero(survival > 0)
    return min(size, _size(float(survival[before[-1]]), float(log_variance[before[-1]]))) if len(before) else size


def _bands(
    parts: _Parts, survival: np.ndarray, log_variance: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """(m,) each, with survival between them."""
    sizes = np.array(
        [
            _size(s, v) if s > 0 else _size_at_none(parts, survival, log_variance)
            for s, v in zip(survival.tolist(), log_variance.tolist(), strict=True)
        ]
    )
    sizes = np.minimum(sizes, parts.most(level))
    lower, upper = wilsons(survival, sizes, critical=parts.critical(level))
    return np.where(sizes > 0, lower, 0.0), np.where(sizes > 0, upper, 1.0)


def _beyond(horizon: float, last: float) -> str:
    return f"the horizon is {horizon:,.0f} steps, but no trial was watched beyond {last:,.0f}"
