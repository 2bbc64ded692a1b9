from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError

from grokray.errors import ConfigError, ExecutionError, Problem
from grokray.records.folder import SweepFolder
from grokray.sweep.assignment import Report
from grokray.sweep.checkpoints import trials_with_checkpoints
from grokray.sweep.config import SweepConfig
from grokray.sweep.configurations import FRUITLESS_GUESSES
from grokray.sweep.ledger import Ledger
from grokray.sweep.load import load_sweep
from grokray.sweep.messages import Cleared, assignment_of, tune_config
from grokray.sweep.searcher import LedgerCallback
from grokray.sweep.space import MAX_FRUITLESS
from tests.sweep.sweeps import write


def open_ledger(tmp_path, *, retry_failed: bool = False, **replaced) -> Ledger:
    config = load_sweep(write(tmp_path, **replaced))
    folder = SweepFolder.create_or_open(
        tmp_path / "out", config.to_yaml(), config.fingerprint(), {"versions": {}, "command": "test"}
    )
    return Ledger(folder, config, retry_failed=retry_failed)


def report(trial_id: str, outcome: str | None = "budget", step: int = 300, **events) -> Report:
    metrics = {"heldout_loss": 1.0, "heldout_exact_match": 0.5}
    return Report(trial_id=trial_id, step=step, metrics=metrics, events=events, wall_time_s=1.0, outcome=outcome)


def assignments(ledger: Ledger):
    while (a := ledger.next_assignment()) is not None:
        yield a


def test_every_configuration_runs_once_for_each_seed(tmp_path):
    ledger = open_ledger(tmp_path)
    assert ledger.to_run == 32
    given = list(assignments(ledger))
    assert len({a.trial_id for a in given}) == len(given) == 32
    assert [a.config["init_seed"] for a in given[:4]] == [0, 1, 0, 1]
    assert not ledger.finished
    for a in given:
        ledger.end(a.trial_id, "budget", report(a.trial_id))
    assert ledger.finished
    assert ledger.to_run == 0


def test_a_sweep_is_not_finished_while_there_is_something_to_propose(tmp_path):
    ledger = open_ledger(tmp_path)
    for _ in range(2):  # a whole configuration
        trial_id = ledger.next_assignment().trial_id
        ledger.end(trial_id, "budget", report(trial_id))
    assert not ledger.finished
    assert (ledger.to_run, ledger.total) == (30, 32)


def test_nothing_is_proposed_before_it_is_to_start(tmp_path):
    """A search that learns would not know what there is to learn."""
    ledger = open_ledger(tmp_path)
    ledger.next_assignment()
    assert ledger.configurations.proposed == 1


def test_an_assignment_says_how_to_train(tmp_path):
    written = "trial: {eval_interval: 20, checkpoint_interval: 60,"
    ledger = open_ledger(tmp_path, **{written: f"{written} keep_checkpoints: best, examples: 7,"})
    ledger.rungs = (100, 200)
    first = ledger.next_assignment()
    ledger.write("start", trial_id=first.trial_id, attempt=0, step=0)
    ledger.write("kernels", trial_id=first.trial_id, compiled=True)
    ledger.poll()
    again = ledger.assignment(first.trial_id)
    assert (first.fresh, first.compiled) == (True, None)
    assert (again.fresh, again.compiled) == (False, True)
    assert (again.rungs, again.checkpoint_interval) == ((100, 200), 60)
    assert (again.keep_checkpoints, again.examples) == ("best", 7)
    assert again.planned_steps == ledger.config.planned_steps(300) > 0


