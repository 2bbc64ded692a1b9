from __future__ import annotations

import pyarrow.dataset as ds
import pytest
from records_helpers import make_folder

from grokray.records.collect import collect
from grokray.records.tables import read_task_curves, read_tasks, read_trials
from grokray.trial import TrialConfig


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "sweep")


def measure(journal, step, accuracies, *, attempt=0, grokked=None):
    """One measurement of a trial with the tasks `sum` and `product`."""
    tasks = {task: {"heldout_exact_match": a} for task, a in accuracies.items()}
    events = {task: {"grok_step": s, "grok_step_lower": s - 10} for task, s in (grokked or {}).items()}
    metrics = {"heldout_exact_match": min(accuracies.values())}
    fields = {"tasks": tasks, "task_events": events, "metrics": metrics, "wall_time_s": 1.0}
    journal.write("measurement", trial_id="t", attempt=attempt, step=step, **fields)


@pytest.fixture
def collected(folder):
    with folder.writer("driver") as journal:
        journal.write("trial", trial_id="t", index=0, configuration=0, seed=0, config=TrialConfig().model_dump())
        journal.write("start", trial_id="t", attempt=0, step=0)
        measure(journal, 10, {"sum": 0.1, "product": 0.0})
        measure(journal, 20, {"sum": 1.0, "product": 0.2}, grokked={"sum": 20})
        measure(journal, 20, {"sum": 1.0, "product": 0.25}, attempt=1, grokked={"sum": 20})
        measure(journal, 30, {"sum": 1.0, "product": 0.3}, attempt=1, grokked={"sum": 20})
        journal.write("finish", trial_id="t", attempt=1, step=30, outcome="budget")
    collect(folder)
    return folder


def test_each_task_has_its_row_with_its_own_grok_step(collected):
    rows = {row["task"]: row for row in read_tasks(collected).to_pylist()}
    assert rows.keys() == {"sum", "product"}
    assert (rows["sum"]["grok_step"], rows["sum"]["event_observed"], rows["sum"]["censor_reason"]) == (20, True, None)
    assert (rows["product"]["grok_step"], rows["product"]["duration_steps"]) == (None, 30)
    assert rows["product"]["censor_reason"] == "budget"
    assert rows["product"]["final_heldout_exact_match"] == 0.3
    assert read_trials(collected)["event_observed"].to_pylist() == [False]


def test_the_tasks_curves_are_in_long_form_each_number_once(collected):
    rows = read_task_curves(collected).to_pylist()
    assert [(r["step"], r["task"], r["value"]) for r in rows] == [
        (10, "product", 0.0),
        (10, "sum", 0.1),
        (20, "product", 0.25),
        (20, "sum", 1.0),
        (30, "product", 0.3),
        (30, "sum", 1.0),
    ]
    assert {r["metric"] for r in rows} == {"heldout_exact_match"}
    path = collected.store.local_path("task_curves")
    assert ds.dataset(path).to_table().num_rows == 6


def test_a_sweep_of_single_tasks_has_no_tables_of_tasks(folder):
    with folder.writer("driver") as journal:
        journal.write("trial", trial_id="t", index=0, configuration=0, config=TrialConfig().model_dump())
        journal.write("measurement", trial_id="t", attempt=0, step=10, metrics={"train_loss": 1.0})
    collect(folder)
    assert not folder.store.exists("tasks.parquet")
    assert read_tasks(folder).num_rows == 0
    assert read_task_curves(folder).num_rows == 0


def test_the_tasks_of_a_trial_that_diverged_are_in_that_phase(folder):
    with folder.writer("driver") as journal:
        journal.write("trial", trial_id="t", index=0, configuration=0, config=TrialConfig().model_dump())
        measure(journal, 10, {"sum": 1.0, "product": 0.2}, grokked={"sum": 10})
        journal.write("finish", trial_id="t", attempt=0, step=20, outcome="diverged")
    collect(folder)
    assert {row["phase"] for row in read_tasks(folder).to_pylist()} == {"diverged"}
