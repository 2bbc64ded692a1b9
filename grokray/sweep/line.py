"""The line before an engine's seats. Knows neither Ray nor Tune.

A seat that becomes free would wait for the driver to hear of it and to send somebody: so an engine is sent more trials
than it trains, and the next in line sits down between two turns. A trial that waits for a decision at a rung does not
train, and somebody else may meanwhile; once it may go on it is the next in line, before all that have not begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from grokray.errors import FolderError
from grokray.sweep.assignment import Assignment, Report
from grokray.sweep.trainer import Trainer


class Line:
    """At most `seats` trials train at a time. `failed(trial_id, error)` is told of one that could not be seated: it
    has left the line, and the others go on."""

    def __init__(self, trainer: Trainer, *, seats: int, failed: Callable[[str, Exception], None]) -> None:
        self.trainer, self.seats, self._failed = trainer, seats, failed
        self._going_on: deque[str] = deque()
        self._coming: deque[Assignment] = deque()
        self._broken: FolderError | None = None

    def start(self, assignment: Assignment) -> None:
        """Seat the trial when its turn has come."""
        self._coming.append(assignment)
        self._fill()

    def turn(self, should_yield: Callable[[], bool]) -> list[Report]:
        if self._broken is not None:
            raise self._broken
        reports = self.trainer.turn(should_yield)
        if reports:
            self._fill()
        return reports

    def proceed(self, trial_id: str) -> None:
        """The trial, which waits at a rung, may train on."""
        self._going_on.append(trial_id)
        self._fill()

    def stop(self, trial_id: str, *, save: bool) -> Future[None] | None:
        """Take the trial away, wherever it is; idempotent. One that has not begun leaves nothing behind. What may be
        waited for is the trainer's."""
        self._going_on = deque(t for t in self._going_on if t != trial_id)
        self._coming = deque(a for a in self._coming if a.trial_id != trial_id)
        deleted = self.trainer.stop(trial_id, save=save)
        self._fill()
        return deleted

    def save_all(self) -> int:
        """Checkpoint every trial that has begun; how many."""
        return self.trainer.save_all()

    @property
    def waiting(self) -> int:
        """How many have no seat yet."""
        return len(self._coming)

    @property
    def busy(self) -> bool:
        """Whether any trial trains, or a turn would say why none can."""
        return self.trainer.busy or self._broken is not None

    def _fill(self) -> None:
        while self.trainer.training < self.seats and (self._going_on or self._coming):
            if self._going_on:
                self.trainer.proceed(self._going_on.popleft())
                continue
            assignment = self._coming.popleft()
            try:
                self.trainer.start(assignment)
            except FolderError as error:  # nobody can be seated, and whoever trains trains in vain
                self._broken = error
                return
            except Exception as error:
                self._failed(assignment.trial_id, error)
