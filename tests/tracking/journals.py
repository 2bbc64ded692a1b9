"""Events as a journal holds them, and a backend that remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grokray.tracking.base import NOTHING_YET, Event, Fold, Point
from grokray.tracking.trials import TrialTracker
from grokray.trial import TrialConfig

SESSION: Event = {
    "t": 1.0,
    "event": "sweep",
    "session": "a",
    "versions": {"grokray": "0.1.0", "torch": "2.13.0"},
    "command": "grokray sweep",
    "fingerprint": {},
}
CONFIG = TrialConfig(num_steps=1000, eval_interval=100)


def trial(index: int = 0, config: TrialConfig = CONFIG, trial_id: str | None = None) -> Event:
    fields = {"trial_id": trial_id or config.id, "index": index, "configuration": index, "config": config.model_dump()}
    return {"t": 2.0, "event": "trial", "seed": 0, **fields}


def measurement(step: int, trial_id: str = CONFIG.id, attempt: int = 0, **more: Any) -> Event:
    metrics = {
        "train_loss": 1 / max(step, 1),
        "train_exact_match": 1.0,
        "heldout_exact_match": step / 1000,
        "weight_norm": 3.0,
    }
    events = {"memorization_step": 100, "memorization_step_lower": 0}
    event = {"t": 10.0 + step, "event": "measurement", "trial_id": trial_id, "attempt": attempt, "step": step}
    return {**event, "metrics": metrics, "events": events, "wall_time_s": step / 100, **more}


def end(step: int, outcome: str = "budget", trial_id: str = CONFIG.id, kind: str = "end") -> Event:
    event = {"t": 20.0 + step, "event": kind, "trial_id": trial_id, "step": step, "outcome": outcome}
    return event | ({"attempt": 0} if kind == "finish" else {})


def whole_run(index: int = 0, config: TrialConfig = CONFIG, outcome: str = "budget") -> list[Event]:
    steps = range(config.eval_interval, config.num_steps + 1, config.eval_interval)
    measured = [measurement(step, config.id) for step in steps]
    start = {"t": 3.0, "event": "start", "trial_id": config.id, "attempt": 0, "step": 0}
    return [trial(index, config), start, *measured, end(config.num_steps, outcome, config.id)]


class Notes:
    """A backend. `told`: ("open", id), ("log", id, step), ("finish", id, outcome), ("leave", id), in order."""

    name = "notes"
    remembers = False

    def __init__(self, held: int = NOTHING_YET, fails_at: int | None = None) -> None:
        self.held, self.fails_at = held, fails_at
        self.told: list[tuple] = []
        self.closed = 0

    def open(self, fold: Fold) -> tuple[Any, int]:
        self.told.append(("open", fold.trial_id))
        return fold.trial_id, self.held

    def log(self, run: Any, points: Sequence[Point]) -> None:
        for point in points:
            if point.step == self.fails_at:
                raise OSError("the network is gone\nand so on")
            self.told.append(("log", run, point.step))

    def finish(self, run: Any, fold: Fold) -> None:
        self.told.append(("finish", run, fold.row()["outcome"]))

    def leave(self, run: Any) -> None:
        self.told.append(("leave", run))

    def close(self) -> None:
        self.closed += 1

    def steps(self, trial_id: str = CONFIG.id) -> list[int]:
        return [told[2] for told in self.told if told[:2] == ("log", trial_id)]


def show(tracker: TrialTracker, events: Iterable[Event]) -> None:
    """One poll of the whole journal."""
    for event in events:
        tracker.observe(event)
    tracker.settle(whole=True)
