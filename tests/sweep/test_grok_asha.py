"""grok_asha: who waits is left alone, who cannot fit or makes no progress is stopped, and a restart changes nothing."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from grokray.records.state import SweepState
from grokray.records.trial_state import Decision
from grokray.sweep.assignment import Report
from grokray.sweep.messages import as_result
from grokray.sweep.schedulers.grok_asha import GrokAsha, quantile
from grokray.sweep.sections import GrokAsha as Section

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


def make(written=None, **section):
    written = [] if written is None else written
    settings = {"type": "grok_asha", "grace_period": 100, "audit_fraction": 0.0} | section
    return GrokAsha(Section(**settings), record=lambda **fields: written.append(fields))


def report(trial, rung, *, fit=1.0, loss=1.0, memorized=50, grokked=None, **more):
    metrics = {"train_exact_match": fit, "heldout_loss": loss, "heldout_exact_match": 0.0, **more}
    events = {"memorization_step": memorized, "grok_step": grokked}
    return as_result(Report(trial_id=trial, step=rung, metrics=metrics, events=events, wall_time_s=0.0, rung=rung))


def ask(scheduler, trial, rung, **values):
    return scheduler.on_trial_result(None, None, report(trial, rung, **values))


def test_defaults_follow_the_grace_period():
    section = Section(type="grok_asha", grace_period=500)
    assert (section.patience, section.fit_by, section.reduction_factor) == (500, 500, 2)
    assert section.rungs(4000) == (500, 1000, 2000)


def test_who_has_not_fitted_in_time_is_stopped():
    written = []
    scheduler = make(written, fit_by=200)
    assert ask(scheduler, "a", 100, fit=0.5, memorized=None) == CONTINUE
    assert ask(scheduler, "a", 200, fit=0.89, memorized=None) == STOP
    assert written[0]["reason"] == "has time left to fit its training pairs"
    expected = {"metric": "train_exact_match", "value": 0.89, "cutoff": 0.9, "action": "stop"}
    assert written[1] | expected == written[1]
    assert written[1]["reason"] == "has not fitted its training pairs"


def test_who_waits_between_memorization_and_grokking_goes_on_whatever_the_others_do():
    """The trial of a textbook: memorized at 50, its held-out loss rises all the time, and its patience is long."""
    written = []
    scheduler = make(written, patience=1600)
    for rung in (100, 200, 400, 800, 1600):
        for other in range(4):
            ask(scheduler, f"better{other}", rung, loss=100 / rung)
        assert ask(scheduler, "waits", rung, loss=rung) == CONTINUE
    assert {w["reason"] for w in written} == {"waits for grokking, within its patience"}
    assert all(w["value"] is None for w in written)


def test_past_its_patience_the_slower_half_is_stopped():
    """Slopes −Δ log loss / Δ log step from 100 to 200: 2, 1, 0, −1 for losses that fall to a quarter … double."""
    written = []
    scheduler = make(written)
    losses = {"a": 0.25, "b": 0.5, "c": 1.0, "d": 2.0}
    for trial in losses:
        assert ask(scheduler, trial, 100) == CONTINUE
    actions = [ask(scheduler, trial, 200, loss=loss) for trial, loss in losses.items()]
    compared = written[4:]
    assert [w["value"] for w in compared] == pytest.approx([2, 1, 0, -1])
    assert [w["cutoff"] for w in compared] == [None, None, pytest.approx(1.5), pytest.approx(1)]
    assert actions == [CONTINUE, CONTINUE, STOP, STOP]  # of the first two nobody knew better
    assert {w["metric"] for w in compared} == {"heldout_loss_slope"}
    assert compared[-1]["reason"] == "among the least progress of its rung"


def test_who_is_not_below_the_cutoff_goes_on():
    """Gini coefficients at one rung: the cutoff of 0.25 and 0.75 is 0.5, and of all three again."""
    written = []
    scheduler = make(written, signal="fourier_gini", patience=1)
    for trial, gini in {"a": 0.25, "b": 0.75, "equal": 0.5, "above": 0.6}.items():
        assert ask(scheduler, trial, 100, fourier_gini=gini) == CONTINUE
    assert [w["cutoff"] for w in written] == [None, None, 0.5, 0.5]
    assert {w["reason"] for w in written[2:]} == {"progress enough for its rung"}


def test_a_slope_is_of_logarithms_whatever_it_begins_at():
    written = []
    scheduler = make(written)
    ask(scheduler, "a", 100, loss=8.0)
    ask(scheduler, "a", 400, loss=0.5)
    assert written[-1]["value"] == pytest.approx(math.log(16) / math.log(4))


@pytest.mark.parametrize("losses", [(1.0, 0.0), (0.0, 1.0)])
def test_a_loss_of_zero_has_no_slope(losses):
    written = []
    scheduler = make(written)
    assert [ask(scheduler, "a", rung, loss=loss) for rung, loss in zip((100, 200), losses, strict=True)] == [
        CONTINUE
    ] * 2
    assert written[-1]["value"] is None


def test_accuracies_of_those_that_have_not_fitted_are_no_signals():
    written = []
    scheduler = make(written, fit_by=400)
    for trial in "abcd":
        ask(scheduler, trial, 100)
        assert ask(scheduler, f"slow {trial}", 200, fit=0.5, memorized=None) == CONTINUE
    assert ask(scheduler, "a", 200, loss=2.0) == CONTINUE
    assert written[-1]["reason"] == "too few were compared at its rung"


def test_memorization_that_was_not_seen_counts_from_the_first_rung_with_enough_accuracy():
    written = []
    scheduler = make(written, patience=300)
    for rung, fit in ((100, 0.9), (200, 0.95), (400, 0.97)):  # fit_threshold is 0.9
        assert ask(scheduler, "a", rung, fit=fit, memorized=None) == CONTINUE
    assert [w["fitted_step"] for w in written] == [100, 100, 100]
    assert [w["reason"].split(",")[0] for w in written] == ["waits for grokking"] * 2 + [
        "too few were compared at its rung"
    ]


@pytest.mark.parametrize("memorized", [50, None])
def test_accuracy_that_falls_for_a_while_after_fitting_stops_nobody(memorized):
    scheduler = make(patience=10_000)
    assert ask(scheduler, "a", 100, fit=1.0, memorized=memorized) == CONTINUE
    assert ask(scheduler, "a", 200, fit=0.83, memorized=memorized) == CONTINUE


def test_nothing_to_see_progress_from_is_said():
    written = []
    scheduler = make(written, patience=1)
    ask(scheduler, "a", 100)
    ask(scheduler, "a", 200, loss=math.nan)
    ask(scheduler, "a", 400, loss=None)
    ask(scheduler, "a", 800, loss=0.5)
    assert [w["reason"] for w in written] == [
        "no rung before to see its progress from",
        "heldout_loss was not measured",
        "heldout_loss was not measured",
        "too few were compared at its rung",
    ]
    assert written[-1]["value"] == pytest.approx(math.log(2) / math.log(8))  # since step 100


@pytest.mark.parametrize(
    ("signal", "metric", "values", "slow"),
    [
        ("weight_norm_contraction", "weight_norm", {"a": (40, 20), "b": (40, 21), "c": (40, 41)}, "c"),
        ("fourier_gini", "fourier_gini", {"a": (0.3, 0.6), "b": (0.3, 0.7), "c": (0.4, 0.5)}, "c"),
    ],
)
def test_other_signals(signal, metric, values, slow):
    written = []
    scheduler = make(written, signal=signal, patience=150)
    for number, rung in enumerate((100, 200)):
        actions = {t: ask(scheduler, t, rung, loss=1.0, **{metric: v[number]}) for t, v in values.items()}
    assert [t for t, action in actions.items() if action == STOP] == [slow]
    assert {w["metric"] for w in written if w["value"] is not None} == {signal}


def test_a_trial_that_has_grokked_and_trains_on_is_neither_stopped_nor_compared():
    written = []
    scheduler = make(written, patience=1)
    for trial in "abc":
        ask(scheduler, trial, 100)
    assert ask(scheduler, "a", 200, loss=9.0, grokked=150) == CONTINUE
    assert written[-1]["reason"] == "has grokked"
    ask(scheduler, "b", 200)
    assert written[-1]["cutoff"] is None


def test_fewer_than_the_inverse_of_the_share_stop_nobody():
    scheduler = make(stop_share=0.1)
    for trial in range(12):
        ask(scheduler, f"t{trial}", 100)
    actions = [ask(scheduler, f"t{trial}", 200, loss=1.0 + trial) for trial in range(12)]
    assert actions == [CONTINUE] * 10 + [STOP] * 2


def test_quantiles_are_numpy_s():
    draw = random.Random(1)
    for size in (1, 2, 3, 10, 57):
        values = sorted(draw.gauss(0, 1) for _ in range(size))
        for share in (0.01, 0.3, 0.5, 0.99):
            assert quantile(values, share) == pytest.approx(np.quantile(values, share))


@pytest.mark.parametrize("cut", [1, 17, 60, 119])
@pytest.mark.parametrize("audit_fraction", [0.0, 0.5])
def test_a_resumed_scheduler_decides_as_one_that_was_never_interrupted(cut, audit_fraction):
    """Through the journal's JSON and the folded state, wherever it is cut."""
    draw = random.Random(3)
    asks = [(f"t{t}", rung) for rung in (100, 200, 400, 800) for t in draw.sample(range(30), 30)]
    values = [{"loss": draw.lognormvariate(0, 1), "fit": draw.choice([0.5, 0.95, 1.0])} for _ in asks]
    memorized = {t: draw.choice([None, 40, 120, 300]) for t, _ in asks}

    def run(scheduler, part):
        gone, actions = set(), []
        for (trial, rung), value in part:
            early = memorized[trial] is None or memorized[trial] > rung
            action = None
            if trial not in gone:
                action = ask(scheduler, trial, rung, memorized=None if early else memorized[trial], **value)
            gone |= {trial} if action == STOP else set()
            actions.append(action)
        return gone, actions

    section = {"audit_fraction": audit_fraction, "fit_by": 200}
    everything, whole = list(zip(asks, values, strict=True)), []
    run(make(whole, **section), everything)
    first, second = [], []
    gone, _ = run(make(first, **section), everything[:cut])
    state = SweepState()
    for number, fields in enumerate(first):
        state.apply(json.loads(json.dumps({"t": float(number), "event": "decision", **fields})))
    resumed = make(second, **section)
    resumed.refill(state.decisions)
    run(resumed, [item for item in everything[cut:] if item[0][0] not in gone])
    assert first + second == whole
    assert {w["action"] for w in whole} >= {"stop", "continue"}


def test_progress_is_seen_from_the_newest_rung_whatever_the_clocks_say():
    scheduler = make()
    kept = {"trial_id": "a", "action": "continue", "metric": None}
    later = Decision(t=1.0, step=200, rung=200, raw=0.5, **kept)
    earlier = Decision(t=3600.0, step=100, rung=100, raw=1.0, **kept)  # an hour ahead, and so the last by time
    scheduler.refill([later, earlier])
    assert scheduler._before["a"] == (200, 0.5)