def test_books_opened_again_know_what_ended_and_what_is_left(tmp_path):
    ledger = open_ledger(tmp_path)
    some = [ledger.next_assignment() for _ in range(5)]
    ledger.journal.write("start", trial_id=some[2].trial_id, attempt=0, step=0)
    ledger.end(some[0].trial_id, "budget", report(some[0].trial_id))
    ledger.end(some[1].trial_id, "pruned", report(some[1].trial_id, None, 100))
    again = open_ledger(tmp_path)
    left = list(assignments(again))
    assert len(left) == 30
    assert {some[0].trial_id, some[1].trial_id}.isdisjoint(a.trial_id for a in left)
    assert left[0].trial_id == some[2].trial_id
    assert left[0].attempt == 1
    assert left[1].attempt == 0
    assert [a.trial_id for a in left] == [a.trial_id for a in [*some[2:], *list(assignments(ledger))]]


def test_a_stop_that_was_decided_but_not_carried_out_is_carried_out_on_resume(tmp_path):
    ledger = open_ledger(tmp_path)
    stopped, goes_on = ledger.next_assignment().trial_id, ledger.next_assignment().trial_id
    for trial_id, action in ((stopped, "stop"), (goes_on, "continue")):
        ledger.write("start", trial_id=trial_id, attempt=0, step=0)
        ledger.write("measurement", trial_id=trial_id, attempt=0, step=60, metrics={"heldout_loss": 2.0})
        ledger.write("decision", trial_id=trial_id, step=60, rung=60, action=action, metric="train_loss", value=1.0)
    again = open_ledger(tmp_path)
    assert again.ended == {stopped: "pruned"}
    assert again.state.trials[stopped].outcome == "pruned"
    left = [a.trial_id for a in assignments(again)]
    assert stopped not in left
    assert goes_on in left
    assert open_ledger(tmp_path).ended == {stopped: "pruned"}


def test_an_audited_trial_goes_on_after_a_restart_whatever_was_decided_last(tmp_path):
    ledger = open_ledger(tmp_path)
    fresh, asked_again = ledger.next_assignment().trial_id, ledger.next_assignment().trial_id
    for trial_id, actions in ((fresh, ["audit"]), (asked_again, ["continue", "audit", "continue"])):
        ledger.write("start", trial_id=trial_id, attempt=0, step=0)
        for rung, action in zip((60, 120, 240), actions, strict=False):
            ledger.write("decision", trial_id=trial_id, step=rung, rung=rung, action=action, audit_probability=0.1)
    again = open_ledger(tmp_path)
    assert again.ended == {}
    left = {a.trial_id: a for a in assignments(again)}
    assert (left[fresh].decided, left[asked_again].decided) == (60, 240)
    again.end(fresh, "grokked", report(fresh, "grokked", grok_step=280))
    assert open_ledger(tmp_path).state.trials[fresh].outcome == "grokked"


def test_a_finish_that_the_driver_did_not_live_to_note_is_noted_on_resume(tmp_path):
    ledger = open_ledger(tmp_path)
    trial_id = ledger.next_assignment().trial_id
    ledger.write("start", trial_id=trial_id, attempt=0, step=0)
    ledger.write("measurement", trial_id=trial_id, attempt=0, step=300, metrics={"heldout_loss": 2.0})
    ledger.write("finish", trial_id=trial_id, attempt=0, step=300, outcome="budget")
    for _ in range(2):
        assert open_ledger(tmp_path).ended == {trial_id: "budget"}
    assert len([e for e in ledger.folder.reader().poll() if e["event"] == "end"]) == 1


def test_what_an_earlier_driver_s_engine_finishes_meanwhile_is_not_trained_again(tmp_path):
    killed = open_ledger(tmp_path)
    trial_id = killed.next_assignment().trial_id
    killed.write("start", trial_id=trial_id, attempt=0, step=0)
    ledger = open_ledger(tmp_path)
    killed.write("measurement", trial_id=trial_id, attempt=0, step=300, metrics={"heldout_loss": 2.0})
    killed.write("finish", trial_id=trial_id, attempt=0, step=300, outcome="budget")
    assert not ledger.ended
    for _ in range(2):
        ledger.catch_up()
        assert ledger.ended == {trial_id: "budget"}
    assert trial_id not in [a.trial_id for a in assignments(ledger)]
    assert len([e for e in ledger.folder.reader().poll() if e["event"] == "end"]) == 1


