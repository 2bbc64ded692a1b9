"""How well searches find the best configuration under each scheduler: what one stops is what TPE learns from.

python benchmarks/search.py                        (one core, ten minutes; --searches 8 three)

Trials are simulated (surface.py), so that the truth of every configuration is known; all else is the sweep's own: who
proposes, what a trial is worth, who is stopped. Trials of three seeds take seats in virtual time, as in replay.py,
until so many trial-steps are spent, those of stopped trials included. "As if unpruned" are searches that are told of a
pruned trial what would have become of it: what they find more is what pruning hides.

Of each: the trial-steps until the first configuration has ended with most of its seeds grokked that is within x1.25 and
x1.1 of the best one that there is, by the metric; the truth of the configuration that comes out best by what was told,
and of the best of the five that do; the share of proposals that are late and sure (they grok within the budget 0.9
times as surely as the surest ones, half of them after 0.4 of it); and how well what was told agrees with the truth
(Spearman). Medians over the searches with the 95 % interval of ranks; "inf" is not within the budget. Differences are
of means, paired by the search's seed, where what was not found counts as found at the end.

Results go to benchmarks/results/search.json.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import harness
import numpy as np
import surface
from scipy.stats import binom, spearmanr, t

from grokray.sweep.config import SweepConfig
from grokray.sweep.configurations import Configurations
from grokray.sweep.load import load_text
from grokray.sweep.messages import as_result
from grokray.sweep.schedulers import make_scheduler

SPACE = """
name: search
method: {method}
metric: {metric}
num_trials: 100000
seeds: {seeds}
seed: {seed}
parameters:
  operation: {{value: x+y_mod}}
  modulus: {{value: 31}}
  num_steps: {{value: {steps}}}
{parameters}trial: {{eval_interval: {grid}}}
scheduler: {{{scheduler}}}
"""
ASHA, GROK_ASHA = "type: asha, grace_period: {grace}", "type: grok_asha, grace_period: {grace}"
SCHEDULERS = {
    "fifo": "type: fifo",
    "asha": f"{ASHA}, audit_fraction: 0.1",
    "grok_asha": f"{GROK_ASHA}, audit_fraction: 0.1",
    "grok_asha 0.33": f"{GROK_ASHA}, stop_share: 0.33, audit_fraction: 0.1",
    "grok_asha 0.33, no audit": f"{GROK_ASHA}, stop_share: 0.33, audit_fraction: 0",
    "grok_asha 0.33, audit 0.3": f"{GROK_ASHA}, stop_share: 0.33, audit_fraction: 0.3",
}
METRICS = {
    "grok_step": "{name: grok_step}",
    "robustness": "{name: robustness}",
    "grok_step and robustness": "[{name: grok_step}, {name: robustness}]",
}
NEAR = (1.25, 1.1)
SURE, LATE = 0.9, 0.4  # of the largest robustness; of the budget
PICKS = 5  # that come out best
STARTED = 10  # configurations that TPE draws at random


@dataclass(frozen=True, kw_only=True)
class Arm:
    """`unpruned`: the search is told what would have become of pruned trials."""

    method: str
    scheduler: str
    metric: str
    steps: int
    unpruned: bool = False
    seeds: int = 3

    @property
    def name(self) -> str:
        return f"{self.method}, {self.scheduler}{', as if unpruned' if self.unpruned else ''}"

    @property
    def setting(self) -> str:
        return f"{self.metric}, {self.steps:,} steps"

    def config(self, seed: int) -> SweepConfig:
        text = SPACE.format(
            method=self.method,
            metric=METRICS[self.metric],
            seeds=self.seeds,
            seed=seed,
            steps=self.steps,
            grid=surface.GRID,
            parameters=surface.PARAMETERS,
            scheduler=SCHEDULERS[self.scheduler].format(grace=self.steps // 8),
        )
        return load_text(text, "the benchmark's space", "search", try_out=False)


def arms() -> list[Arm]:
    """All where the first rung comes before anybody groks; a few where some grok before it, and of two metrics."""
    found, pruning = [], ("asha", "grok_asha", "grok_asha 0.33")
    for metric, steps in (("grok_step", 4_000), ("robustness", 4_000), ("grok_step", 10_000), ("robustness", 10_000)):
        fixed = {"metric": metric, "steps": steps}
        few = steps > 4_000
        for method in ("random", "sobol")[: 1 if few else 2]:
            found += [Arm(method=method, scheduler=s, **fixed) for s in ("fifo", *pruning)[: 1 if few else 4]]
        found += [Arm(method="tpe", scheduler=s, **fixed) for s in [*SCHEDULERS][: 4 if few else None]]
        found += [Arm(method="tpe", scheduler=s, unpruned=True, **fixed) for s in pruning[: 1 if few else 3]]
    both = {"metric": "grok_step and robustness", "steps": 4_000}
    return found + [Arm(method="tpe", scheduler=s, **both) for s in ("fifo", *pruning)]


@dataclass(kw_only=True)
class Search:
    """Of its configurations by index: the truth, and of those that have ended what was told, after how many trial-steps
    in all, and how many of their trials were seen to grok."""

    truth: dict[int, surface.Truth] = field(default_factory=dict)
    told: dict[int, tuple[float, ...]] = field(default_factory=dict)
    ended_at: dict[int, int] = field(default_factory=dict)
    groks: dict[int, int] = field(default_factory=dict)
    trials: int = 0
    pruned: int = 0


class Simulation:
    """A sweep in virtual time. All seats are taken all the time, so the steps spent are the time by the seats."""

    def __init__(self, arm: Arm, *, seats: int, seed: int) -> None:
        config = arm.config(seed)
        self.arm, self.seats, self.found = arm, seats, Search()
        self.configurations = Configurations(config)
        self.scheduler, self.rungs = make_scheduler(
            config, max_steps=arm.steps, record=lambda **decision: None, decisions=()
        )
        self.waiting: list[surface.SimulatedTrial] = []
        # When it next reports, its turn, the trial, which of its reports that is.
        self.seated: list[tuple[int, int, surface.SimulatedTrial, int]] = []

    def run(self, budget: int) -> Search:
        for _ in range(self.seats):
            self._seat(0)
        while self.seated[0][0] * self.seats <= budget:
            now, turn, trial, number = heapq.heappop(self.seated)
            step = self._report_at(trial, number)
            if step < trial.end and self._goes_on(trial, step, number):
                after = self._report_at(trial, number + 1) - step
                heapq.heappush(self.seated, (now + after, turn, trial, number + 1))
                continue
            self._end(now, trial, step)
            self._seat(now)
        return self.found

    def _seat(self, now: int) -> None:
        while not self.waiting:
            self._propose()
        trial = self.waiting.pop(0)
        heapq.heappush(self.seated, (now + self._report_at(trial, 0), self.found.trials, trial, 0))
        self.found.trials += 1

    def _propose(self) -> None:
        proposal = self.configurations.propose()
        assert proposal is not None
        self.configurations.take(proposal)
        configs = {one.id: one.config.model_dump() for one in proposal.trials.values()}
        self.waiting += [surface.trial(trial_id, config) for trial_id, config in configs.items()]
        self.found.truth[proposal.index] = surface.truth(next(iter(configs.values())))

    def _report_at(self, trial: surface.SimulatedTrial, number: int) -> int:
        """After the rungs comes its end."""
        return min(self.rungs[number], trial.end) if number < len(self.rungs) else trial.end

    def _goes_on(self, trial: surface.SimulatedTrial, step: int, number: int) -> bool:
        result = as_result(trial.report(step, rung=self.rungs[number]))
        return self.scheduler.on_trial_result(None, None, result) == "CONTINUE"  # type: ignore[arg-type]

    def _end(self, now: int, trial: surface.SimulatedTrial, step: int) -> None:
        found, worth = self.found, self.configurations.worth
        index, outcome = self.configurations.of_trial[trial.trial_id], trial.outcome if step >= trial.end else "pruned"
        seen = told = trial.report(step)
        found.pruned += outcome == "pruned"
        found.groks[index] = found.groks.get(index, 0) + (seen.events["grok_step"] is not None)
        if self.arm.unpruned:
            outcome, told = trial.outcome, trial.report(trial.end)
        worth.count(index, outcome, trials=self.arm.seeds, metrics=told.metrics, events=told.events)
        if index in worth._of:
            found.told[index], found.ended_at[index] = worth._of[index], now * self.seats


def summary(found: Search, arm: Arm) -> dict[str, float]:
    """Of one search; what was not found within its budget is infinite."""
    best, by_steps = surface.best(arm.steps), arm.metric != "robustness"
    medians = np.array([float(known.median) for known in found.truth.values()])
    robust = np.array([float(known.robustness) for known in found.truth.values()])
    off = medians / best["grok_step"] if by_steps else best["robustness"] / robust
    completed = [index for index in found.told if 2 * found.groks[index] > arm.seeds]
    first = {near: min((found.ended_at[i] for i in completed if off[i] <= near), default=np.inf) for near in NEAR}
    ended, told = [*found.told], np.array([value[0] for value in found.told.values()])
    picks = [ended[place] for place in np.argsort(told if by_steps else -told, kind="stable")[:PICKS]]
    sure = robust >= SURE * best["robustness"]
    return {
        "configurations": len(medians),
        "pruned": found.pruned / found.trials,
        **{f"to x{near}": at for near, at in first.items()},
        "pick told": abs(told).min() if by_steps else told.max(),
        "pick's median": medians[picks[0]],
        "pick's robustness": robust[picks[0]],
        "best of five": medians[picks].min() if by_steps else robust[picks].max(),
        "robustness": robust[STARTED:].mean(),
        "late and sure": (sure & (medians > LATE * arm.steps))[STARTED:].mean(),
        "agreement": _agreement(told, off[ended]),
    }


def _agreement(told: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's correlation; none where all are alike, as where no median is known."""
    if np.all(told == told[0]) or np.all(truth == truth[0]):
        return 0.0
    return abs(float(spearmanr(told, truth)[0]))  # type: ignore[arg-type]


