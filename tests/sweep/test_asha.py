from __future__ import annotations

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from grokray.records.trial_state import Decision
from grokray.sweep.assignment import Report
from grokray.sweep.messages import as_result
from grokray.sweep.schedulers.asha import Asha
from grokray.sweep.sections import Asha as Section


def decide(scheduler, trial, rung, **metrics):
    report = Report(trial_id=trial, step=rung, metrics=metrics, events={}, wall_time_s=0.0, rung=rung)
    return scheduler.on_trial_result(None, None, as_result(report))


def make(record=lambda **fields: None, **section):
    settings = {"type": "asha", "grace_period": 100, "reduction_factor": 2, "audit_fraction": 0} | section
    return Asha(Section(**settings), max_steps=1000, record=record)


def test_rungs_lie_below_the_budget():
    assert Section(type="asha", grace_period=2000, reduction_factor=3).rungs(20_000) == (2000, 6000, 18_000)
    assert Section(type="asha", grace_period=2000, reduction_factor=3).rungs(2000) == ()


def test_the_worse_half_is_stopped_and_every_decision_is_recorded():
    written = []
    scheduler = make(lambda **fields: written.append(fields))
    actions = [decide(scheduler, t, 100, heldout_exact_match=v) for t, v in [("a", 0.5), ("b", 0.1), ("c", 0.9)]]
    assert actions == [TrialScheduler.CONTINUE, TrialScheduler.STOP, TrialScheduler.CONTINUE]
    assert [w["action"] for w in written] == ["continue", "stop", "continue"]
    assert written[1] | {"reason": ""} == {
        "trial_id": "b",
        "step": 100,
        "rung": 100,
        "action": "stop",
        "metric": "heldout_exact_match",
        "value": 0.1,
        "cutoff": 0.5,
        "reason": "",
        "audit_probability": 0.0,
    }


def test_trials_are_compared_at_each_rung_below_the_budget():
    """Tune's brackets reckon their rungs by logarithms of the budget, the section its own by products."""
    section = Section(type="asha", grace_period=1000, reduction_factor=10, audit_fraction=0)
    scheduler = Asha(section, max_steps=1_000_001, record=lambda **fields: None)
    for rung in section.rungs(1_000_001):
        assert decide(scheduler, "a", rung, heldout_exact_match=0.9) == TrialScheduler.CONTINUE
        assert decide(scheduler, f"worse {rung}", rung, heldout_exact_match=0.1) == TrialScheduler.STOP
    assert rung == 1_000_000


def test_a_loss_is_minimized():
    scheduler = make(metric="heldout_loss")
    assert decide(scheduler, "a", 100, heldout_loss=1.0) == TrialScheduler.CONTINUE
    assert decide(scheduler, "b", 100, heldout_loss=2.0) == TrialScheduler.STOP
    assert decide(scheduler, "c", 100, heldout_loss=0.5) == TrialScheduler.CONTINUE


def test_refilled_rungs_decide_as_before():
    whole, written = make(), []
    whole._record = lambda **fields: written.append(fields)
    values = [0.3, 0.8, 0.2, 0.6, 0.9]
    for i, v in enumerate(values):
        decide(whole, f"t{i}", 100, heldout_exact_match=v)
    resumed = make()
    resumed.refill(Decision(t=0.0, **w) for w in written)
    for v in (0.1, 0.55, 0.95):
        assert decide(whole, f"new{v}", 100, heldout_exact_match=v) == decide(
            resumed, f"new{v}", 100, heldout_exact_match=v
        )


def test_a_trial_that_comes_back_to_a_rung_is_not_judged_again():
    written = []
    scheduler = make(lambda **fields: written.append(fields))
    decide(scheduler, "a", 100, heldout_exact_match=0.5)
    decide(scheduler, "b", 100, heldout_exact_match=0.9)
    assert decide(scheduler, "a", 100, heldout_exact_match=0.5) == TrialScheduler.CONTINUE
    assert len(written) == 2


def test_between_rungs_and_without_a_number_a_trial_goes_on():
    written = []
    scheduler = make(lambda **fields: written.append(fields))
    decide(scheduler, "a", 100, heldout_exact_match=0.9)
    assert decide(scheduler, "b", None, heldout_exact_match=0.0) == TrialScheduler.CONTINUE
    assert decide(scheduler, "c", 100, heldout_exact_match=float("nan")) == TrialScheduler.CONTINUE
    assert decide(scheduler, "d", 100) == TrialScheduler.CONTINUE
    assert [w["trial_id"] for w in written] == ["a"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_trial_that_equals_the_cutoff_goes_on_however_it_was_rounded(sign):
    values = [0.01 * i for i in range(10)]
    cutoff = np.nanpercentile(values, (1 - 1 / 3) * 100)
    assert 0.06 < cutoff < 0.06 + 1e-12  # between two that are 0.06, so to speak
    metric = "heldout_exact_match" if sign > 0 else "heldout_loss"
    scheduler = make(reduction_factor=3, metric=metric)
    for number, value in enumerate(sorted(values, reverse=True)):  # a better one first, so that none is stopped before
        scheduler.remember(decision(f"t{number}", sign * value))
    assert decide(scheduler, "equal", 100, **{metric: sign * 0.06}) == TrialScheduler.CONTINUE
    assert decide(scheduler, "below", 100, **{metric: sign * 0.0599}) == TrialScheduler.STOP


def decision(trial: str, value: float) -> Decision:
    return Decision(t=0.0, trial_id=trial, step=100, action="continue", rung=100, value=value)