def test_a_rung_that_was_passed_is_not_asked_again_and_one_that_was_not_is(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.rungs = (60, 120)
    trial_id = ledger.next_assignment().trial_id
    assert ledger.assignment(trial_id).decided == 0
    ledger.write("start", trial_id=trial_id, attempt=0, step=0)
    ledger.write("decision", trial_id=trial_id, step=60, rung=60, action="continue", metric="train_loss", value=1.0)
    ledger.fail(trial_id, "engine died", fault="engine", alone=False)
    assert ledger.assignment(trial_id).decided == 60


def test_only_a_trial_that_nobody_has_begun_is_fresh(tmp_path):
    ledger = open_ledger(tmp_path)
    begun, died_before, waits, given = (ledger.next_assignment() for _ in range(4))
    assert begun.fresh
    ledger.write("start", trial_id=begun.trial_id, attempt=0, step=0)
    for one in (begun, died_before):
        ledger.fail(one.trial_id, "engine died", fault="engine", alone=False)
    ids = [one.trial_id for one in (begun, died_before, waits)]
    assert [ledger.assignment(trial_id).fresh for trial_id in ids] == [False, True, True]
    fresh = {a.trial_id: a.fresh for a in assignments(open_ledger(tmp_path))}
    # The engines of a driver that was killed may begin yet what they were given, and some of that was not begun.
    assert [fresh.pop(trial_id) for trial_id in [*ids, given.trial_id]] == [False] * 4
    assert set(fresh.values()) == {True}


def test_a_grid_with_many_equal_trials_in_a_row_runs_to_its_end(tmp_path):
    bases = ", ".join(map(str, range(2, 260)))
    text = f"{{value: 7}}\n  base: {{values: [{bases}]}}\n  task_type: {{values: [classification, sequence]}}"
    ledger = open_ledger(tmp_path, **{"{value: 7}": text, "[1e-3, 3e-3, 1e-2, 3e-2]": "[3e-3]", "[0.1, 1]": "[1]"})
    given = list(assignments(ledger))
    assert len(given) == (1 + 258) * 2 * 2


def test_seeds_that_make_no_difference_give_one_trial(tmp_path):
    seeds = "{value: 7}\n  init_seed: {value: 1}\n  split_seed: {value: 1}\n  order_seed: {value: 1}"
    assert len(list(assignments(open_ledger(tmp_path, **{"{value: 7}": seeds})))) == 16


def test_a_crash_between_proposal_and_trials_loses_nothing(tmp_path):
    ledger = open_ledger(tmp_path)
    list(assignments(ledger))
    part = tmp_path / "out" / ledger.journal.name
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])  # the last trial event is torn
    again = open_ledger(tmp_path)
    assert len(list(assignments(again))) == 32
    assert len(open_ledger(tmp_path).state.trials) == 32


def test_identical_configurations_run_once_and_the_search_ends_when_there_are_no_more(tmp_path):
    ledger = open_ledger(
        tmp_path,
        **{"method: grid": "method: random\nnum_trials: 50", "[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3, 3e-3]"},
    )
    given = list(assignments(ledger))
    assert len({a.trial_id for a in given}) == len(given) == 2 * 2 * 2 * 2
    for a in given:
        ledger.end(a.trial_id, "budget", report(a.trial_id))
    assert ledger.finished
    again = open_ledger(
        tmp_path,
        **{"method: grid": "method: random\nnum_trials: 50", "[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3, 3e-3]"},
    )
    assert list(assignments(again)) == []


def test_ending_twice_counts_once(tmp_path):
    ledger = open_ledger(tmp_path)
    a = ledger.next_assignment()
    ledger.end(a.trial_id, "budget", report(a.trial_id))
    ledger.end(a.trial_id, "failed", error="late")
    assert ledger.ended == {a.trial_id: "budget"}
    ends = [e for e in ledger.folder.reader().poll() if e["event"] == "end"]
    assert len(ends) == 1


