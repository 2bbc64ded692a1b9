"""Schedulers replayed on recorded curves: what they would have stopped, in virtual time, without training again.

A sweep that ran under fifo knows the end of every trial. Here its trials arrive in a random order and take their seats;
each trains one step in a unit of time, and the real scheduler is asked at its rungs, with what was measured there.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grokray.analysis import intervals
from grokray.events import EventTracker
from grokray.records.folder import SweepFolder
from grokray.records.tables import read_curves, read_trials
from grokray.sweep.assignment import Report
from grokray.sweep.config import SweepConfig
from grokray.sweep.messages import as_result
from grokray.sweep.schedulers import make_scheduler

KEYS = ("trial_id", "trial_index", "attempt", "step", "wall_time_s")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One trial as it ran to its own end; its measurements by rising steps, and the events seen by each of them."""

    trial_id: str
    steps: list[int]
    metrics: list[dict[str, float]]
    events: list[dict[str, Any]]

    @property
    def end(self) -> int:
        return self.steps[-1]

    @property
    def grokked(self) -> bool:
        return self.events[-1]["grok_step"] is not None

    def results(self, rungs: Sequence[int]) -> list[dict[str, Any]]:
        """What Tune is told: the first measurement at or beyond each rung, the trial's last one aside."""
        out, left = [], list(rungs)
        for step, metrics, events in zip(self.steps[:-1], self.metrics, self.events, strict=False):
            reached = [rung for rung in left if rung <= step]
            left = left[len(reached) :]
            if reached:
                report = Report(
                    trial_id=self.trial_id, step=step, metrics=metrics, events=events, wall_time_s=0.0, rung=reached[-1]
                )
                out.append(as_result(report))
        return out


@dataclass(kw_only=True)
class Replayed:
    """One order of arrival. `wanted` are the trials to be stopped, the audited ones included."""

    steps: int = 0
    stopped: set[str] = field(default_factory=set)
    audited: set[str] = field(default_factory=set)

    @property
    def wanted(self) -> set[str]:
        return self.stopped | self.audited


def read(folder: SweepFolder) -> list[Curve]:
    """The curves of a folder's trials, by their index; trials that failed or were not measured are left out."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_curves(folder).to_pylist():
        rows.setdefault(row["trial_id"], []).append(row)
    trials = read_trials(folder).to_pylist()
    return [
        _curve(trial, rows[trial["trial_id"]]) for trial in trials if _is_whole(trial) and trial["trial_id"] in rows
    ]


def _is_whole(trial: dict[str, Any]) -> bool:
    return trial["outcome"] in ("grokked", "budget", "diverged")


def _curve(trial: dict[str, Any], rows: list[dict[str, Any]]) -> Curve:
    tracker, events = EventTracker(threshold=trial["threshold"], sustain=trial["sustain"]), []
    for row in rows:
        tracker.observe(row["step"], row["train_exact_match"] or 0.0, row["heldout_exact_match"] or 0.0)
        events.append(tracker.state())
    return Curve(
        trial_id=trial["trial_id"],
        steps=[row["step"] for row in rows],
        metrics=[{k: v for k, v in row.items() if k not in KEYS and v is not None} for row in rows],
        events=events,
    )


def replay(curves: Sequence[Curve], config: SweepConfig, *, orders: int, seats: int, seed: int = 0) -> list[Replayed]:
    """Once for each of so many random orders of arrival; lots of the audit are drawn anew each time."""
    rungs = config.scheduler.rungs(config.max_steps())
    results = [curve.results(rungs) for curve in curves]
    random = np.random.default_rng(seed)
    return [
        _replay_once(
            curves, results, config.model_copy(update={"seed": number}), random.permutation(len(curves)), seats
        )
        for number in range(orders)
    ]


def _replay_once(
    curves: Sequence[Curve],
    results: Sequence[Sequence[dict[str, Any]]],
    config: SweepConfig,
    order: Sequence[int],
    seats: int,
) -> Replayed:
    found, waiting = Replayed(), [int(index) for index in order][::-1]

    def note(*, trial_id: str, action: str, **decision: Any) -> None:
        if action != "continue":
            (found.stopped if action == "stop" else found.audited).add(trial_id)

    scheduler, _ = make_scheduler(config, max_steps=config.max_steps(), record=note, decisions=())
    seated: list[tuple[int, int, int, int]] = []  # when it next reports, its turn, which trial, which of its reports

    def seat(now: int) -> None:
        if waiting:
            index = waiting.pop()
            heapq.heappush(seated, (now + _step(curves[index], results[index], 0), len(waiting), index, 0))

    for _ in range(seats):
        seat(0)
    while seated:
        now, turn, index, number = heapq.heappop(seated)
        step = _step(curves[index], results[index], number)
        at_rung = number < len(results[index])
        if at_rung and scheduler.on_trial_result(None, None, results[index][number]) == "CONTINUE":  # type: ignore[arg-type]
            after = _step(curves[index], results[index], number + 1) - step
            heapq.heappush(seated, (now + after, turn, index, number + 1))
        else:
            found.steps += step
            seat(now)
    return found


def _step(curve: Curve, results: Sequence[dict[str, Any]], number: int) -> int:
    """Of the trial's report of that number; after the rungs comes its end."""
    return results[number]["step"] if number < len(results) else curve.end


def wilson(count: float, total: float) -> tuple[float, float]:
    """95 % interval of a share. 0 of 10 → 0 to 0.28; nothing of nothing → 0 to 1"""
    return intervals.wilson(count / total if total else 0.0, total)
