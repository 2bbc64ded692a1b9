"""Each trial becomes one run, each step one point, in whatever order and however often the journal tells of them."""

from __future__ import annotations

import random

import pytest

from grokray.tracking.base import point_of
from grokray.tracking.logged import Logged
from grokray.tracking.tensorboard import tag_of
from grokray.trial import TrialConfig
from tests.tracking.journals import (
    CONFIG,
    SESSION,
    Notes,
    end,
    measurement,
    show,
    trial,
    whole_run,
)

ID = CONFIG.id
STEPS = list(range(100, 1001, 100))


def test_a_trial_as_it_goes(tracker_on):
    notes = Notes()
    tracker = tracker_on(notes)
    show(tracker, [SESSION, trial()])
    assert notes.told == []
    show(tracker, [measurement(100), measurement(200)])
    show(tracker, [])
    show(tracker, [measurement(300)])
    assert notes.told == [("open", ID), ("log", ID, 100), ("log", ID, 200), ("log", ID, 300)]
    show(tracker, [end(300, "pruned")])
    assert notes.told[4:] == [("finish", ID, "pruned")]
    show(tracker, [end(300, "pruned")])  # late news of who has left
    tracker.close()
    assert len(notes.told) == 5
    assert notes.closed == 1
    assert tracker.written == 4, "three points and a trial: signs of life"


@pytest.mark.parametrize("seed", range(20))
def test_events_of_one_poll_in_any_order(tracker_on, seed):
    # Parts of the journal are read one after the other, the driver's own first.
    events = [SESSION, *whole_run(), measurement(400, attempt=1), end(1000, "budget", kind="finish")]
    random.Random(seed).shuffle(events)
    notes = Notes()
    show(tracker_on(notes), events)
    assert notes.steps() == STEPS
    assert notes.told[-1] == ("finish", ID, "budget")


def test_a_step_that_was_computed_twice_is_written_once(tracker_on):
    notes = Notes()
    tracker = tracker_on(notes)
    show(tracker, [trial(), measurement(100), measurement(200), measurement(300)])
    show(tracker, [measurement(200, attempt=1), measurement(300, attempt=1), measurement(400, attempt=1)])
    assert notes.steps() == [100, 200, 300, 400]


def test_step_0_is_a_point_once_and_fills_no_gap(tracker_on):
    notes = Notes()
    tracker = tracker_on(notes)
    show(tracker, [trial(), measurement(0)])
    show(tracker, [measurement(0, attempt=1), measurement(100, attempt=1)])
    assert notes.steps() == [0, 100]
    again, events = Notes(), whole_run()
    tracker = tracker_on(again)
    for event in [measurement(0), *events[:4], *events[5:]]:
        tracker.observe(event)
    tracker.settle(whole=False)
    assert again.told == []  # the third is still to come


def test_an_end_waits_for_its_last_measurements(tracker_on):
    now = 0.0
    notes = Notes()
    tracker = tracker_on(notes, clock=lambda: now)
    show(tracker, [trial(), measurement(100), end(200, "grokked")])
    assert notes.steps() == [100]
    now = 1.0
    show(tracker, [measurement(200)])
    assert notes.told[-2:] == [("log", ID, 200), ("finish", ID, "grokked")]


def test_an_end_does_not_wait_for_ever(tracker_on):
    now = 0.0
    notes = Notes()
    tracker = tracker_on(notes, clock=lambda: now)
    show(tracker, [trial(), measurement(100), end(200, "grokked")])
    now = 6.0
    show(tracker, [])
    assert notes.told[-1] == ("finish", ID, "grokked")


def test_whole_curves_are_written_in_the_midst_of_a_large_journal(tracker_on):
    # So that memory is bounded when a long journal is read from its start.
    notes = Notes()
    tracker = tracker_on(notes)
    events = whole_run()
    for event in [*events[:4], *events[5:]]:
        tracker.observe(event)
    tracker.settle(whole=False)
    assert notes.told == []
    tracker.observe(events[4])
    tracker.settle(whole=False)
    assert notes.steps() == STEPS
    assert notes.told[-1] == ("finish", ID, "budget")


def test_a_failed_trial_has_a_run_too(tracker_on):
    notes = Notes()
    tracker = tracker_on(notes)
    show(tracker, [trial(), end(0, "failed")])
    assert notes.told == [("open", ID), ("finish", ID, "failed")]


