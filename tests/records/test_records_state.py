from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records_helpers import VERSIONS, event, measurement, trial_event

from grokray.records.state import SweepState


def fold(events):
    state = SweepState()
    state.apply_all(events)
    return state


def everything(state: SweepState) -> dict[str, Any]:
    return {
        "trials": list(state.trials.items()),
        "configurations": list(state.configurations.items()),
        "decisions": state.decisions,
        "sessions": state.sessions,
        "interrupted": state.interrupted,
        "metric_names": state.metric_names,
        "silent_engines": state.silent_engines,
    }


def one_trial(*events):
    state = fold([trial_event(0), *events])
    [trial] = state.trials.values()
    return trial


ID = trial_event(0)["trial_id"]


@pytest.mark.parametrize(
    ("said", "compiled"), [([], None), ([False], False), ([True], True), ([True, False], True), ([False, True], True)]
)
def test_a_trial_is_a_compiled_one_once_compiled_kernels_have_trained_it(said, compiled):
    trial = one_trial(*(event("kernels", trial_id=ID, compiled=value) for value in said))
    assert trial.compiled is compiled


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_engines_are_silent_until_something_else_is_said_of_them_or_another_session_begins(order):
    said = [("engine-0", "silent", 5.0), ("engine-0", "answers", 6.0), ("engine-1", "silent", 7.0)]
    events = [event("engine", engine=engine, state=state, t=t, session="a") for engine, state, t in said]
    began = event("sweep", session="a", versions=VERSIONS, command="", fingerprint={}, t=4.0)
    assert fold([[*events, began][i] for i in order]).silent_engines == {"engine-1": 7.0}
    later = began | {"session": "b", "t": 1.0, "number": 2}  # of a driver whose clock is behind
    assert fold([*events, later]).silent_engines == fold([*events, began, later]).silent_engines == {}


def test_a_trial_from_proposal_to_end():
    state = SweepState()
    state.apply(event("suggest", configuration=0, parameters={"weight_decay": 0.1}))
    state.apply(trial_event(0, weight_decay=0.1))
    [trial] = state.trials.values()
    trial_id = trial.trial_id
    assert (trial.state, trial.outcome, trial.done, trial.phase) == ("waiting", None, False, None)
    state.apply(event("start", trial_id=trial_id, attempt=1, step=0, engine="e"))
    assert trial.state == "running"
    state.apply(measurement(trial_id, 0, metrics={"heldout_exact_match": 0.9, "heldout_loss": 0.1}))
    assert (trial.phase, trial.best, trial.measurements) == (None, {}, 1)  # nothing was trained yet
    state.apply(measurement(trial_id, 100, metrics={"heldout_exact_match": 0.1}))
    assert trial.phase == "confusion"
    happened = {"memorization_step": 200, "memorization_step_lower": 100, "train_phase_step": 200, "grok_step": None}
    state.apply(measurement(trial_id, 200, metrics={"heldout_exact_match": 0.3}, events=happened))
    assert trial.phase == "memorization"
    assert trial.events == {"memorization_step": 200, "memorization_step_lower": 100, "train_phase_step": 200}
    assert (trial.last_step, trial.wall_time_s, trial.steps_trained) == (200, 2.0, 200)
    assert trial.best == {"heldout_exact_match": 0.3, "heldout_exact_match_step": 200, "heldout_loss": 2.0}
    state.apply(event("checkpoint", trial_id=trial_id, attempt=1, step=200, name="c", sha256="s", bytes=1))
    assert trial.checkpoint is not None
    assert (trial.checkpoint.name, trial.checkpoint.sha256, trial.checkpoint.step) == ("c", "s", 200)
    state.apply(event("end", trial_id=trial_id, outcome="pruned", step=200))
    assert (trial.state, trial.outcome, trial.done) == ("ended", "pruned", True)
    assert state.configurations[0].trial_ids == [trial_id]
    assert state.configurations[0].parameters == {"weight_decay": 0.1}


@pytest.mark.parametrize("outcome", ["pruned", "stopped", "failed"])
@pytest.mark.parametrize("order", [0, 1])
def test_a_finish_wins_over_what_the_driver_says(outcome, order):
    finish = event("finish", 2.0, trial_id=ID, attempt=1, step=500, outcome="grokked")
    end = event("end", 3.0, trial_id=ID, outcome=outcome, step=400, error="node died")
    trial = one_trial(*([finish, end] if order else [end, finish]))
    assert trial.outcome == "grokked"
    assert trial.error is None
    assert trial.steps_trained == 500


