"""A response surface whose truth is known, for searches: when a trial groks, if ever, by three parameters.

Log times to grok are normal over the seeds. They fall with the product of learning rate and weight decay, as in the
phase diagram of the README, and with the share of data. Beyond a product of some size trials collapse instead: they
never fit, or diverge. So the fastest configurations lie at a cliff, and the surest ones grok later. With little data
some memorize for good. Curves are recorded ones (notebooks/sweep), bent in time so that they memorize and grok when the
surface says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from replay import Curve, read
from scipy.special import expit
from scipy.stats import norm

from grokray.records.folder import SweepFolder
from grokray.records.tables import read_trials
from grokray.sweep.assignment import Report

RECORDED = Path(__file__).parents[1] / "notebooks" / "sweep"
GRID, SUSTAIN = 50, 3  # steps between measurements, as of the recorded curves
SPREAD, FIT_SPREAD = 0.35, 0.2  # of log times, over the seeds
DIVERGES = 0.2  # of those that collapse
NEVER = 0.9  # a recorded trial that ended below that held-out accuracy stands for those that never grok
CHANCE = {"train_exact_match": 1 / 31, "heldout_exact_match": 1 / 31, "heldout_loss": math.log(31)}
NAMES = ("learning_rate", "weight_decay", "training_fraction")
PARAMETERS = """\
  learning_rate: {distribution: log_uniform_values, min: 3e-4, max: 3e-2}
  weight_decay: {distribution: log_uniform_values, min: 0.03, max: 3}
  training_fraction: {min: 0.3, max: 0.8}
"""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Of configurations, as arrays of one shape: `center` is the mean log time of those that grok, `collapses` and
    `memorizes` the shares that never do, `fit` the mean log time to memorize. `budget` is in training steps."""

    budget: int
    center: np.ndarray
    collapses: np.ndarray
    memorizes: np.ndarray
    fit: np.ndarray

    @property
    def grokking(self) -> np.ndarray:
        """The share that groks sooner or later."""
        return (1 - self.collapses) * (1 - self.memorizes)

    @property
    def robustness(self) -> np.ndarray:
        """The share that groks within the budget."""
        return self.grokking * norm.cdf((math.log(self.budget) - self.center) / SPREAD)

    @property
    def median(self) -> np.ndarray:
        """Steps until half of all have grokked; infinite where that is not within the budget."""
        sooner = np.minimum(0.5 / np.maximum(self.grokking, 1e-9), 1.0)
        steps = np.exp(self.center + SPREAD * norm.ppf(sooner))
        return np.where(steps <= self.budget, steps, np.inf)


def truth(config: Mapping[str, Any]) -> Truth:
    """Of a trial's config, or of many: its values may be arrays."""
    learning_rate, weight_decay, training_fraction = (config[name] for name in NAMES)
    rate, lacking = np.log2(np.asarray(learning_rate) / 3e-3), 10 * (0.8 - np.asarray(training_fraction))
    product = rate + np.log2(weight_decay)
    return Truth(
        budget=config["num_steps"],
        center=math.log(1_500) - 0.45 * product + 0.06 * rate**2 + 0.25 * lacking,
        collapses=0.02 + 0.98 * expit(2.5 * (product - 1.5)),
        memorizes=0.03 + 0.97 * expit(2.5 * (lacking - 3.8)),
        fit=math.log(250) - 0.5 * rate,
    )


@lru_cache
def best(budget: int) -> dict[str, float]:
    """What the truth knows: the shortest median, and the largest robustness."""
    axes = (np.geomspace(3e-4, 3e-2, 120), np.geomspace(0.03, 3, 120), np.linspace(0.3, 0.8, 26))
    known = truth({**dict(zip(NAMES, np.meshgrid(*axes, indexing="ij"), strict=True)), "num_steps": budget})
    return {"grok_step": float(known.median.min()), "robustness": float(known.robustness.max())}


