"""How fast a sweep goes, and how long it may still take."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokray.sweep.progress import Progress

WINDOW_S = 30.0


class Pace:
    """Feeds on progress; `budget` is the most steps that a trial may take."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._seen: deque[tuple[float, int, int]] = deque()  # seconds, steps of all trials, how many ended early

    def add(self, now: float, progress: Progress) -> None:
        self._seen.append((now, progress.steps, _ended_early(progress)))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()

    @property
    def steps_per_s(self) -> float | None:
        """Trial-steps per second over the last half minute; None until something moved."""
        if len(self._seen) < 2:
            return None
        (first, before, _), (last, after, _) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first and after > before else None

    def seconds_left(self, progress: Progress) -> float | None:
        """An estimate. Trials end before their budget at a rate per step: those that wait as all have done so far,
        those that run as in the last half minute, since who is left when the quick ones have ended is not quick.

        4 trials of 1,000 steps at most, two of which have run 600 each: 2,800 steps are left if none has ended, 28 s
        at 100 steps per second.
        """
        rate = self.steps_per_s
        if rate is None:
            return None
        (_, steps, early), (_, steps_now, early_now) = self._seen[0], self._seen[-1]
        live = max(progress.running, 1)
        done = min((progress.steps - progress.ended_steps) / live, float(self.budget))
        running = _expected(self.budget - done, (early_now - early) / (steps_now - steps))
        waiting = _expected(float(self.budget), _ended_early(progress) / max(progress.steps, 1))
        return (progress.running * running + progress.waiting * waiting) / rate


def _ended_early(progress: Progress) -> int:
    """How many trials ended before their budget, for whatever reason."""
    return progress.ended - progress.outcomes.get("budget", 0)


def _expected(most: float, per_step: float) -> float:
    """Steps until a trial ends, of `most`, if it may end at any of them with equal chance."""
    return -math.expm1(-per_step * most) / per_step if per_step > 0 else most
