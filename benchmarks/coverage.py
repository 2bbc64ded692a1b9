"""Do the 95 % intervals of the analysis hold the truth 95 times in 100? Simulated sweeps whose truth is known.

python benchmarks/coverage.py --sweeps 200

Times to grok are log-normal, stretched by weight decay and training fraction, and by a configuration's own luck, which
its seeds share. They are seen on a grid of measurements and up to a budget. At each rung a scheduler stops the trials
whose metric is behind; the metric is the time still to go, with noise. A random share of these is audited, and runs
on. "Ignoring pruning" takes every trial that was to be stopped as censored there, each trial with weight 1: what one
gets of the same sweep without an audit. One core needs a minute or two.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from grokray.analysis.aft import fit_aft
from grokray.analysis.design import design_of
from grokray.analysis.effects import find
from grokray.analysis.intervals import wilson_share
from grokray.analysis.logrank import log_rank
from grokray.analysis.survival import kaplan_meier, median_time, restricted_mean, share_by
from grokray.analysis.times import Times, times_of
from grokray.analysis.trial_columns import numbers
from grokray.analysis.weights import scheduler_audit

BUDGET, GRID, HORIZON = 20_000, 100, 10_000
RUNGS = (2_000, 6_000)
PER_DOUBLING, PER_TENTH = -0.35, -0.30
LUCK, NOISE = 0.3, 0.5  # standard deviations of log steps: of a configuration, of a seed
WEIGHT_DECAY, FRACTION = (-4.0, 1.5), (0.3, 0.8)  # the former in binary logarithms
SCALE = float(np.hypot(LUCK, NOISE))
RESULT = Path(__file__).parent / "results" / "coverage.json"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`audit` is the share of those to be stopped that runs on; None: nothing is pruned. Each rung leaves one trial in
    `reduction` to go on. `intercept` is the logarithm of steps of a trial in the middle of the search space."""

    configurations: int
    seeds: int
    audit: float | None
    intercept: float = 9.3
    reduction: int = 2

    @property
    def name(self) -> str:
        pruned = f"one in {self.reduction} goes on, {100 * (self.audit or 0):.0f} % audited"
        pruned = "nothing pruned" if self.audit is None else pruned
        pruned += ", a third grok" if self.intercept > 9.3 else ""
        return f"{self.configurations} configurations of {self.seeds} seeds, {pruned}"


