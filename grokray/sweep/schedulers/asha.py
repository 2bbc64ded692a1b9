"""ASHA (Li et al. 2020) as Tune has it, with training steps as its time, and every decision written down.

At each rung a trial goes on if it is among the best 1/reduction_factor of those that reached the rung so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from grokray.records.state import Decision
from grokray.sweep.messages import report_of
from grokray.sweep.sections import Asha as AshaSection
from grokray.sweep.unsaved import Unsaved


class Asha(Unsaved, AsyncHyperBandScheduler):
    """Decides at rungs only, and knows trials by grokray's ids, so that rungs outlive a session."""

    def __init__(self, section: AshaSection, *, max_steps: int, record: Callable[..., Any]) -> None:
        super().__init__(
            time_attr="step",
            metric=section.metric,
            mode="min" if section.goal == "minimize" else "max",
            max_t=max(max_steps, section.grace_period + 1),
            grace_period=section.grace_period,
            reduction_factor=section.reduction_factor,
        )
        self._section, self._record = section, record
        self._sign = -1.0 if section.goal == "minimize" else 1.0

    def refill(self, decisions: Iterable[Decision]) -> None:
        """Put back what was compared in earlier sessions."""
        recorded = dict(self._bracket._rungs)
        for d in decisions:
            if d.rung in recorded and d.value is not None:
                recorded[d.rung][d.trial_id] = self._sign * d.value

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = report_of(result) if result.get("rung") is not None else None
        value = report.metrics.get(self._section.metric) if report is not None else None
        if report is None or report.rung is None or value is None or not math.isfinite(value):
            return TrialScheduler.CONTINUE
        trial_id, rung = report.trial_id, report.rung
        recorded = dict(self._bracket._rungs).get(rung, {})
        if trial_id in recorded:  # it came back to a rung that let it pass, from a checkpoint before it
            return TrialScheduler.CONTINUE
        cutoff = self._bracket.cutoff(recorded)
        action = self._bracket.on_result(SimpleNamespace(trial_id=trial_id), rung, self._sign * value)
        stop = action == TrialScheduler.STOP
        self._record(
            trial_id=trial_id,
            step=report.step,
            rung=rung,
            action="stop" if stop else "continue",
            metric=self._section.metric,
            value=value,
            cutoff=None if cutoff is None else self._sign * float(cutoff),
            reason="below the cutoff of its rung" if stop else "among the best of its rung",
        )
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial that has ended was compared at its rungs already."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing is kept per Tune trial."""

    @property
    def _bracket(self) -> Any:
        return self._brackets[0]
