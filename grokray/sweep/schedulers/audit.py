"""Schedulers that stop trials, and the audit of what they do: some of those to be stopped run on, chosen at random.

What becomes of the audited trials says how often a scheduler stops a trial that would have grokked. Weighted by the
inverse of their probability they stand for all that it stopped (Horvitz and Thompson 1952, "A Generalization of
Sampling Without Replacement From a Finite Universe").
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import TrialScheduler

from grokray.records.trial_state import Decision
from grokray.sweep.assignment import Report
from grokray.sweep.messages import report_of
from grokray.sweep.tune_loop import InOrder
from grokray.sweep.unsaved import Unsaved


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a scheduler wants at a rung, and why. `value`, `cutoff`, `raw` and `fitted_step` are as `Decision` has
    them."""

    stop: bool
    reason: str
    metric: str | None = None
    value: float | None = None
    cutoff: float | None = None
    raw: float | None = None
    fitted_step: int | None = None


class Audited(InOrder, Unsaved, ABC):
    """Stands before a scheduler of Tune among the bases of ours, which says what it wants in `judge`.

    Here it is written down, and once for a trial, when it is first to be stopped, a lot is drawn: with the probability
    `fraction` it runs on to its budget and is never asked again. Trials are known by grokray's ids, so that rungs
    outlive a session.
    """

    def audit(self, *, fraction: float, seed: int, record: Callable[..., Any]) -> None:
        """To be called once, first. `record(**fields)` takes every decision, as the journal's event has it."""
        self._fraction, self._seed, self._record = fraction, seed, record
        self._passed: dict[str, int] = {}  # trial → the highest rung that let it pass
        self._audited: set[str] = set()

    @abstractmethod
    def judge(self, trial_id: str, rung: int, report: Report) -> Verdict | None:
        """What to do with a trial that is at a rung for the first time; None if nothing can be said."""

    @abstractmethod
    def remember(self, decision: Decision) -> None:
        """Take in what was decided: by this scheduler just now, or by another one in an earlier session."""

    def refill(self, decisions: Iterable[Decision]) -> None:
        """Put back what was decided in earlier sessions, in order of time."""
        for decision in decisions:
            self._take(decision)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = report_of(result) if result.get("rung") is not None else None
        if report is None or report.rung is None:
            return TrialScheduler.CONTINUE
        trial_id, rung = report.trial_id, report.rung
        # Below a rung that let it pass are those to which it came back, from a checkpoint before them.
        if trial_id in self._audited or rung <= self._passed.get(trial_id, 0):
            return TrialScheduler.CONTINUE
        verdict = self.judge(trial_id, rung, report)
        if verdict is None:
            return TrialScheduler.CONTINUE
        fields = self._fields(verdict, report)
        self._record(**fields)
        self._take(Decision(t=time.time(), **fields))
        return TrialScheduler.STOP if fields["action"] == "stop" else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial that has ended was compared at its rungs already."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing is kept per Tune trial."""

    def _fields(self, verdict: Verdict, report: Report) -> dict[str, Any]:
        more = {"raw": verdict.raw, "fitted_step": verdict.fitted_step}
        action = "continue"
        if verdict.stop:
            action = "audit" if lot(self._seed, report.trial_id) < self._fraction else "stop"
            more["audit_probability"] = self._fraction
        return {
            "trial_id": report.trial_id,
            "step": report.step,
            "rung": report.rung,
            "action": action,
            "metric": verdict.metric,
            "value": verdict.value,
            "cutoff": verdict.cutoff,
            "reason": verdict.reason,
            **{name: value for name, value in more.items() if value is not None},
        }

    def _take(self, decision: Decision) -> None:
        if decision.rung is None:
            return
        self._passed[decision.trial_id] = max(self._passed.get(decision.trial_id, 0), decision.rung)
        if decision.action == "audit":
            self._audited.add(decision.trial_id)
        self.remember(decision)


def lot(seed: int, trial_id: str) -> float:
    """A number in [0, 1) drawn by the sweep's seed and the trial's id alone, whenever and wherever it is drawn."""
    digest = hashlib.sha256(f"{seed}/audit/{trial_id}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