SETTINGS = (
    Setting(configurations=150, seeds=3, audit=None),
    Setting(configurations=100, seeds=3, audit=0.2),
    Setting(configurations=200, seeds=3, audit=0.1),
    Setting(configurations=450, seeds=1, audit=0.15),
    Setting(configurations=150, seeds=3, audit=0.15, intercept=10.0, reduction=3),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=200, help="simulated sweeps of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="write no result")
    options = parser.parse_args()
    found = {}
    start = time.process_time()
    for number, setting in enumerate(SETTINGS):
        found[setting.name] = coverage(setting, options.sweeps, options.seed + 1_000 * number)
        print(f"\n{setting.name}, {options.sweeps} sweeps\n{table(found[setting.name])}", flush=True)
    print(f"\n{time.process_time() - start:.0f} CPU-seconds")
    if not options.quick:
        RESULT.write_text(json.dumps({"sweeps": options.sweeps, "settings": found}, indent=1) + "\n")
        print(f"written to {RESULT}")


def coverage(setting: Setting, sweeps: int, seed: int) -> dict[str, dict[str, float]]:
    """By estimate: its truth, and over the sweeps the mean estimate, coverage, and standard error over spread."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for number in range(sweeps):
        trials, grokkers_killed, same = simulate(setting, np.random.default_rng([seed, number]))
        for name, true, value, lower, upper, error in estimates(setting, trials, grokkers_killed, same):
            rows.setdefault(name, []).append((true, value, lower, upper, error))
    return {name: _summary(np.array(values)) for name, values in rows.items()}


def _summary(values: np.ndarray) -> dict[str, float]:
    true, value, lower, upper, error = values.T
    return {
        "truth": float(np.mean(true)),
        "mean": float(np.nanmean(value)) if np.isfinite(value).any() else float("nan"),
        "coverage": float(np.mean((lower <= true) & (true <= upper))),
        "spread": float(np.nanstd(value - true)) if np.isfinite(value).any() else float("nan"),
        "error": float(np.nanmean(error)) if np.isfinite(error).any() else float("nan"),
    }


def simulate(setting: Setting, generator: np.random.Generator) -> tuple[pa.Table, float, np.ndarray]:
    """trials.parquet, as far as the analysis reads it; the share of grokkers that were killed; an idle group (n,)."""
    size = setting.configurations
    configuration = np.repeat(np.arange(size), setting.seeds)
    log_decay = generator.uniform(*WEIGHT_DECAY, size)[configuration]
    fraction = generator.uniform(*FRACTION, size)[configuration]
    luck = generator.normal(0, LUCK, size)[configuration]
    log_time = setting.intercept + PER_DOUBLING * log_decay + PER_TENTH * (fraction - 0.5) / 0.1
    step = np.exp(log_time + luck + generator.normal(0, NOISE, len(luck)))
    grok_step = np.maximum(np.ceil(step / GRID), 1) * GRID
    stop_step, audited = _stops(setting, grok_step, step, generator)
    pruned = np.isfinite(stop_step) & ~audited
    grokked = (grok_step <= BUDGET) & ~pruned
    killed = pruned & (grok_step <= BUDGET)
    table = pa.table(
        {
            "configuration": configuration,
            "outcome": np.where(pruned, "pruned", np.where(grokked, "grokked", "budget")),
            "censor_reason": pa.array(np.where(pruned, "pruned", "budget"), mask=grokked),
            "grok_step": pa.array(grok_step, mask=~grokked),
            "grok_step_lower": pa.array(grok_step - GRID, mask=~grokked),
            "duration_steps": np.where(pruned, stop_step, np.minimum(grok_step, BUDGET)),
            "num_steps": np.full(len(step), BUDGET),
            "stop_step": pa.array(stop_step, mask=~np.isfinite(stop_step)),
            "audited": audited,
            "audit_probability": pa.array(np.full(len(step), setting.audit or 0.0), mask=~np.isfinite(stop_step)),
            "weight_decay": 2.0**log_decay,
            "training_fraction": fraction,
        }
    )
    return table, float(killed.sum() / max((killed | grokked).sum(), 1)), configuration % 2


def _stops(
    setting: Setting, grok_step: np.ndarray, step: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) each: where the scheduler wanted to stop a trial, or infinity; whether it ran on."""
    stop_step, audited = np.full(len(step), np.inf), np.zeros(len(step), bool)
    if setting.audit is None:
        return stop_step, audited
    for rung in RUNGS:
        there = np.isinf(stop_step)
        metric = np.where(grok_step <= rung, 0.0, np.log(step) + generator.normal(0, 0.7, len(step)))
        worst = there & (metric > np.quantile(metric[there], 1 / setting.reduction)) & (grok_step > rung)
        stop_step[worst] = rung
        audited |= worst & (generator.random(len(step)) < setting.audit)
    return stop_step, audited


def estimates(
    setting: Setting, trials: pa.Table, grokkers_killed: float, same: np.ndarray
) -> Iterator[tuple[str, float, float, float, float, float]]:
    """Name, truth, value, lower, upper, standard error."""
    design, weighted = design_of(trials), times_of(trials)
    views = {"": weighted}
    if (weighted.weight == 0).any():
        views[", ignoring pruning"] = _ignoring_pruning(trials, weighted)
    for suffix, times in views.items():
        yield from _marginal(setting.intercept, times, suffix)
        fit = fit_aft(times, design)
        for name, true in (("weight_decay", PER_DOUBLING), ("training_fraction", PER_TENTH)):
            effect = find(fit.effects, name)
            values = (effect.ratio, effect.lower, effect.upper)
            yield f"time ratio of {name}{suffix}", np.exp(true), *values, effect.standard_error * effect.ratio
        test = log_rank(times, same)
        # No difference is the truth, so that the test must not find one: a coverage of 95 %.
        yield f"log-rank of equal groups{suffix}", 0.05, test.p_value, -np.inf, _beyond(test.p_value), np.nan
    if (weighted.weight == 0).any():
        seen = wilson_share(weighted.observed)
        name = f"grokked by {BUDGET:,}, seen to, of all trials"
        yield name, _grokked_by(setting.intercept, BUDGET), seen.value, seen.lower, seen.upper, seen.standard_error
        killed = scheduler_audit(trials).grokkers_killed
        yield "grokkers killed", grokkers_killed, killed.value, killed.lower, killed.upper, np.nan


def _ignoring_pruning(trials: pa.Table, times: Times) -> Times:
    stop_step = numbers(trials, "stop_step")
    stopped = ~np.isnan(stop_step)
    lower, upper = np.where(stopped, stop_step, times.lower), np.where(stopped, np.inf, times.upper)
    return Times.of(lower, upper, cluster=times.cluster)


def _beyond(p_value: float) -> float:
    return np.inf if p_value >= 0.05 else -np.inf


def _marginal(intercept: float, times: Times, suffix: str) -> Iterator[tuple[str, float, float, float, float, float]]:
    half = median_time(kaplan_meier(times))
    found = {
        f"grokked by {HORIZON:,}": (_grokked_by(intercept, HORIZON), share_by(times, HORIZON)),
        f"grokked by {BUDGET:,}": (_grokked_by(intercept, BUDGET), share_by(times, BUDGET)),
        f"mean up to {BUDGET:,}": (_mean_up_to(intercept, BUDGET), restricted_mean(times, BUDGET)),
    }
    if _grokked_by(intercept, BUDGET) > 0.5:
        found["median"] = (_median(intercept), half)
    for name, (true, estimate) in found.items():
        yield f"{name}{suffix}", true, estimate.value, estimate.lower, estimate.upper, estimate.standard_error


@functools.cache
def _grokked_by(intercept: float, steps: float) -> float:
    """Over all that the search space may propose."""
    decay, fraction = (np.linspace(*ends, 401) for ends in (WEIGHT_DECAY, FRACTION))
    decay, fraction = (decay[1:] + decay[:-1]) / 2, (fraction[1:] + fraction[:-1]) / 2
    place = intercept + PER_DOUBLING * decay[:, None] + PER_TENTH * (fraction - 0.5) / 0.1
    return float(norm.cdf((np.log(steps) - place) / SCALE).mean())


@functools.cache
def _mean_up_to(intercept: float, horizon: float) -> float:
    return GRID + sum((1 - _grokked_by(intercept, steps)) * GRID for steps in range(GRID, int(horizon), GRID))


@functools.cache
def _median(intercept: float) -> float:
    low, high = GRID, 100 * BUDGET
    while high - low > GRID:
        middle = (low + high) // (2 * GRID) * GRID
        low, high = (middle, high) if _grokked_by(intercept, middle) < 0.5 else (low, middle)
    return high


def table(found: dict[str, dict[str, float]]) -> str:
    lines = ["| estimate | truth | mean | spread | standard error | coverage |", "|---|---|---|---|---|---|"]
    for name, row in found.items():
        numbers = " | ".join(f"{row[key]:,.4g}" for key in ("truth", "mean", "spread", "error"))
        lines.append(f"| {name} | {numbers} | {100 * row['coverage']:.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