def test_of_two_ends_that_engines_tell_of_the_latest_attempt_s_counts():
    """The first lost contact, and did not know that the trial went on elsewhere."""
    ends = [
        event("finish", 2.0, trial_id=ID, attempt=1, step=500, outcome="budget"),
        event("finish", 1.0, trial_id=ID, attempt=2, step=400, outcome="grokked"),
    ]
    for order in itertools.permutations(ends):
        trial = one_trial(*order)
        assert (trial.outcome, trial.attempt, trial.steps_trained) == ("grokked", 2, 500)


def test_a_checkpoint_or_an_end_may_be_further_than_any_measurement():
    saved = event("checkpoint", trial_id=ID, attempt=3, step=150, name="c", sha256="s")
    trial = one_trial(measurement(ID, 100), saved)
    assert (trial.steps_trained, trial.attempt, trial.last_step) == (150, 3, 100)
    trial = one_trial(saved, event("end", trial_id=ID, outcome="failed", step=170, error="boom"))
    assert (trial.steps_trained, trial.error) == (170, "boom")


def test_failures_are_counted_by_fault():
    trial = one_trial(
        event("failure", 1.0, trial_id=ID, attempt=1, error="first", fault="node"),
        event("failure", 3.0, trial_id=ID, attempt=3, error="last", fault="engine"),
        event("failure", 2.0, trial_id=ID, attempt=2, error="second", fault="node"),
    )
    assert trial.failures == {"node": 2, "engine": 1}
    assert (trial.attempt, trial.error, trial.done) == (3, "last", False)


def test_a_pruned_trial_that_once_failed_has_no_error():
    trial = one_trial(
        event("failure", trial_id=ID, attempt=1, error="lost node", fault="node"),
        event("end", trial_id=ID, outcome="pruned"),
    )
    assert trial.error is None


def test_divergence_is_a_phase():
    trial = one_trial(event("finish", trial_id=ID, attempt=1, step=0, outcome="diverged"))
    assert trial.phase == "diverged"


def test_trials_come_by_index_and_only_once_known():
    first, second, third = (trial_event(i) for i in range(3))
    state = fold([measurement(third["trial_id"], 10), second])
    assert list(state.trials) == [second["trial_id"]]
    state.apply_all([third, first])
    assert list(state.trials) == [first["trial_id"], second["trial_id"], third["trial_id"]]
    assert state.trials[third["trial_id"]].last_step == 10


def test_seeds_share_a_configuration():
    trials = [{**trial_event(i), "configuration": 0} for i in range(3)]
    for order in itertools.permutations(trials):
        state = fold([*order, event("suggest", configuration=1, parameters={}, value_of=0)])
        assert state.configurations[0].trial_ids == [t["trial_id"] for t in trials]
        assert state.configurations[1].value_of == 0


def test_of_a_proposal_that_was_written_down_twice_the_first_counts():
    said = [event("suggest", t, configuration=0, parameters={"weight_decay": t}) for t in (1.0, 2.0, 3.0)]
    for order in itertools.permutations(said):
        assert fold(order).configurations[0].parameters == {"weight_decay": 1.0}


def test_what_is_known_of_a_trial_is_from_its_furthest_measurement_and_there_from_its_latest_attempt():
    """Attempt 2 went on from step 100, and was not as far as attempt 1 when it was last heard of."""
    said = [
        measurement(ID, 100, attempt=1, metrics={"heldout_loss": 0.5}),
        measurement(ID, 300, attempt=1, metrics={"heldout_loss": 0.3}),
        measurement(ID, 200, attempt=2, metrics={"heldout_loss": 0.1}, wall_time_s=90.0),
        event("checkpoint", trial_id=ID, attempt=1, step=100, name="older", sha256="x"),
        event("checkpoint", trial_id=ID, attempt=2, step=200, name="newer", sha256="y"),
        event("start", trial_id=ID, attempt=2, step=100),
    ]
    for order in itertools.permutations(said):
        trial = one_trial(*order)
        assert (trial.last_step, trial.steps_trained, trial.attempt, trial.measurements) == (300, 300, 2, 3)
        assert (trial.last_metrics["heldout_loss"], trial.best["heldout_loss"]) == (0.3, 0.1)
        assert trial.checkpoint is not None
        assert (trial.checkpoint.name, trial.checkpoint.step) == ("newer", 200)
    again = one_trial(*said, measurement(ID, 300, attempt=2, metrics={"heldout_loss": 0.2}, wall_time_s=95.0))
    assert (again.last_metrics["heldout_loss"], again.wall_time_s) == (0.2, 95.0)


