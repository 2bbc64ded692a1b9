"""From events to runs: each trial becomes one run of a tracker, each of its measurements one point of that run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from grokray.tracking.base import NOTHING_YET, Event, Fold, MakeFold, Point, point_of
from grokray.tracking.logged import Logged

MAX_LIVE = 200  # runs held open at once; further trials wait in memory, and are written when they end
PATIENCE_S = 5.0  # for measurements that a remote store shows later than the trial's end


class Backend(Protocol):
    """One kind of tracker. A run is whatever `open` returns."""

    name: str
    remembers: bool  # whether `open` knows what a run holds, better than what was noted here

    def open(self, fold: Fold) -> tuple[Any, int]:
        """A run without what a killed session left of it, and, if it remembers, the last step that it holds already."""
        ...

    def log(self, run: Any, points: Sequence[Point]) -> None:
        """Write points, by rising steps, each once. If this process is killed they may be lost."""
        ...

    def finish(self, run: Any, fold: Fold) -> None:
        """The trial has ended."""
        ...

    def leave(self, run: Any) -> None:
        """The session ends before the trial does. Afterwards its points are safe, as they are after `finish`."""
        ...

    def close(self) -> None:
        """Nothing more comes. Called once, also after something went wrong."""
        ...


@dataclass(kw_only=True)
class _Trial:
    fold: Fold
    run: Any = None
    logged: int = NOTHING_YET  # the highest step that was written
    points: dict[int, Point] = field(default_factory=dict)  # not written yet
    steps: set[int] = field(default_factory=set)  # of all its measurements
    ended: float | None = None  # when its end was read, on `clock`


class TrialTracker:
    """A `Tracker` that writes each trial to a backend, every step of it once, whatever was computed twice."""

    def __init__(
        self,
        backend: Backend,
        logged: Logged,
        make_fold: MakeFold,
        *,
        max_live: int = MAX_LIVE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend, self.logged, self.make_fold = backend, logged, make_fold
        self.max_live, self.clock = max_live, clock
        self.name, self.written = backend.name, 0
        self._sessions: list[Event] = []
        self._trials: dict[str, _Trial] = {}
        self._touched: set[str] = set()
        self._live = 0

    def observe(self, event: Event) -> None:
        if event["event"] == "sweep":
            self._sessions.append(event)
            for trial in self._trials.values():
                trial.fold.apply(event)
            return
        trial_id = event.get("trial_id")
        if not isinstance(trial_id, str) or trial_id in self.logged.ended:
            return
        trial = self._trials.get(trial_id) or self._begin(trial_id)
        trial.fold.apply(event)
        self._touched.add(trial_id)
        if event["event"] == "measurement":
            trial.steps.add(event["step"])
            if event["step"] > trial.logged:
                trial.points[event["step"]] = point_of(event)
        if not trial.fold.ended:
            trial.ended = None  # a failed one that runs again
        elif trial.ended is None:
            trial.ended = self.clock()

    def settle(self, *, whole: bool) -> None:
        for trial_id in sorted(self._touched, key=self._order):
            trial = self._trials[trial_id]
            complete = trial.ended is not None and self._is_complete(trial, whole)
            if complete or whole:
                self._write(trial_id, trial, complete)
            if complete or (whole and trial.ended is None):
                self._touched.discard(trial_id)

    def close(self) -> None:
        try:
            self._write_rest()
        finally:
            self.abandon()

    def abandon(self) -> None:
        self.logged.close()
        self.backend.close()

    def _write_rest(self) -> None:
        for trial_id in sorted(self._trials, key=self._order):
            trial = self._trials[trial_id]
            self._write(trial_id, trial, trial.ended is not None)
            if trial.ended is None and trial.run is not None:
                self.backend.leave(trial.run)
                self.logged.up_to(trial_id, trial.logged)

    def _begin(self, trial_id: str) -> _Trial:
        noted = NOTHING_YET if self.backend.remembers else self.logged.steps.get(trial_id, NOTHING_YET)
        trial = self._trials[trial_id] = _Trial(fold=self.make_fold(), logged=noted)
        for session in self._sessions:
            trial.fold.apply(session)
        return trial

    def _order(self, trial_id: str) -> tuple[int, str]:
        index = self._trials[trial_id].fold.index
        return (-1 if index is None else index, trial_id)

    def _is_complete(self, trial: _Trial, whole: bool) -> bool:
        """Whether all measurements of an ended trial have been read.

        Its end may be read before its last measurements, which another process wrote to another part. In the middle of
        a journal only a curve without a gap will do, up to a step that is known: of who failed it is not. At its end,
        the last step, or some patience.
        """
        if trial.fold.config is None:
            return False
        end, last = trial.fold.end_step, trial.fold.last_step
        if last >= end and (whole or (end and self._has_no_gap(trial))):
            return True
        return whole and trial.ended is not None and self.clock() - trial.ended > PATIENCE_S

    def _has_no_gap(self, trial: _Trial) -> bool:
        interval = (trial.fold.config or {}).get("eval_interval")
        return bool(interval) and len(trial.steps - {0}) >= math.ceil(trial.fold.last_step / interval)

    def _write(self, trial_id: str, trial: _Trial, ended: bool) -> None:
        if trial.fold.config is None or not (ended or trial.points):
            return
        if trial.run is None:
            if self._live >= self.max_live and not ended:
                return
            trial.run, held = self.backend.open(trial.fold)
            trial.logged = max(trial.logged, held)
            self._live += 1
        self._log(trial)
        if ended:
            self.backend.finish(trial.run, trial.fold)
            self.logged.end(trial_id, trial.logged)
            del self._trials[trial_id]
            self._live -= 1
            self.written += 1

    def _log(self, trial: _Trial) -> None:
        points = [trial.points[step] for step in sorted(trial.points) if step > trial.logged]
        trial.points.clear()
        if points:
            self.backend.log(trial.run, points)
            trial.logged = points[-1].step
            self.written += len(points)