def test_a_failed_trial_s_curve_is_written_though_its_end_comes_first(tracker_on):
    """The driver's part of the journal is read before those of the engines, and does not say how far the trial was."""
    notes = Notes()
    tracker = tracker_on(notes)
    for event in (trial(), end(0, "failed")):
        tracker.observe(event)
    tracker.settle(whole=False)
    assert notes.told == []
    show(tracker, [measurement(100), measurement(200)])
    assert notes.steps() == [100, 200]
    assert notes.told[-1] == ("finish", ID, "failed")


AGAIN = {"t": 30.0, "event": "again", "trial_id": ID, "round": 1}


def test_a_failed_trial_that_runs_again_has_not_ended(tracker_on):
    notes = Notes()
    tracker = tracker_on(notes)
    for event in (trial(), end(0, "failed"), AGAIN):
        tracker.observe(event)
    show(tracker, [measurement(100)])
    assert notes.told == [("open", ID), ("log", ID, 100)]
    show(tracker, [measurement(200), end(200) | {"round": 1}])
    assert notes.told[2:] == [("log", ID, 200), ("finish", ID, "budget")]


def test_a_failed_trial_that_a_later_session_runs_again_is_written_on(tracker_on):
    first = [trial(), measurement(100), end(0, "failed")]
    tracker = tracker_on(Notes())
    show(tracker, first)
    tracker.close()
    again = [*first, AGAIN, measurement(100, attempt=1), measurement(200, attempt=1)]
    tracker, notes = tracker_on(Notes(), rounds={ID: 1}), Notes()
    show(tracker, again)
    assert tracker.backend.told == [("open", ID), ("log", ID, 200)]
    tracker.close()
    again += [measurement(300, attempt=2), end(300) | {"round": 1}]
    for wanted in (notes, Notes()):
        tracker = tracker_on(wanted, rounds={ID: 1})
        show(tracker, again)
        tracker.close()
    assert notes.told == [("open", ID), ("log", ID, 300), ("finish", ID, "budget")]
    assert wanted.told == []


def test_a_later_session_goes_on_and_writes_nothing_twice(tracker_on):
    other = CONFIG.model_copy(update={"init_seed": 1})
    first = [SESSION, *whole_run(), trial(1, other), measurement(100, other.id), measurement(200, other.id)]
    tracker, notes = tracker_on(Notes()), Notes()
    show(tracker, first)
    tracker.close()
    assert tracker.backend.told[-1] == ("leave", other.id)

    tracker = tracker_on(notes)
    show(tracker, first)
    assert notes.told == []
    show(tracker, [measurement(200, other.id, attempt=1), measurement(300, other.id, attempt=1)])
    show(tracker, [end(300, "stopped", other.id)])
    assert notes.told == [("open", other.id), ("log", other.id, 300), ("finish", other.id, "stopped")]


def test_what_a_failed_session_left_is_written_by_the_next(tracker_on):
    events = whole_run()
    tracker = tracker_on(Notes(fails_at=400))
    with pytest.raises(OSError, match="network"):
        show(tracker, events)
    tracker.abandon()
    notes = Notes()
    show(tracker_on(notes), events)
    assert notes.told[0] == ("open", ID)
    assert notes.told[-1] == ("finish", ID, "budget")
    assert notes.steps()[-1] == 1000


def test_points_that_a_killed_session_may_have_lost_are_written_again(tracker_on):
    events = [trial(), measurement(100), measurement(200)]
    show(tracker_on(Notes()), events)  # and is not closed
    notes = Notes()
    show(tracker_on(notes), [*events, measurement(300)])
    assert notes.steps() == [100, 200, 300]


def test_a_backend_that_remembers_is_believed(tracker_on, tmp_path):
    (tmp_path / "logged.txt").write_text(f"{ID} 900\n")
    notes = Notes(held=300)
    notes.remembers = True
    show(tracker_on(notes), whole_run())
    assert notes.steps() == STEPS[3:]


