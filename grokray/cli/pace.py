"""How fast a sweep goes, and how long it may still take."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokray.sweep.progress import Progress

WINDOW_S = 30.0


class Pace:
    """Feeds on progress; `budget` is the most steps that a trial may take."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._seen: deque[tuple[float, int]] = deque()  # (seconds, steps over all trials)

    def add(self, now: float, steps: int) -> None:
        self._seen.append((now, steps))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()

    @property
    def steps_per_s(self) -> float | None:
        """Trial-steps per second over the last half minute; None until something moved."""
        if len(self._seen) < 2:
            return None
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first and after > before else None

    def seconds_left(self, progress: Progress) -> float | None:
        """An estimate: trials to come take as many steps as those before, a running one being halfway on average.

        Until a trial has ended, each is taken to need its whole budget. 4 trials of 1,000 steps at most, one ended
        and two running with 1,200 steps in all: 600 a trial, so 1,200 are left, 12 s at 100 steps per second.
        """
        rate = self.steps_per_s
        if rate is None:
            return None
        mean = float(self.budget)
        if progress.ended:
            mean = min(mean, progress.steps / (progress.ended + progress.running / 2))
        return max(progress.total * mean - progress.steps, 0.0) / rate
