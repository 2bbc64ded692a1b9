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

from grokray.analysis.outcomes import column, diverged, drawn_by_chance, outcomes
from grokray.analysis.shares import LEVEL, Estimate, Shares, shares
from grokray.analysis.survival import SurvivalCurve, kaplan_meier, quantile_time
from grokray.analysis.times import Times

_METHOD = "Kaplan-Meier by configuration, where the band crosses"
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
    """Of grokked trials that trained on, the share that diverged or fell below UNGROK_ACCURACY afterwards.

    `shares` has one cell. `trained_on`: their number; 0 where no trial has continue_training.
    """

    shares: Shares
    trained_on: int


def delays(trials: pa.Table, quantiles: tuple[float, ...] = QUANTILES, *, level: float = LEVEL) -> Delays:
    """Of TRIALS_SCHEMA; intervals are where the curve's bands cross, by configuration. Steps are optimiser updates."""
    found = outcomes(trials)
    memorized, step = column(trials, "memorization_step"), column(trials, "grok_step")
    grokked = ~np.isnan(step)
    end = column(trials, "duration_steps")
    end = np.where(diverged(trials), column(trials, "num_steps"), end)
    use = ~np.isnan(memorized) & (found.survival_weight > 0)
    never = np.isnan(memorized) & (found.survival_weight > 0)
    time, observed = np.where(grokked, step, end)[use] - memorized[use], grokked[use]
    weight = found.survival_weight[use]
    cluster = drawn_by_chance(np.unique(found.configuration[use], return_inverse=True)[1])
    least = float(time.min(initial=0))
    start = min(least - 1, 0.0)  # delays may be negative or none, and times are neither
    curve = kaplan_meier(Times.right_censored(time - start, observed, weight, cluster), level)
    estimates = {quantile: _quantile(curve, quantile, start, negative=least < 0) for quantile in quantiles}
    return Delays(
        quantiles=estimates,
        grokked=int(observed.sum()),
        censored=int((~observed).sum()),
        negative=int((observed & (time < 0)).sum()),
        never_memorized=int(never.sum()),
        grokked_alone=int((never & grokked).sum()),
        notes=found.lost_notes,
    )


def ungrokking(trials: pa.Table, level: float = LEVEL) -> Ungrokking:
    """Trials that still run count with what they have shown so far."""
    found = outcomes(trials)
    on = (column(trials, "continue_training") == 1) & ~np.isnan(column(trials, "grok_step"))
    # Of one that diverged there was nothing more to measure.
    fell = ~np.isnan(column(trials, "ungrok_step")) | diverged(trials)
    cell = np.where(on & (found.survival_weight > 0), 0, -1)
    result = shares(fell, found.survival_weight, found.cluster, cell, 1, level, audited=found.is_audited)
    return Ungrokking(shares=result, trained_on=int((cell == 0).sum()))


def _quantile(curve: SurvivalCurve, quantile: float, start: float, *, negative: bool) -> Estimate:
    """Of delays less `start`; all NaN of no trial."""
    if not curve.last_time:
        return Estimate(value=np.nan, lower=np.nan, upper=np.nan, method=_METHOD)
    found = quantile_time(curve, quantile)
    # A band that begins below says nothing of how early it may have been.
    earliest = -np.inf if negative else 0.0
    lower = found.lower + start if found.lower else earliest
    return Estimate(value=found.value + start, lower=lower, upper=found.upper + start, method=_METHOD)
