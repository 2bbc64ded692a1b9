"""Of the trials that a scheduler would stop, some run on: chosen by lot, once each, whoever asks and in which order."""

from __future__ import annotations

import pytest
from ray.tune.schedulers import TrialScheduler

from grokray.records.trial_state import Decision
from grokray.sweep.assignment import Report
from grokray.sweep.messages import as_result
from grokray.sweep.schedulers.asha import Asha
from grokray.sweep.schedulers.audit import lot
from grokray.sweep.sections import Asha as Section

IDS = [f"trial{i}" for i in range(400)]


def make(written, fraction=0.3, seed=7):
    section = Section(type="asha", grace_period=100, reduction_factor=2, audit_fraction=fraction)
    return Asha(section, max_steps=1000, record=lambda **fields: written.append(fields), seed=seed)


def ask(scheduler, trial, value, rung=100):
    metrics = {"heldout_exact_match": value}
    report = Report(trial_id=trial, step=rung, metrics=metrics, events={}, wall_time_s=0.0, rung=rung)
    return scheduler.on_trial_result(None, None, as_result(report))


def falling(scheduler, ids, rung=100):
    """Each trial worse than all before it, so that all but the first are to be stopped."""
    return [ask(scheduler, trial, 1 - i / 1000, rung) for i, trial in enumerate(ids)]


def test_as_many_as_asked_for_are_audited_and_the_others_stopped():
    written = []
    actions = falling(make(written), IDS)
    assert {w["action"] for w in written[1:]} == {"stop", "audit"}
    audited = [w for w in written if w["action"] == "audit"]
    assert 400 * 0.3 - 4 * 9.2 < len(audited) < 400 * 0.3 + 4 * 9.2  # within four standard deviations
    assert all(w["audit_probability"] == 0.3 for w in written[1:])
    assert "audit_probability" not in written[0]
    assert [a == TrialScheduler.STOP for a in actions] == [w["action"] == "stop" for w in written]


def test_the_lot_depends_on_seed_and_trial_and_on_nothing_else():
    one, other, third = [], [], []
    falling(make(one), IDS)
    falling(make(other), IDS[::-1])
    falling(make(third, seed=8), IDS)
    chosen, again, by_another_seed = (
        {w["trial_id"] for w in written if w["action"] == "audit"} for written in (one, other, third)
    )
    assert chosen - {IDS[0], IDS[-1]} == again - {IDS[0], IDS[-1]}
    assert chosen != by_another_seed


@pytest.mark.parametrize(("fraction", "action"), [(0.0, "stop"), (1.0, "audit")])
def test_none_or_all(fraction, action):
    written = []
    falling(make(written, fraction), IDS[:50])
    assert {w["action"] for w in written[1:]} == {action}


def test_lots_are_evenly_spread():
    lots = sorted(lot(0, trial) for trial in IDS)
    assert max(abs(x - (i + 0.5) / 400) for i, x in enumerate(lots)) < 1.63 / 20  # Kolmogorov–Smirnov at 1 %


def test_an_audited_trial_is_never_asked_again_and_counts_in_no_later_comparison():
    written = []
    scheduler = make(written, 1.0)
    falling(scheduler, ["good", "bad"])
    assert written[-1]["action"] == "audit"
    assert ask(scheduler, "bad", 0.0, rung=200) == TrialScheduler.CONTINUE
    assert len(written) == 2
    assert ask(scheduler, "good", 0.1, rung=200) == TrialScheduler.CONTINUE
    assert written[-1]["cutoff"] is None  # the first to be compared there


def test_a_resumed_sweep_neither_audits_nor_stops_a_trial_again():
    written, later = [], []
    falling(make(written), IDS[:50])
    resumed = make(later)
    resumed.refill(Decision(t=0.0, **w) for w in written)
    again = falling(resumed, IDS[:50])
    assert set(again) == {TrialScheduler.CONTINUE}
    assert later == []
    audited = next(w["trial_id"] for w in written if w["action"] == "audit")
    assert ask(resumed, audited, 0.0, rung=400) == TrialScheduler.CONTINUE
    assert later == []