def test_a_trial_runs_in_the_session_that_was_the_last_to_start():
    sessions = [
        event("sweep", t, session=name, versions=VERSIONS, command="run", fingerprint={})
        for t, name in ((10.0, "one"), (20.0, "two"))
    ]
    state = fold([*sessions, trial_event(0), trial_event(1), trial_event(2)])
    a, b, c = state.trials.values()
    state.apply(event("start", 12.0, trial_id=a.trial_id, attempt=1, step=0))
    state.apply(event("start", 25.0, trial_id=b.trial_id, attempt=2, step=0))
    names = [session.session if session else None for session in map(state.session_of, (a, b, c))]
    assert names == ["one", "two", None]


def test_whose_session_a_trial_was_started_in_is_known_whatever_the_clocks_say():
    """The second driver's clock is hours behind the first one's, and the engines' clocks are hours ahead, or behind."""
    sessions = [
        event("sweep", t, session=name, versions=VERSIONS, command="run", fingerprint={}, number=number)
        for t, name, number in ((9e4, "one", 1), (1e4, "two", 2))
    ]
    ids = [trial_event(index)["trial_id"] for index in range(3)]
    starts = [
        event("start", t, trial_id=trial_id, attempt=attempt, step=0, session=session)
        for trial_id, attempt, session, t in (
            *((ids[0], 0, "one", 5e5), (ids[0], 1, "two", 1.0)),
            *((ids[1], 0, "two", 5e5), (ids[2], 0, "one", 1.0)),
        )
    ]
    for order in itertools.permutations([*sessions, *starts]):
        state = fold([trial_event(0), trial_event(1), trial_event(2), *order])
        found = [session.session if session else None for session in map(state.session_of, state.trials.values())]
        assert found == ["two", "two", "one"]
        assert [session.session for session in state.sessions] == ["one", "two"]


def test_events_of_later_versions_are_passed_over():
    assert fold([event("promotion")]).trials == {}


OUTCOMES = st.sampled_from(["grokked", "budget", "diverged"])
SMALL = st.integers(1, 4)
METRIC = st.none() | st.sampled_from([0.0, 0.5, 0.99, 1.0])