def test_runs_beyond_the_limit_wait_and_are_written_when_they_end(tracker_on):
    configs = [CONFIG.model_copy(update={"init_seed": seed}) for seed in range(3)]
    notes = Notes()
    tracker = tracker_on(notes, max_live=2)
    show(tracker, [trial(i, config) for i, config in enumerate(configs)])
    for step in STEPS:
        show(tracker, [measurement(step, config.id) for config in configs])
    assert {told[1] for told in notes.told} == {configs[0].id, configs[1].id}
    show(tracker, [end(1000, trial_id=configs[2].id)])
    assert notes.steps(configs[2].id) == STEPS
    assert notes.told[-1] == ("finish", configs[2].id, "budget")


def test_a_run_that_has_ended_makes_room_for_another(tracker_on):
    other = CONFIG.model_copy(update={"init_seed": 1})
    notes = Notes()
    tracker = tracker_on(notes, max_live=1)
    show(tracker, [trial(), measurement(100), trial(1, other), measurement(100, other.id)])
    assert notes.steps(other.id) == []
    show(tracker, [end(100)])
    show(tracker, [measurement(200, other.id)])
    assert notes.steps(other.id) == [100, 200]


def test_at_the_close_who_has_ended_is_finished_and_who_has_begun_is_left(tracker_on):
    """The first one's last measurement never came, and of the third there is none."""
    begun, waits = (CONFIG.model_copy(update={"init_seed": seed}) for seed in (1, 2))
    notes = Notes()
    tracker = tracker_on(notes, clock=lambda: 0.0)
    show(tracker, [trial(), measurement(100), end(200), trial(1, begun), measurement(100, begun.id), trial(2, waits)])
    tracker.close()
    assert [told for told in notes.told if told[0] in ("finish", "leave")] == [
        ("finish", ID, "budget"),
        ("leave", begun.id),
    ]
    assert (tracker.logged.ended, tracker.logged.steps) == ({ID}, {begun.id: 100})


def test_a_point_names_tasks_and_leaves_out_what_is_no_number():
    event = measurement(100, tasks={"x+y_mod": {"heldout_loss": 0.5}})
    event["metrics"] |= {"train_loss": None}
    values = point_of(event).values
    assert values["x+y_mod/heldout_loss"] == 0.5
    assert "train_loss" not in values
    assert values["wall_time_s"] == 1.0


def test_a_row_has_the_versions_of_a_session_that_was_read_after_its_trial(tracker_on, monkeypatch):
    notes, rows = Notes(), []
    monkeypatch.setattr(notes, "finish", lambda run, fold: rows.append(fold.row()))
    tracker = tracker_on(notes)
    for event in (*whole_run(), SESSION):
        tracker.observe(event)
    tracker.settle(whole=True)
    assert [row["grokray_version"] for row in rows] == ["0.1.0"]


def test_a_torn_line_of_what_was_logged_is_passed_over(tmp_path):
    path = tmp_path / "logged.txt"
    path.write_text("aa 100\nbb end\naa 200\ncc 30")
    logged = Logged(path)
    logged.close()
    assert (logged.steps, logged.ended) == ({"aa": 200, "cc": 30}, {"bb"})
    path.write_text("aa 100\nbb e")
    logged = Logged(path)
    logged.up_to("dd", 40)
    logged.end("aa", 100)
    logged.close()
    logged = Logged(path)
    logged.close()
    assert logged.ended == {"aa"}
    assert logged.steps == {"dd": 40}


def test_tags_put_together_what_is_compared():
    assert [tag_of(name) for name in ("train_loss", "heldout_exact_match", "out_of_domain_loss", "weight_norm")] == [
        "loss/train",
        "exact_match/heldout",
        "loss/out_of_domain",
        "weight_norm",
    ]
    assert tag_of("x+y_mod/heldout_loss") == "loss/heldout/x+y_mod"
    assert tag_of("x/y_mod/weight_norm") == "weight_norm/x/y_mod"
    assert tag_of("rank_blocks.0/ffn1") == "rank_blocks.0/ffn1"  # a measure of the user's own


def test_a_config_without_a_regular_interval_waits_for_the_journal_s_end(tracker_on):
    config = TrialConfig(num_steps=250, eval_interval=100)
    notes = Notes()
    tracker = tracker_on(notes)
    for event in [
        trial(0, config),
        *(measurement(s, config.id) for s in (100, 200, 250)),
        end(250, "budget", config.id),
    ]:
        tracker.observe(event)
    tracker.settle(whole=False)
    assert notes.steps(config.id) == [100, 200, 250]