@dataclass(frozen=True, kw_only=True)
class SimulatedTrial:
    """Runs to `end` if nobody stops it. Infinite is what never comes. `curve` is a recorded one, None at chance; its
    own event or end is bent to lie at `until`."""

    trial_id: str
    memorized: float
    grokked: float
    end: int
    outcome: str
    until: float = math.inf
    curve: Curve | None = None

    def report(self, step: int, rung: int | None = None) -> Report:
        """As it stands at a step."""
        seen = {"memorization_step": self.memorized, "grok_step": self.grokked}
        late = {"memorization_step": 0, "grok_step": (SUSTAIN - 1) * GRID}  # it takes so long until it is known
        events = {name: int(at) if at + late[name] <= step else None for name, at in seen.items()}
        return Report(
            trial_id=self.trial_id,
            step=step,
            metrics=self._metrics(step),
            events=events,
            wall_time_s=0.0,
            rung=rung,
            outcome=self.outcome if step >= self.end else None,
        )

    def _metrics(self, step: int) -> dict[str, float]:
        if self.curve is None:
            noise = np.random.default_rng([step, *self.trial_id.encode()]).normal(size=len(CHANCE))
            return {name: value * (1 + 0.1 * z) for (name, value), z in zip(CHANCE.items(), noise, strict=True)}
        place = int(np.searchsorted(self.curve.steps, self._recorded(step)))
        metrics = self.curve.metrics[min(place, len(self.curve.steps) - 1)]
        return {name: metrics[name] for name in CHANCE}

    def _recorded(self, step: int) -> float:
        """The step of the recorded curve that a step here is. The recorded one fits and groks at its own times."""
        assert self.curve is not None
        events = self.curve.events[-1]
        fits, ends = events["memorization_step"], events["grok_step"] or self.curve.end
        if step <= self.memorized:
            return fits * step / self.memorized
        return fits + (ends - fits) * (step - self.memorized) / max(self.until - self.memorized, 1)


def trial(trial_id: str, config: Mapping[str, Any]) -> SimulatedTrial:
    """By its id's luck alone, so that it is the same trial whenever and by whomever it is proposed."""
    known, budget = truth(config), config["num_steps"]
    luck = np.random.default_rng(list(hashlib.sha256(trial_id.encode()).digest()))
    draws, noise = luck.random(4), luck.normal(size=2)
    if draws[0] < known.collapses:
        return _collapsed(trial_id, budget, diverges=draws[2] < DIVERGES, at=draws[3])
    memorized = _on_grid(np.exp(known.fit + FIT_SPREAD * noise[0]))
    grokked = max(_on_grid(np.exp(known.center + SPREAD * noise[1])), memorized + GRID)
    groks = bool(draws[1] >= known.memorizes)
    ends = grokked + (SUSTAIN - 1) * GRID if groks else math.inf
    curves = _recorded_curves()[groks]
    return SimulatedTrial(
        trial_id=trial_id,
        memorized=memorized,
        grokked=grokked if groks else math.inf,
        end=int(min(ends, budget)),
        outcome="grokked" if ends <= budget else "budget",
        until=grokked if groks else budget,
        curve=curves[int(draws[3] * len(curves))],
    )


def _collapsed(trial_id: str, budget: int, *, diverges: bool, at: float) -> SimulatedTrial:
    end = int(_on_grid(at * budget / 2)) if diverges else budget
    outcome = "diverged" if diverges else "budget"
    return SimulatedTrial(trial_id=trial_id, memorized=math.inf, grokked=math.inf, end=end, outcome=outcome)


def _on_grid(steps: float) -> float:
    """The first measurement that sees the event."""
    return float(math.ceil(max(steps, 1) / GRID) * GRID)


@lru_cache
def _recorded_curves() -> dict[bool, list[Curve]]:
    """Those that grok, and those that memorize for good."""
    folder = SweepFolder.open(RECORDED)
    trials = read_trials(folder).to_pylist()
    one_token = {trial["trial_id"] for trial in trials if trial["task_type"] == "classification"}
    curves = [c for c in read(folder) if c.trial_id in one_token and c.events[-1]["memorization_step"] is not None]
    never = [c for c in curves if c.metrics[-1]["heldout_exact_match"] < NEVER and not c.grokked]
    grokking = [c for c in curves if c.grokked and c.events[-1]["memorization_step"] < c.events[-1]["grok_step"]]
    return {True: grokking, False: never}
