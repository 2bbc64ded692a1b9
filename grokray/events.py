"""Memorization, grokking and phases, read off a curve one evaluation at a time.

Definitions: docs/design.md, "Events". Accuracies are exact match of the whole answer. Every event is known only to
an interval: it lies in (the evaluation before, this evaluation], so its lower bound is kept beside it.

Phases follow Liu et al. 2022, "Towards Understanding Grokking": confusion, memorization, grokking, comprehension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Phase = Literal["confusion", "memorization", "comprehension", "grokking", "diverged"]
PHASES: tuple[str, ...] = get_args(Phase)
# How a trial ends: by itself, or because somebody ended it.
OUTCOMES = ("grokked", "budget", "pruned", "diverged", "failed", "stopped")

UNGROK_ACCURACY = 0.9
PHASE_ACCURACY = 0.9
PHASE_GAP_STEPS = 1_000


@dataclass(kw_only=True)
class EventTracker:
    """Feeds on evaluations in rising order of steps; its fields are the events seen so far.

    A worked example with sustain=2: held-out 0.2 at step 100, 1.0 at 200, 1.0 at 300 gives
    grok_step 200, grok_step_lower 100; `grokked` turns true at step 300.
    """

    threshold: float = 0.99
    sustain: int = 3
    last_step: int = 0
    memorization_step: int | None = None
    memorization_step_lower: int | None = None
    grok_step: int | None = None
    grok_step_lower: int | None = None
    ungrok_step: int | None = None
    train_phase_step: int | None = None
    heldout_phase_step: int | None = None
    diverged: bool = False
    # The evaluations of the streak that may yet become a grok_step: its first step, the step before, its length.
    streak_step: int | None = None
    streak_lower: int | None = None
    streak: int = 0

    def observe(self, step: int, train_accuracy: float, heldout_accuracy: float) -> None:
        """Take one evaluation: exact match on the training and on the held-out pairs, both in [0, 1].

        One at step 0 is no event and begins no streak: nothing has been learned yet, and what weights of another trial
        know is seen at the first measurement as well.
        """
        if step == 0:
            return
        if train_accuracy >= self.threshold and self.memorization_step is None:
            self.memorization_step, self.memorization_step_lower = step, self.last_step
        if train_accuracy >= PHASE_ACCURACY and self.train_phase_step is None:
            self.train_phase_step = step
        if heldout_accuracy >= PHASE_ACCURACY and self.heldout_phase_step is None:
            self.heldout_phase_step = step
        if self.grok_step is None:
            self._watch_for_grokking(step, heldout_accuracy)
        elif heldout_accuracy < min(UNGROK_ACCURACY, self.threshold) and self.ungrok_step is None:
            self.ungrok_step = step
        self.last_step = step

    def _watch_for_grokking(self, step: int, heldout_accuracy: float) -> None:
        # Sustained over several evaluations: one spike is not grokking.
        if heldout_accuracy < self.threshold:
            self.streak, self.streak_step, self.streak_lower = 0, None, None
            return
        if self.streak == 0:
            self.streak_step, self.streak_lower = step, self.last_step
        self.streak += 1
        if self.streak >= self.sustain:
            self.grok_step, self.grok_step_lower = self.streak_step, self.streak_lower

    @property
    def grokked(self) -> bool:
        return self.grok_step is not None

    @property
    def grok_delay(self) -> int | None:
        """Steps from memorization to grokking; negative where held-out accuracy came first."""
        if self.grok_step is None or self.memorization_step is None:
            return None
        return self.grok_step - self.memorization_step

    @property
    def phase(self) -> Phase:
        if self.diverged:
            return "diverged"
        if self.train_phase_step is None:
            return "confusion"
        if self.heldout_phase_step is None:
            return "memorization"
        gap = self.heldout_phase_step - self.train_phase_step
        return "grokking" if gap >= PHASE_GAP_STEPS else "comprehension"

    def state(self) -> dict[str, Any]:
        """Plain values, enough to go on from with `EventTracker(**state)`."""
        return dict(vars(self))