def median(values: Sequence[float]) -> tuple[float, float, float]:
    """With the 95 % interval of ranks, which needs six values. The numbers from 1 to 30 → 15.5, 10 to 21"""
    ordered = np.sort(values)
    rank = max(int(binom.ppf(0.025, len(ordered), 0.5)), 1)
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(sum(middle) / 2), float(ordered[rank - 1]), float(ordered[-rank])


def difference(values: Sequence[float], others: Sequence[float], budget: float) -> tuple[float, float, float]:
    """Of the means, with Student's 95 % interval of pairs; nothing is larger than the budget."""
    pairs = np.minimum(values, budget) - np.minimum(others, budget)
    half = t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
    return float(pairs.mean()), float(pairs.mean() - half), float(pairs.mean() + half)


def main() -> None:
    options = _options()
    results: dict[str, dict[str, Any]] = {}
    for setting, of_setting in groupby(arms(), key=lambda arm: arm.setting):
        found, rows = results.setdefault(setting, {}), {}
        for arm in sorted(
            of_setting, key=lambda arm: arm.name != "tpe, fifo"
        ):  # what all are compared with comes first
            budget = options.trials * arm.steps
            searches = (Simulation(arm, seats=options.seats, seed=seed).run(budget) for seed in range(options.searches))
            rows[arm.name] = [summary(one, arm) for one in searches]
            found[arm.name] = _found(rows, arm, budget)
        best = surface.best(arm.steps)
        known = f"the shortest median is {best['grok_step']:,.0f}, the largest robustness {best['robustness']:.2f}"
        print(f"{setting}; {known}")
        print(harness.table(HEADER, [_row(name, one) for name, one in found.items()]), "\n", flush=True)
    print(harness.write("search", {"options": vars(options), "settings": results}))


