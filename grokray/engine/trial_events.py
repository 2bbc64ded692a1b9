"""How far a trial is: its events over all rows, and where it learns several tasks, those of each task.

A trial of several tasks has grokked when it has over all rows, and so has every task of it (each sustained by itself);
its grok_step is then the last of these. Its other events are those over all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grokray.events import EventTracker


@dataclass(kw_only=True)
class TrialEvents:
    """`overall` over all rows; `tasks` by name, empty for a single task."""

    overall: EventTracker
    tasks: dict[str, EventTracker] = field(default_factory=dict)

    def observe(self, step: int, metrics: Mapping[str, float], tasks: Mapping[str, Mapping[str, float]]) -> None:
        """Take one evaluation, the whole and by task."""
        self.overall.observe(step, metrics["train_exact_match"], metrics["heldout_exact_match"])
        for name, tracker in self.tasks.items():
            tracker.observe(step, tasks[name]["train_exact_match"], tasks[name]["heldout_exact_match"])

    def diverge(self) -> None:
        for tracker in self._all:
            tracker.diverged = True

    @property
    def grokked(self) -> bool:
        return all(tracker.grokked for tracker in self._all)

    def state(self) -> dict[str, Any]:
        """The trial's events, with the fields of EventTracker."""
        events = self.overall.state()
        if not self.tasks or not self.overall.grokked:
            return events
        if not self.grokked:
            return events | {"grok_step": None, "grok_step_lower": None, "ungrok_step": None}
        last = max(self._all, key=lambda tracker: tracker.grok_step or 0)
        lost = self.overall.ungrok_step
        return events | {
            "grok_step": last.grok_step,
            "grok_step_lower": last.grok_step_lower,
            "ungrok_step": lost if lost is not None and lost > (last.grok_step or 0) else None,
        }

    def task_states(self) -> dict[str, dict[str, Any]]:
        """Each task's own events."""
        return {name: tracker.state() for name, tracker in self.tasks.items()}

    @property
    def _all(self) -> list[EventTracker]:
        return [self.overall, *self.tasks.values()]