def test_a_failure_raises_the_attempt_and_is_bounded(tmp_path):
    ledger = open_ledger(tmp_path)
    a = ledger.next_assignment()
    for attempt in range(4):
        assert ledger.assignment(a.trial_id).attempt == attempt
        assert ledger.failures.given_up(a.trial_id) is None
        ledger.fail(a.trial_id, "boom", fault="trial", alone=False)
    assert ledger.failures.given_up(a.trial_id) == "boom"


def test_who_failed_is_tried_again_where_that_is_asked_for(tmp_path):
    ledger = open_ledger(tmp_path)
    failed, done, *others = [a.trial_id for a in assignments(ledger)]
    ledger.journal.write("start", trial_id=failed, attempt=0, step=0)
    ledger.end(failed, "failed", error="the disk was full")
    for trial_id in (done, *others):
        ledger.end(trial_id, "budget", report(trial_id))
    assert open_ledger(tmp_path).finished
    again = open_ledger(tmp_path, retry_failed=True)
    assert not again.finished
    (assignment,) = assignments(again)
    assert (assignment.trial_id, assignment.attempt, assignment.fresh) == (failed, 1, False)
    assert (again.state.trials[failed].state, again.state.trials[failed].error) == ("running", None)
    later = open_ledger(tmp_path)
    assert not later.finished  # a driver that is started without the option goes on with it
    assert again.rounds == later.rounds == {failed: 1}
    again.end(failed, "budget", report(failed))
    assert open_ledger(tmp_path, retry_failed=True).finished
    assert again.poll().trials[failed].outcome == "budget"


@pytest.mark.parametrize(("seated", "suspect"), [(True, True), (False, False)])
def test_only_who_was_seated_is_blamed_for_a_dead_engine(tmp_path, seated, suspect):
    ledger = open_ledger(tmp_path)
    a = ledger.next_assignment()
    for attempt in range(2):
        if seated:
            ledger.journal.write("start", trial_id=a.trial_id, attempt=attempt, step=0)
        ledger.fail(a.trial_id, "engine died", fault="engine", alone=False)
    assert ledger.failures.suspect(a.trial_id) == suspect


@pytest.mark.parametrize("seated_at", [0, 1])
def test_an_engine_that_died_while_the_trial_waited_for_its_seat_is_nobody_s_fault(tmp_path, seated_at):
    ledger = open_ledger(tmp_path)
    a = ledger.next_assignment()
    for attempt in range(3):
        if attempt == seated_at:
            ledger.journal.write("start", trial_id=a.trial_id, attempt=attempt, step=0)
        ledger.fail(a.trial_id, "engine died", fault="engine", alone=False)
    assert not ledger.failures.suspect(a.trial_id)


@pytest.mark.parametrize(("execution", "alone"), [("process", False), ("fused", True), ("fused", False)])
def test_deaths_count_against_who_was_alone_as_in_a_process_of_its_own(tmp_path, execution, alone):
    """Of which it is to blame for one that died before anything was written."""
    ledger = open_ledger(tmp_path, **{"method: grid": f"method: grid\nexecution: {execution}"})
    trial_id = ledger.next_assignment().trial_id
    for attempt in range(ledger.config.trial.retries + 1):
        assert ledger.failures.given_up(trial_id) is None
        if execution == "fused":
            ledger.journal.write("start", trial_id=trial_id, attempt=attempt, step=0)
        ledger.fail(trial_id, "died", fault="engine", alone=alone)
    assert (ledger.failures.given_up(trial_id) == "died") == (execution == "process" or alone)