def _found(rows: dict[str, list[dict[str, float]]], arm: Arm, budget: int) -> dict[str, Any]:
    """Medians with their intervals, and differences from TPE under fifo; of a search as if unpruned, from what it is
    when it is told of pruned trials what they came to."""
    own, other = rows[arm.name], rows.get(f"{arm.method}, {arm.scheduler}" if arm.unpruned else "tpe, fifo", ())
    found: dict[str, Any] = {name: [*map(_plain, median([row[name] for row in own]))] for name in own[0]}
    if other and other is not own:
        for name, most in {f"to x{NEAR[0]}": budget, **dict.fromkeys(COMPARED, np.inf)}.items():
            pairs = [row[name] for row in own], [row[name] for row in other]
            found[f"difference, {name}"] = [*map(_plain, difference(*pairs, most))]
    return found


COMPARED = ("pick's robustness", "late and sure", "agreement")


def _plain(value: float) -> float | None:
    """Five digits; JSON has no infinity."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


HEADER = (
    *("search", "configurations", "pruned", "to x1.25", "to x1.1", "mean to x1.25, difference"),
    *("pick's median", "robustness", "best of five", "late and sure", "agreement"),
)


def _row(name: str, found: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{found['configurations'][0]:.0f}",
        f"{found['pruned'][0]:.0%}",
        *(_text(found[f"to x{near}"], ",.0f") for near in NEAR),
        _text(found.get("difference, to x1.25"), "+,.0f"),
        _text(found["pick's median"], ",.0f"),
        _text(found["pick's robustness"], ".2f"),
        _text(found["best of five"], ",.0f" if (found["best of five"][0] or np.inf) > 1 else ".2f"),
        _text(found["late and sure"], ".0%"),
        _text(found["agreement"], ".2f"),
    ]


def _text(values: Sequence[float | None] | None, form: str) -> str:
    if values is None:
        return "-"
    value, low, high = ("inf" if one is None else format(one, form) for one in values)
    return f"{value} ({low} to {high})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=30, help="of each kind, 6 at least")
    parser.add_argument("--trials", type=int, default=120, help="of full length, 40 at least: so many steps")
    parser.add_argument("--seats", type=int, default=12, help="trials that train at once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
