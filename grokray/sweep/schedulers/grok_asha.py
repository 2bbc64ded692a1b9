"""ASHA for grokking: a trial is never stopped on its held-out accuracy, which says nothing until it groks.

Rungs are ASHA's (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"). What happens at one:

- a trial that has not fitted its training pairs by `fit_by` is to be stopped: none groks before it has;
- one that has, but less than `patience` steps ago, goes on: generalisation comes long after memorization;
- one that has used up its patience is compared, by a signal of progress that can be seen before held-out accuracy
  moves, with those that were compared at this rung before, and is to be stopped if below their `stop_share` quantile.

Signals: `heldout_loss_slope`, −Δ log held-out loss / Δ log step since its rung before; `weight_norm_contraction`, the
same of the weight norm, which shrinks on the way to a general solution (Liu et al. 2023, "Omnigrok"); `fourier_gini`,
how few frequencies carry the embedding (Nanda et al. 2023). Of each, more is better.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from grokray.records.trial_state import Decision
from grokray.sweep.assignment import Report
from grokray.sweep.schedulers.audit import Audited, Verdict
from grokray.sweep.sections import SIGNAL_METRICS
from grokray.sweep.sections import GrokAsha as GrokAshaSection

FIT = "train_exact_match"


class GrokAsha(Audited, FIFOScheduler):
    """Its rungs are known to those that report at them."""

    def __init__(self, section: GrokAshaSection, *, record: Callable[..., Any], seed: int = 0) -> None:
        super().__init__()
        self.audit(fraction=section.audit_fraction, seed=seed, record=record)
        self._section, self._metric = section, SIGNAL_METRICS[section.signal]
        self._compared: dict[int, list[float]] = {}  # rung → the signal's values, in rising order
        self._fitted: dict[str, int] = {}  # trial → the step from which it counts as fitted
        self._before: dict[str, tuple[int, float]] = {}  # trial → step and metric at its newest rung

    def judge(self, trial_id: str, rung: int, report: Report) -> Verdict | None:
        fit, step, events = _number(report.metrics.get(FIT)), report.step, report.events
        if fit is None:
            return None
        fitted_step = self._fitted_step(trial_id, fit, step, events)
        known = {"raw": _number(report.metrics.get(self._metric)), "fitted_step": fitted_step}
        if events.get("grok_step") is not None:
            return Verdict(stop=False, reason="has grokked", **known)
        if fitted_step is None:
            late = step >= self._section.fit_by
            reason = "has not fitted its training pairs" if late else "has time left to fit its training pairs"
            cutoff = self._section.fit_threshold
            return Verdict(stop=late, reason=reason, metric=FIT, value=fit, cutoff=cutoff, **known)
        if step - fitted_step < self._section.patience:
            return Verdict(stop=False, reason="waits for grokking, within its patience", **known)
        return self._compare(trial_id, rung, step, known)

    def remember(self, decision: Decision) -> None:
        assert decision.rung is not None
        if decision.action != "continue":  # not asked again
            self._fitted.pop(decision.trial_id, None)
            self._before.pop(decision.trial_id, None)
        else:
            if decision.fitted_step is not None:
                self._fitted[decision.trial_id] = decision.fitted_step
            # The newest by its step: clocks may be set back between sessions.
            if decision.raw is not None and decision.step >= self._before.get(decision.trial_id, (0, 0.0))[0]:
                self._before[decision.trial_id] = decision.step, decision.raw
        if decision.metric == self._section.signal and decision.value is not None:
            insort(self._compared.setdefault(decision.rung, []), decision.value)

    def _fitted_step(self, trial_id: str, fit: float, step: int, events: Mapping[str, Any]) -> int | None:
        """Memorization, or else the first rung with enough accuracy. Who has been there has fitted, though accuracy
        may just be falling: at high weight decay it does now and then, for some hundred steps."""
        memorized = events.get("memorization_step")
        if memorized is not None:
            return memorized
        return self._fitted.get(trial_id, step if fit >= self._section.fit_threshold else None)

    def _compare(self, trial_id: str, rung: int, step: int, known: dict[str, Any]) -> Verdict:
        if known["raw"] is None:
            return Verdict(stop=False, reason=f"{self._metric} was not measured", **known)
        value = self._signal(trial_id, step, known["raw"])
        if value is None:
            return Verdict(stop=False, reason="no rung before to see its progress from", **known)
        others = self._compared.get(rung, [])
        enough = len(others) * self._section.stop_share >= 1
        cutoff = quantile(others, self._section.stop_share) if enough else None
        stop = cutoff is not None and value < cutoff
        if cutoff is None:
            reason = "too few were compared at its rung"
        else:
            reason = "among the least progress of its rung" if stop else "progress enough for its rung"
        return Verdict(stop=stop, reason=reason, metric=self._section.signal, value=value, cutoff=cutoff, **known)

    def _signal(self, trial_id: str, step: int, raw: float) -> float | None:
        """None where there is nothing to see a change from."""
        if self._section.signal == "fourier_gini":
            return raw
        before_step, before = self._before.get(trial_id, (step, raw))
        if before_step >= step or min(before, raw) <= 0:
            return None
        return -math.log(raw / before) / math.log(step / before_step)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of numbers in rising order, interpolated as numpy.quantile does. [1, 2, 4] at 0.75 → 3"""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