def test_the_checkpoints_of_who_has_ended_go_at_once_or_else_at_the_end_of_the_sweep(tmp_path):
    ledger = open_ledger(tmp_path)
    pruned, finished, crashed, heard, goes_on = (ledger.next_assignment().trial_id for _ in range(5))
    store = ledger.folder.store
    for trial_id in (pruned, finished, crashed, heard, goes_on):
        store.write_atomic(f"checkpoints/{trial_id}/{20:010d}-{'0' * 64}.pt", b"")
    ledger.end(pruned, "pruned", report(pruned, None))
    ledger.end(heard, "budget", report(heard))  # its engine deletes them, but may die before
    ledger.write("finish", trial_id=finished, attempt=0, step=300, outcome="grokked")
    ledger.fail(finished, "the engine died", fault="engine", alone=False)
    assert trials_with_checkpoints(store) == {crashed, heard, goes_on}
    ledger.ended[crashed] = "budget"
    ledger.tidy()
    assert trials_with_checkpoints(store) == {goes_on}


def test_an_end_says_how_far_the_trial_was_as_far_as_that_was_reported(tmp_path):
    ledger = open_ledger(tmp_path)
    reported, failed = ledger.next_assignment().trial_id, ledger.next_assignment().trial_id
    ledger.end(reported, "pruned", report(reported, step=240))
    ledger.end(failed, "failed", error="boom")
    trials = ledger.poll().trials
    assert [trials[trial_id].steps_trained for trial_id in (reported, failed)] == [240, 0]
    assert trials[failed].error == "boom"


def test_who_came_far_alone_has_company_again_and_no_failure_is_counted(tmp_path):
    ledger = open_ledger(tmp_path)
    a = ledger.next_assignment()
    for attempt in range(2):
        ledger.journal.write("start", trial_id=a.trial_id, attempt=attempt, step=0)
        ledger.fail(a.trial_id, "engine died", fault="engine", alone=False)
    books = LedgerCallback(ledger, lambda: None)
    error = RayTaskError("call", "", Cleared("trained alone to step 60"))
    (tmp_path / "error").write_bytes(cloudpickle.dumps(error))
    config = tune_config(ledger.assignment(a.trial_id), alone_until=60)
    trial: Any = SimpleNamespace(config=config, pickled_error_file=str(tmp_path / "error"), error_file=None)
    books.on_trial_recover(0, [], trial)
    assert books.error is None
    assert "alone" not in trial.config
    assert assignment_of(trial.config).attempt == 3
    assert sum(ledger.poll().trials[a.trial_id].failures.values()) == 2


def test_an_impossible_combination_is_passed_over(tmp_path, monkeypatch):
    """One that the file's check did not meet among its samples."""
    possible = SweepConfig.trial_config

    def half_impossible(config, parameters, seed):
        if int(parameters["dropout"] * 10_000) % 2:
            raise ConfigError([Problem(message="cannot be")])
        return possible(config, parameters, seed)

    changes = {
        "method: grid": "method: random\nnum_trials: 5",
        "dropout: {values: [0, 0.2]}": "dropout: {distribution: uniform, min: 0, max: 0.4}",
    }
    monkeypatch.setattr(SweepConfig, "trial_config", half_impossible)
    ledger = open_ledger(tmp_path, **changes)
    given = list(assignments(ledger))
    assert len(given) == 5 * 2
    assert all(int(a.config["dropout"] * 10_000) % 2 == 0 for a in given)
    assert ledger.configurations.proposed > 5
    again = open_ledger(tmp_path, **changes)
    assert [a.trial_id for a in assignments(again)] == [a.trial_id for a in given]


def test_data_that_have_gone_make_no_combination_impossible(tmp_path):
    ledger = open_ledger(tmp_path)

    def gone(*of_the_trial):
        raise ConfigError([Problem(field="data_dir", message="data_dir is data, but there is no such folder")])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SweepConfig, "trial_config", gone)
        with pytest.raises(ConfigError, match="there is no such folder"):
            ledger.next_assignment()
    assert len(list(assignments(Ledger(ledger.folder, ledger.config)))) == ledger.total > 0


