"""What is remembered of one trial, configuration, decision and session. `SweepState` fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grokray.events import EventTracker
from grokray.records.compact import NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint's file: `name` relative to the sweep's folder, `sha256` of its bytes in hexadecimal."""

    name: str
    sha256: str
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the scheduler decided about a trial at one step.

    `action` is `stop`, `continue`, or `audit`: it was to be stopped, and was chosen at random, with the probability
    `audit_probability`, to run on. `metric` is what trials were compared by, `value` the trial's, None if it was not
    compared. `raw` and `fitted_step` are what a scheduler must know again after a restart: what the value was made
    of, and the step from which the trial counts as having fitted its training pairs.
    """

    t: float
    trial_id: str
    step: int
    action: str
    rung: int | None = None
    metric: str | None = None
    value: float | None = None
    cutoff: float | None = None
    reason: str | None = None
    audit_probability: float | None = None
    raw: float | None = None
    fitted_step: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Of a measure of the user's own: in how many measurements it raised something, and one thing that it raised."""

    times: int
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One run of the driver. `started` is in unix seconds by its machine's clock; `number` counts the sweep's sessions
    from 1, and is 0 in older journals."""

    session: str
    number: int = 0
    started: float
    versions: dict[str, str]
    command: str


@dataclass(kw_only=True, slots=True)
class Configuration:
    """A proposed point of the search space; its trials differ in their seed alone, in order of their index."""

    index: int
    parameters: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    trial_ids: list[str] = field(default_factory=list)
    value_of: int | None = None
    suggested: float | None = None  # unix seconds


@dataclass(kw_only=True, slots=True)
class TrialState:
    """What is known of one trial. Steps are optimiser updates; `last_step` is 0 before the first measurement after one.

    `events` holds EVENT_FIELDS as far as they happened. `best` holds `heldout_exact_match` with
    `heldout_exact_match_step` (the first step that reached it) and `heldout_loss`, over all measurements after step 0.
    """

    trial_id: str
    index: int | None = None
    configuration: int | None = None
    seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    attempt: int = 0
    started: float | None = None  # unix seconds of the newest start
    compiled: bool | None = None  # whether compiled kernels train it; None before it started
    last_step: int = 0
    last_metrics: Mapping[str, float | None] = field(default_factory=lambda: NOTHING)
    events: dict[str, int] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    # Of a multitask trial, by task: the same as last_metrics and events.
    task_metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=lambda: NOTHING)
    task_events: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: NOTHING)
    wall_time_s: float | None = None
    measurements: int = 0
    steps_trained: int = 0
    checkpoint: Checkpoint | None = None
    failures: dict[str, int] = field(default_factory=dict)  # fault → count
    decision: Decision | None = None  # the newest
    stop: Decision | None = None  # the first that was `stop` or `audit`: when the scheduler wanted to stop it
    # What each maximum was taken over: (key, value).
    _start: tuple[int, float, str] = (-1, 0.0, "")  # attempt, t, session
    _newest: tuple[int, int, float] = (-1, -1, 0.0)  # step, attempt, wall_time_s
    _finish: tuple[int, int, str] | None = None  # attempt, step, outcome
    # Rounds are counted where a failed trial is run again: clocks may be set back. Older journals have none.
    _ended: tuple[int, float, str, str] | None = None  # round, t, outcome, error
    _again: tuple[int, float] = (0, 0.0)  # round, t; an end before it does not count
    _failure: tuple[int, float, str] | None = None  # attempt, t, error
    _checkpoint_key: tuple[int, int, str] = (-1, -1, "")  # step, attempt, name

    @property
    def _end(self) -> tuple[int, float, str, str] | None:
        return self._ended if self._ended is not None and self._ended[:2] > self._again else None

    @property
    def session(self) -> str:
        """The one that started it last; empty where it never started, and in older journals."""
        return self._start[2]

    @property
    def round(self) -> int:
        """How often it was to be run again after it had failed for good."""
        return self._again[0]

    @property
    def outcome(self) -> str | None:
        """How it ended; None while unfinished.

        What the training process says comes first: a trial that had finished when the scheduler stopped it,
        or when its node died, has truly finished.
        """
        if self._finish is not None:
            return self._finish[2]
        return self._end[2] if self._end is not None else None

    @property
    def end_written(self) -> bool:
        """Whether the driver has noted the end, and not the training process alone."""
        return self._end is not None

    @property
    def audited(self) -> bool:
        """Whether it was to be stopped, and runs on by chance."""
        return self.stop is not None and self.stop.action == "audit"

    @property
    def done(self) -> bool:
        """Whether it never runs again."""
        return self.outcome is not None

    @property
    def cut_short(self) -> bool:
        """Whether the journal lacks measurements: whoever grokked, or did all steps, was measured at its end."""
        return self.outcome in ("grokked", "budget") and self.last_step < self.steps_trained

    @property
    def error(self) -> str | None:
        """Why it failed for good; of an unfinished trial, its newest failure."""
        if self._finish is not None:
            return None
        if self._end is not None and self._end[3]:
            return self._end[3]
        if self._failure is not None and self.outcome in (None, "failed"):
            return self._failure[2]
        return None

    @property
    def state(self) -> str:
        """`waiting`, `running` (as far as the journal knows: its process may be dead) or `ended`."""
        if self.done:
            return "ended"
        return "running" if self.attempt > 0 or self.started is not None or self.measurements else "waiting"

    @property
    def tracker(self) -> EventTracker:
        """Its events with what follows from them: `phase`, `grok_delay`, `grokked`."""
        return EventTracker(**self.events, last_step=self.last_step, diverged=self.outcome == "diverged")

    def task_tracker(self, task: str) -> EventTracker:
        """The same for one task of a multitask trial."""
        events = self.task_events.get(task, {})
        return EventTracker(**events, last_step=self.last_step, diverged=self.outcome == "diverged")

    @property
    def phase(self) -> str | None:
        """None where nothing was measured after a step, unless it diverged."""
        return self.tracker.phase if self.last_step or self.outcome == "diverged" else None
