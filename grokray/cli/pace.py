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
        """An estimate: every trial takes as many steps as those that have ended, on average.

        Trials that grok early end first, so before half of them have ended each is taken to need its whole budget.
        4 trials of 1,000 steps at most, two ended after 600 each, 1,500 steps in all: 900 are left, 9 s at 100
        steps per second.
        """
        rate = self.steps_per_s
        if rate is None:
            return None
        mean = float(self.budget)
        if progress.ended * 2 >= progress.total:
            mean = min(mean, progress.ended_steps / progress.ended)
        return max(progress.total * mean - progress.steps, 0.0) / rate