@st.composite
def histories(draw):
    """Events as several processes may write them about three trials."""
    trials = [trial_event(i) | {"configuration": i // 2} for i in range(3)]
    events = [event("suggest", 1.0 + i, configuration=i, parameters={"x": i}) for i in range(2)] + trials
    events += [
        event("sweep", float(i), session=f"s{i}", versions={"grokray": str(i)}, command="c", fingerprint={})
        for i in range(draw(st.integers(0, 2)))
    ]
    for trial in trials:
        trial_id = trial["trial_id"]
        for attempt, step in draw(st.sets(st.tuples(SMALL, SMALL), max_size=6)):
            metrics = {"heldout_exact_match": draw(METRIC), "heldout_loss": draw(METRIC)}
            seen = {"memorization_step": draw(st.none() | SMALL)}
            events.append(measurement(trial_id, step, attempt=attempt, metrics=metrics, events=seen))
        for attempt, step in draw(st.sets(st.tuples(SMALL, SMALL), max_size=3)):
            events.append(
                event("checkpoint", trial_id=trial_id, attempt=attempt, step=step, name=f"{attempt}", sha256="x")
            )
        for compiled in draw(st.sets(st.booleans())):
            events.append(event("kernels", trial_id=trial_id, compiled=compiled))
        for t in draw(st.sets(SMALL, max_size=3)):
            rest = {"trial_id": trial_id, "step": t, "action": draw(st.sampled_from(["stop", "continue"]))}
            events.append(event("decision", float(t), **rest))
            events.append(event("start", float(t), trial_id=trial_id, attempt=t, step=0))
            events.append(
                event(
                    "failure", float(t), trial_id=trial_id, attempt=t, error=f"e{t}", fault=draw(st.sampled_from("ab"))
                )
            )
        for attempt in draw(st.sets(SMALL, max_size=2)):
            outcome = draw(OUTCOMES)
            events.append(event("finish", trial_id=trial_id, attempt=attempt, step=attempt, outcome=outcome))
        for t in draw(st.sets(SMALL, max_size=2)):
            events.append(
                event("end", float(t), trial_id=trial_id, outcome=draw(st.sampled_from(["pruned", "failed"])))
            )
    if draw(st.booleans()):
        events.append(trials[0] | {"index": 7, "configuration": 1})  # named again by a later session
    return events, draw(st.permutations(events))


@settings(max_examples=150)
@given(histories())
def test_the_order_of_reading_makes_no_difference(history):
    events, shuffled = history
    assert everything(fold(shuffled)) == everything(fold(events))


def decision(step: int, action: str, t: float = 1.0, **fields: Any) -> dict[str, Any]:
    return event("decision", t, trial_id=ID, step=step, rung=step, action=action, **fields)


def test_when_the_scheduler_first_wanted_to_stop_a_trial_is_kept_in_whatever_order_it_is_read():
    said = [
        decision(100, "continue"),
        decision(200, "audit", 2.0, audit_probability=0.1),
        decision(400, "continue", 3.0, raw=0.5, fitted_step=90),
        decision(800, "stop", 4.0, audit_probability=0.1),  # from no version that draws one lot a trial
    ]
    for order in itertools.permutations(said):
        trial = one_trial(*order)
        assert trial.stop is not None
        assert (trial.stop.step, trial.stop.action, trial.stop.audit_probability) == (200, "audit", 0.1)
        assert trial.audited
        assert trial.decision is not None
        assert trial.decision.step == 800
    state = fold([trial_event(0), *said])
    assert (state.decisions[2].raw, state.decisions[2].fitted_step) == (0.5, 90)


def test_all_that_is_said_of_a_decision_is_kept():
    said = decision(
        100,
        "stop",
        metric="heldout_loss",
        value=2.0,
        cutoff=1.5,
        reason="slow",
        audit_probability=0.1,
        raw=0.5,
        fitted_step=90,
    )
    (kept,) = fold([trial_event(0), said]).decisions
    assert asdict(kept) == {name: value for name, value in said.items() if name != "event"}


def test_a_trial_that_was_stopped_or_let_go_on_is_not_audited():
    stopped = one_trial(decision(100, "continue"), decision(200, "stop"))
    assert stopped.stop is not None
    assert (stopped.stop.step, stopped.audited) == (200, False)
    passed = one_trial(decision(100, "continue"))
    assert (passed.stop, passed.audited) == (None, False)


def test_who_is_run_again_has_not_ended_whatever_the_clocks_say():
    failed = event("end", t=3600.0, trial_id=ID, outcome="failed", error="boom")  # an hour ahead
    again = event("again", t=5.0, trial_id=ID, round=1)
    assert one_trial(failed, again).outcome is None
    done = event("end", t=4.0, trial_id=ID, outcome="budget", round=1)
    for order in itertools.permutations([failed, again, done]):
        trial = one_trial(*order)
        assert (trial.outcome, trial.error, trial.round) == ("budget", None, 1)
    assert one_trial(failed, again, done, event("again", t=1.0, trial_id=ID, round=2)).outcome is None


def test_rounds_of_older_journals_are_told_by_time():
    failed, done = (event("end", t=t, trial_id=ID, outcome=o) for t, o in ((10.0, "failed"), (30.0, "budget")))
    again = event("again", t=20.0, trial_id=ID)
    assert one_trial(failed, again).outcome is None
    assert one_trial(failed, again, done).outcome == "budget"


def test_metrics_and_events_that_are_no_numbers_are_nothing():
    odd = {"metrics": {"heldout_exact_match": "x", "heldout_loss": [1]}, "events": {"grok_step": "x"}}
    trial = one_trial(trial_event(0), measurement(ID, 10), measurement(ID, 20, **odd))
    assert trial.best == {"heldout_exact_match": 0.5, "heldout_exact_match_step": 10, "heldout_loss": 2.0}
    assert trial.events == {}


def test_the_best_is_the_first_step_that_reached_it_and_configurations_have_an_order_however_they_are_read():
    said = [measurement(ID, step, metrics={"heldout_exact_match": a}) for step, a in ((10, 0.5), (20, 0.7), (30, 0.7))]
    suggested = [event("suggest", configuration=index, parameters={}) for index in range(3)]
    for order in itertools.permutations(range(3)):
        state = SweepState()
        state.apply_all([trial_event(0), *(said[i] for i in order), *(suggested[i] for i in order)])
        assert state.trials[ID].best["heldout_exact_match_step"] == 20
        assert list(state.configurations) == [0, 1, 2]