def test_trials_of_the_journal_that_cannot_be_made_any_more_are_not_passed_over(tmp_path, monkeypatch):
    ledger = open_ledger(tmp_path)
    ledger.next_assignment()

    def gone(*of_the_trial):
        raise ConfigError([Problem(message="the data has gone")])

    monkeypatch.setattr(SweepConfig, "trial_config", gone)
    with pytest.raises(ExecutionError, match="configuration 0, which the journal has, cannot be made any more"):
        Ledger(ledger.folder, ledger.config)


def test_each_metric_of_several_is_told_to_the_search(tmp_path):
    """Also after a restart; of a configuration whose two seeds grok and do not."""
    several = {
        "method: grid": "method: tpe\nnum_trials: 16\nmetric: [{name: robustness}, {name: grok_step}]",
        "threshold: 1.0, sustain: 100": "threshold: 1.0",
    }
    ledger = open_ledger(tmp_path, **several)
    first, second = ledger.next_assignment().trial_id, ledger.next_assignment().trial_id
    for trial_id, outcome, more in ((first, "grokked", {"grok_step": 200}), (second, "budget", {})):
        step = more.get("grok_step", 300)
        metrics = {"heldout_loss": 1.0, "heldout_exact_match": 0.5}
        ledger.write("start", trial_id=trial_id, attempt=0, step=0)
        ledger.write("measurement", trial_id=trial_id, attempt=0, step=step, metrics=metrics, events=more)
        ledger.end(trial_id, outcome, report(trial_id, outcome, step, **more))
    expected = [1 / 2 + 0.5 / 4, (200 + 450) / 2]
    for books in (ledger, open_ledger(tmp_path, **several)):
        assert books.configurations.proposer.study.trials[0].values == pytest.approx(expected)


def test_a_budget_too_short_to_grok_is_worth_no_more_than_a_long_one(tmp_path):
    """Else a search of num_steps, told of 150 where it did not grok in 100, would look for the shortest."""
    method = {"method: grid": "method: tpe\nnum_trials: 16", "{value: 300}": "{values: [100, 300]}"}
    ledger = open_ledger(tmp_path, **method)
    budgets = set()
    for _ in range(32):
        assignment = ledger.next_assignment()
        budgets.add(assignment.config["num_steps"])
        ledger.end(assignment.trial_id, "budget", report(assignment.trial_id, step=assignment.config["num_steps"]))
    assert budgets == {100, 300}
    assert {trial.value for trial in ledger.configurations.proposer.study.trials} == {450}


@pytest.mark.parametrize("seeds", ["[1, 0]", "[0, 1]"])
def test_configurations_that_share_some_trials_run_each_of_them_once(tmp_path, seeds):
    alpha = "{value: 7}\n  grokfast_alpha: {values: [0.9, 0.98]}\n  init_seed: {value: 0, when: {grokfast_alpha: 0.98}}"
    changes = {
        "seeds: [0, 1]": f"seeds: {seeds}",
        "{value: 7}": alpha,
        **{"[1e-3, 3e-3, 1e-2, 3e-2]": "[3e-3]", "[0.1, 1]": "[1]", "[0, 0.2]": "[0]"},
    }
    ledger = open_ledger(tmp_path, **changes)
    given = list(assignments(ledger))
    seeds_of = {(a.config["init_seed"], a.config["split_seed"], a.config["order_seed"]) for a in given}
    assert seeds_of == {(0, 0, 0), (1, 1, 1), (0, 1, 1)}
    assert len(given) == 3
    assert sorted(t.index for t in ledger.poll().trials.values()) == [0, 1, 2]
    assert [a.trial_id for a in assignments(open_ledger(tmp_path, **changes))] == [a.trial_id for a in given]
    for a in given:
        ledger.end(a.trial_id, "budget", report(a.trial_id))
    assert ledger.finished


