"""ASHA (Li et al. 2020) as Tune has it, with training steps as its time, and every decision written down.

At each rung a trial goes on if it is among the best 1/reduction_factor of those that reached the rung so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from grokray.records.trial_state import Decision
from grokray.sweep.assignment import Report
from grokray.sweep.schedulers.audit import Audited, Verdict
from grokray.sweep.sections import Asha as AshaSection


class Asha(Audited, AsyncHyperBandScheduler):
    """Tune's brackets and cutoffs."""

    def __init__(self, section: AshaSection, *, max_steps: int, record: Callable[..., Any], seed: int = 0) -> None:
        super().__init__(
            time_attr="step",
            metric=section.metric,
            mode="min" if section.goal == "minimize" else "max",
            max_t=max(max_steps, section.grace_period + 1),
            grace_period=section.grace_period,
            reduction_factor=section.reduction_factor,
        )
        self.audit(fraction=section.audit_fraction, seed=seed, record=record)
        self._section = section
        self._sign = -1.0 if section.goal == "minimize" else 1.0

    def judge(self, trial_id: str, rung: int, report: Report) -> Verdict | None:
        value = report.metrics.get(self._section.metric)
        if value is None or not math.isfinite(value):
            return None
        cutoff = self._bracket.cutoff(dict(self._bracket._rungs).get(rung, {}))
        action = self._bracket.on_result(SimpleNamespace(trial_id=trial_id), rung, self._sign * value)
        # Tune interpolates, which may round the cutoff to just above the values that it lies between.
        at_cutoff = cutoff is not None and math.isclose(self._sign * value, cutoff, rel_tol=1e-12)
        stop = action == TrialScheduler.STOP and not at_cutoff
        return Verdict(
            stop=stop,
            reason="below the cutoff of its rung" if stop else "among the best of its rung",
            metric=self._section.metric,
            value=value,
            cutoff=None if cutoff is None else self._sign * float(cutoff),
        )

    def remember(self, decision: Decision) -> None:
        recorded = dict(self._bracket._rungs).get(decision.rung)
        if recorded is not None and decision.value is not None:
            recorded[decision.trial_id] = self._sign * decision.value

    @property
    def _bracket(self) -> Any:
        return self._brackets[0]
