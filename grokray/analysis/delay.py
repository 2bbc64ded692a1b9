"""How long after memorization a trial groks, and whether it stays so.

The *delay* of a trial that memorized and has not grokked is censored: it is longer than what was seen after
memorization. Its distribution is Kaplan and Meier's (1958, JASA 53), weighted for audits, with quantiles; one that was
not reached is infinite. Delays can be negative: where there is much data, held-out pairs may come first. A diverged
trial is censored at its budget and not where it diverged, since diverging is no chance end of observation.

*Ungrokking* can be seen in trials with continue_training only: the others end when they have grokked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import column, drawn_by_chance, outcomes
from grokray.analysis.shares import LEVEL, REPLICATES, Estimate, Shares, resampled, shares, spread

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, kw_only=True)
class Delays:
    """`quantiles`: steps from memorization to grokking by which so many of the trials that memorized have grokked;
    infinite where fewer ever did. `negative`: how many of `grokked` did before they memorized. Not in it are
    `never_memorized` trials, of which `grokked_alone` grokked."""

    quantiles: dict[float, Estimate]
    grokked: int
    censored: int
    negative: int
    never_memorized: int
    grokked_alone: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ungrokking:
    """The share of grokked trials, of those that trained on, that fell below 0.9 held-out exact match afterwards.

    `shares` has one cell. `trained_on`: their number; 0 where no trial has continue_training.
    """

    shares: Shares
    trained_on: int


def delays(
    trials: pa.Table,
    quantiles: tuple[float, ...] = QUANTILES,
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Delays:
    """Of TRIALS_SCHEMA; intervals are bootstraps by configuration. Steps are optimiser updates."""
    found = outcomes(trials)
    memorized, step = column(trials, "memorization_step"), column(trials, "grok_step")
    grokked = ~np.isnan(step)
    end = column(trials, "duration_steps")
    end = np.where(column(trials, "outcome") == "diverged", column(trials, "num_steps"), end)
    use = ~np.isnan(memorized) & (found.survival_weight > 0)
    never = np.isnan(memorized) & (found.survival_weight > 0)
    time, observed = np.where(grokked, step, end)[use] - memorized[use], grokked[use]
    weight = found.survival_weight[use]
    cluster = drawn_by_chance(np.unique(found.configuration[use], return_inverse=True)[1])
    curve = _Curve(time, observed)
    point = curve.quantiles(weight, quantiles)
    clusters, rng = int(cluster.max(initial=-1)) + 1, np.random.default_rng(seed)
    drawn = (
        [curve.quantiles(weight * r[cluster], quantiles) for r in resampled(clusters, replicates, rng)]
        if clusters
        else []
    )
    estimates = {}
    for number, (quantile, value) in enumerate(zip(quantiles, point, strict=True)):
        lower, upper = spread(np.array([one[number] for one in drawn]), level)
        method = "Kaplan-Meier, bootstrap by configuration"
        estimates[quantile] = Estimate(value=float(value), lower=lower, upper=upper, method=method)
    return Delays(
        quantiles=estimates,
        grokked=int(observed.sum()),
        censored=int((~observed).sum()),
        negative=int((observed & (time < 0)).sum()),
        never_memorized=int(never.sum()),
        grokked_alone=int((never & grokked).sum()),
        notes=found.notes[: 1 if found.pruned and not found.audited else 0],
    )


def ungrokking(trials: pa.Table, level: float = LEVEL) -> Ungrokking:
    """Trials that still run count with what they have shown so far."""
    found = outcomes(trials)
    on = (column(trials, "continue_training") == 1) & ~np.isnan(column(trials, "grok_step"))
    fell = ~np.isnan(column(trials, "ungrok_step"))
    cell = np.where(on & (found.survival_weight > 0), 0, -1)
    result = shares(fell, found.survival_weight, found.cluster, cell, 1, level)
    return Ungrokking(shares=result, trained_on=int((cell == 0).sum()))


class _Curve:
    """Kaplan-Meier's curve of times (n,), sorted once; `observed` (n,) bool: True where the event was seen."""

    def __init__(self, time: np.ndarray, observed: np.ndarray) -> None:
        # At equal times events come before censoring.
        self.order = np.lexsort((~observed, time))
        self.time, self.observed = time[self.order], observed[self.order]
        self.last = np.flatnonzero(np.r_[self.time[1:] != self.time[:-1], True]) if len(time) else np.zeros(0, int)

    def quantiles(self, weight: np.ndarray, quantiles: tuple[float, ...]) -> np.ndarray:
        """The first time by which so many had the event; infinite where they never do, NaN without any weight.

        `weight` (n,) ≥ 0, in the order of the times given.
        """
        weight = weight[self.order]
        if weight.sum() <= 0:
            return np.full(len(quantiles), np.nan)
        events = np.cumsum(weight * self.observed)[self.last]
        at_risk = weight.sum() - np.r_[0.0, np.cumsum(weight)[self.last][:-1]]
        hazard = np.diff(events, prepend=0.0) / np.maximum(at_risk, 1e-300)
        reached = 1 - np.cumprod(1 - np.clip(hazard, 0, 1))
        place = np.searchsorted(reached, np.array(quantiles) - 1e-12)
        return np.where(place < len(self.last), self.time[self.last[np.minimum(place, len(self.last) - 1)]], np.inf)