def test_what_had_finished_before_its_engine_died_is_not_trained_again(tmp_path):
    ledger = open_ledger(tmp_path)
    a = ledger.next_assignment()
    engine = ledger.folder.writer("engine")
    engine.write("start", trial_id=a.trial_id, attempt=0, step=0)
    engine.write("finish", trial_id=a.trial_id, attempt=0, step=300, outcome="grokked")
    ledger.fail(a.trial_id, "the engine died", fault="engine", alone=False)
    assert ledger.ended == {a.trial_id: "grokked"}
    assert ledger.poll().trials[a.trial_id].failures == {}
    ends = [e for e in ledger.folder.reader().poll() if e["event"] == "end"]
    assert [e["outcome"] for e in ends] == ["grokked"]


RANDOM = {"method: grid": "method: random\nnum_trials: 50", "[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3, 3e-3]"}


def test_a_search_that_had_ended_has_nothing_left_to_run_when_it_is_opened_again(tmp_path):
    ledger = open_ledger(tmp_path, **RANDOM)
    for a in list(assignments(ledger)):
        ledger.end(a.trial_id, "budget", report(a.trial_id))
    proposed = ledger.configurations.proposed
    again = open_ledger(tmp_path, **RANDOM)
    assert again.finished
    assert again.to_run == 0
    assert again.configurations.proposed == proposed


def blank(ledger: Ledger, *wanted: dict) -> None:
    """Damage the journal's lines that have these fields."""
    path = ledger.folder.store.local_path(ledger.journal.name)
    lines = path.read_bytes().splitlines(keepends=True)
    hit = [any(fields.items() <= json.loads(line).items() for fields in wanted) for line in lines]
    assert any(hit)
    path.write_bytes(b"".join(b"\0" * (len(s) - 1) + b"\n" if bad else s for s, bad in zip(lines, hit, strict=True)))


@pytest.mark.parametrize("method", ["grid", "random", "sobol", "tpe"])
def test_a_proposal_whose_line_is_damaged_keeps_its_trials(tmp_path, method):
    changes = {"method: grid": f"method: {method}\nnum_trials: 6"}
    ledger = open_ledger(tmp_path, **changes)
    given = [a.trial_id for a in assignments(ledger)]
    blank(ledger, {"event": "suggest", "configuration": 2})
    for _ in range(2):
        again = open_ledger(tmp_path, **changes)
        assert [a.trial_id for a in assignments(again)] == given
    for trial_id in given:
        again.end(trial_id, "budget", report(trial_id))
    assert open_ledger(tmp_path, **changes).finished


@pytest.mark.parametrize("method", ["grid", "random", "sobol", "tpe"])
def test_a_configuration_of_which_nothing_is_left_in_the_journal_is_proposed_again(tmp_path, method):
    changes = {"method: grid": f"method: {method}\nnum_trials: 6"}
    ledger = open_ledger(tmp_path, **changes)
    given = [a.trial_id for a in assignments(ledger)]
    blank(ledger, {"configuration": 2})
    again = open_ledger(tmp_path, **changes)
    assert not again.finished
    found = [a.trial_id for a in assignments(again)]
    assert len({*found}) == len(found) == 12
    if method != "tpe":  # which has learned since
        assert {*found} == {*given}
    state = again.poll()
    assert len({trial.index for trial in state.trials.values()}) == 12
    assert {0, 1, 2, 3, 4, 5} <= state.configurations.keys()
    opened = open_ledger(tmp_path, **changes)
    assert sorted(a.trial_id for a in assignments(opened)) == sorted(found)


def test_a_search_that_learns_proposes_at_random_once_it_repeats_itself(tmp_path, monkeypatch):
    changes = {"method: grid": "method: tpe\nnum_trials: 50", "[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3, 3e-3]"}
    ledger, asked = open_ledger(tmp_path, **changes), []
    propose = ledger.configurations.proposer.propose

    def watched(index: int, *, at_random: bool) -> dict | None:
        asked.append(at_random)
        return propose(index, at_random=at_random)

    monkeypatch.setattr(ledger.configurations.proposer, "propose", watched)
    assert len(list(assignments(ledger))) == 16  # all there are
    first = asked.index(True)
    assert first >= FRUITLESS_GUESSES
    assert all(asked[-MAX_FRUITLESS + FRUITLESS_GUESSES :])
