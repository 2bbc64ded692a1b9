"""Runs assigned trials on one engine and writes down what happens to them. Knows neither Ray nor Tune.

The same trainer serves an engine actor with many trials, a worker process with one, and `grokray train`. Measurements,
checkpoints and finishes go to its own part of the journal, where the engine is; only what somebody must decide about
(a rung, the end) is handed back as a `Report`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from grokray.engine.checkpoint import Checkpoint, from_bytes, to_bytes
from grokray.engine.engine import Engine, Measurement
from grokray.errors import CheckpointError
from grokray.records.folder import CHECKPOINTS
from grokray.records.journal import EVENT_FIELDS, JournalWriter
from grokray.records.store import Store
from grokray.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One trial to run. At each step of `rungs` it waits for a decision; `attempt` counts its starts from 0."""

    trial_id: str
    config: dict[str, Any]
    attempt: int = 0
    rungs: tuple[int, ...] = ()
    checkpoint_interval: int = 1_000
    keep_checkpoints: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """A measurement that decides something: the trial waits at `rung`, or it has ended with `outcome`."""

    trial_id: str
    step: int
    metrics: dict[str, float]
    events: dict[str, Any]
    wall_time_s: float
    rung: int | None = None
    outcome: str | None = None


@dataclass(kw_only=True)
class _Running:
    assignment: Assignment
    config: TrialConfig
    rungs: list[int]
    checkpoint_step: int


class Trainer:
    def __init__(
        self,
        store: Store,
        *,
        role: str,
        device: str = "cpu",
        compile: Literal["auto", "on", "off"] = "auto",
        on_measurement: Callable[[Measurement], None] = lambda m: None,
    ) -> None:
        self.store, self.role, self.on_measurement = store, role, on_measurement
        self.engine = Engine(device=device, compile=compile)
        self.journal = JournalWriter(store, role)
        self._running: dict[str, _Running] = {}

    def start(self, assignment: Assignment) -> int:
        """Seat the trial, from its latest sound checkpoint if it has one; the step it starts from."""
        config = TrialConfig.model_validate(assignment.config)
        checkpoint = latest_checkpoint(self.store, assignment.trial_id)
        step = 0 if checkpoint is None else checkpoint.step
        # Written first: should seating the trial kill this process, the journal says who was to be seated.
        self.journal.write(
            "start", trial_id=assignment.trial_id, attempt=assignment.attempt, step=step, engine=self.role
        )
        self.journal.flush()
        if checkpoint is None:
            self.engine.join(assignment.trial_id, config)
        else:
            self.engine.restore(assignment.trial_id, config, checkpoint)
        rungs = sorted(r for r in assignment.rungs if r < config.num_steps)
        self._running[assignment.trial_id] = _Running(
            assignment=assignment, config=config, rungs=[r for r in rungs if r > step], checkpoint_step=step
        )
        return step

    def turn(self, should_yield: Callable[[], bool] = lambda: False) -> list[Report]:
        """Train until something is measured or `should_yield` says so. A trial that is reported at a rung waits."""
        reports = []
        for m in self.engine.next(should_yield):
            report = self._take(m)
            if report is not None:
                reports.append(report)
        return reports

    def proceed(self, trial_id: str) -> None:
        """Let a trial that waits at a rung train on."""
        self.engine.unpark(trial_id)

    def stop(self, trial_id: str, *, save: bool) -> None:
        """Take the trial off the engine, with a checkpoint at the step where it is if `save`; idempotent."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        if save:
            self._save(running)
        self.engine.leave(trial_id)

    def save_all(self) -> int:
        """Checkpoint every trial where it is; how many."""
        for running in self._running.values():
            self._save(running)
        return len(self._running)

    @property
    def trials(self) -> tuple[str, ...]:
        return tuple(self._running)

    @property
    def busy(self) -> bool:
        """Whether any trial trains, rather than waits."""
        return self.engine.training > 0

    def close(self) -> None:
        self.journal.close()

    def _take(self, m: Measurement) -> Report | None:
        running = self._running[m.trial]
        self._write_measurement(running, m)
        self.on_measurement(m)
        rung = None
        if m.outcome:
            self._finish(running, m)
        else:
            rung = self._reached_rung(running, m.step)
            if rung is not None:
                self.engine.park(m.trial)
            # The next evaluation would come too late: at most one interval is ever computed twice.
            interval = running.assignment.checkpoint_interval
            if m.step + running.config.eval_interval - running.checkpoint_step > interval:
                self._save(running)
        if rung is None and m.outcome is None:
            return None
        return Report(
            trial_id=m.trial,
            step=m.step,
            metrics=m.metrics,
            events=m.events,
            wall_time_s=m.wall_time_s,
            rung=rung,
            outcome=m.outcome,
        )

    def _reached_rung(self, running: _Running, step: int) -> int | None:
        """The highest rung that this evaluation is the first to reach."""
        reached = [r for r in running.rungs if r <= step]
        running.rungs = [r for r in running.rungs if r > step]
        return reached[-1] if reached else None

    def _write_measurement(self, running: _Running, m: Measurement) -> None:
        events = {name: m.events[name] for name in EVENT_FIELDS if m.events[name] is not None}
        self.journal.write(
            "measurement",
            trial_id=m.trial,
            attempt=running.assignment.attempt,
            step=m.step,
            metrics=m.metrics,
            events=events,
            wall_time_s=round(m.wall_time_s, 3),
        )

    def _finish(self, running: _Running, m: Measurement) -> None:
        self.journal.write(
            "finish", trial_id=m.trial, attempt=running.assignment.attempt, step=m.step, outcome=m.outcome
        )
        del self._running[m.trial]
        if not running.assignment.keep_checkpoints:
            delete_checkpoints(self.store, m.trial)

    def _save(self, running: _Running) -> None:
        trial_id = running.assignment.trial_id
        checkpoint = self.engine.save(trial_id)
        data, sha256 = to_bytes(checkpoint)
        name = f"{CHECKPOINTS}/{trial_id}/{checkpoint.step:010d}-{sha256}.pt"
        self.store.write_atomic(name, data)
        self.journal.write(
            "checkpoint",
            trial_id=trial_id,
            attempt=running.assignment.attempt,
            step=checkpoint.step,
            name=name,
            sha256=sha256,
            bytes=len(data),
        )
        running.checkpoint_step = checkpoint.step
        for old in self.store.list(f"{CHECKPOINTS}/{trial_id}"):
            if old != name:
                self.store.delete(old)


def latest_checkpoint(store: Store, trial_id: str) -> Checkpoint | None:
    """The trial's newest checkpoint that is whole; a damaged one is passed over, as if it had not been written."""
    for name in reversed(store.list(f"{CHECKPOINTS}/{trial_id}")):
        sha256 = name.rsplit("-", 1)[-1].removesuffix(".pt")
        try:
            return from_bytes(store.read_bytes(name), sha256, name=name)
        except CheckpointError:
            continue
    return None


def delete_checkpoints(store: Store, trial_id: str) -> None:
    store.delete_tree(f"{CHECKPOINTS}/{trial_id}")
