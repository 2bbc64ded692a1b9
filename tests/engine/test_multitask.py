from __future__ import annotations

import pytest

from grokray.engine.checkpoint import from_bytes, to_bytes
from grokray.engine.engine import Engine
from grokray.engine.trial_events import TrialEvents
from grokray.events import EventTracker
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import alone, curve, run, small

TWO = {"operation": "x+y_mod,x-y_mod"}
SEQUENCE = {"operation": "x+y,xy_abs_diff", "modulus": None, "operand_limit": 8, "task_type": "sequence", "base": 3}
PARTS = ("train", "heldout", "out_of_domain")


@pytest.mark.parametrize("changes", [TWO, SEQUENCE, TWO | {"operand_limit": 7, "operand_limit_out": 11}], ids=str)
def test_tasks_add_up_to_the_whole(changes):
    config = small(**changes, num_steps=40)
    dataset = build_dataset(config)
    names, task = dataset.table.task_names, dataset.table.task
    scored = (dataset.table.targets >= 0).sum(1)
    for m in alone(config):
        assert list(m.tasks) == list(names)
        for part in PARTS:
            rows = getattr(dataset.split, part)
            if not len(rows):
                assert not any(key.startswith(part) for metrics in m.tasks.values() for key in metrics)
                continue
            counts = [int((task[rows] == i).sum()) for i in range(2)]
            tokens = [int(scored[rows][task[rows] == i].sum()) for i in range(2)]
            for metric, weight in (("loss", counts), ("exact_match", counts), ("token_accuracy", tokens)):
                values = [m.tasks[name][f"{part}_{metric}"] for name in names]
                mean = sum(w * v for w, v in zip(weight, values, strict=True)) / sum(weight)
                assert m.metrics[f"{part}_{metric}"] == pytest.approx(mean, rel=1e-12)


def test_each_task_is_measured_on_its_own_rows():
    """One task is easy: its right answer is always the same, so that it is learned in a few steps."""
    config = small(operation="x+y_mod,expr:(x + y) * 0 % p", num_steps=100, eval_interval=20)
    hard, easy = build_dataset(config).table.task_names
    last = alone(config)[-1]
    assert last.tasks[easy]["heldout_exact_match"] == 1.0
    assert last.tasks[hard]["heldout_exact_match"] < 0.5
    assert last.task_events[easy]["grok_step"] is not None
    assert last.task_events[hard]["grok_step"] is None
    assert last.events["grok_step"] is None


def test_a_single_task_has_no_tasks():
    for m in alone(small()):
        assert m.tasks == {}
        assert m.task_events == {}


def test_alone_in_company_and_after_a_move():
    config = small(**TWO, dropout=0.1, threshold=0.05, sustain=2, num_steps=60)
    engine = Engine()
    engine.join("watched", config)
    engine.join("other", small(**TWO, seed=1))
    engine.join("third", small(operation="x-y_mod,x+y_mod", seed=2))
    head = [m for m in engine.next() if m.trial == "watched"]
    data, digest = to_bytes(engine.save("watched"))
    tail = run(engine)["watched"]
    moved = Engine()
    moved.restore("watched", config, from_bytes(data, digest))
    again = run(moved)["watched"]
    whole = alone(config)
    for found in (head + tail, head + again):
        assert curve(found) == curve(whole)
        for a, b in zip(found, whole, strict=True):
            assert (a.tasks, a.events, a.task_events, a.outcome) == (b.tasks, b.events, b.task_events, b.outcome)


def test_ends_when_all_tasks_have_grokked():
    easy = {"operation": "xy_avg,xy_abs_diff", "modulus": None, "operand_limit": 11, "threshold": 0.05, "sustain": 2}
    config = small(**easy, num_steps=400, training_fraction=0.8)
    last = alone(config)[-1]
    steps = [events["grok_step"] for events in last.task_events.values()]
    assert last.outcome == "grokked"
    assert last.events["grok_step"] >= max(steps)
    assert last.step == last.events["grok_step"] + config.eval_interval


def observed(overall: list[float], **tasks: list[float]) -> TrialEvents:
    """After evaluations at 100, 200, …, with these held-out accuracies."""
    events = TrialEvents(overall=EventTracker(sustain=2), tasks={name: EventTracker(sustain=2) for name in tasks})
    for i, accuracy in enumerate(overall):
        of_tasks = {name: {"train_exact_match": 1.0, "heldout_exact_match": seen[i]} for name, seen in tasks.items()}
        events.observe(100 * (i + 1), {"train_exact_match": 1.0, "heldout_exact_match": accuracy}, of_tasks)
    return events


def test_the_last_tasks_grok_step_is_the_trials():
    events = observed([0.5, 0.9, 0.99, 1, 1], a=[1, 1, 1, 1, 1], b=[0, 0.8, 0.98, 1, 1])
    assert events.grokked
    assert events.overall.grok_step == 300
    assert events.state()["grok_step"] == 400
    assert events.state()["grok_step_lower"] == 300
    assert events.task_states()["a"]["grok_step"] == 100
    assert events.state()["memorization_step"] == 100


def test_one_task_that_has_not_grokked_is_enough_to_go_on():
    events = observed([1, 1, 1], a=[1, 1, 1], b=[0.98, 1, 0.98])
    assert not events.grokked
    assert events.overall.grokked
    assert events.state()["grok_step"] is None
    assert events.state()["grok_step_lower"] is None


def test_what_falls_after_grokking_is_ungrokked_and_what_fell_before_is_not():
    assert observed([1, 1, 1, 0.8], a=[1, 1, 1, 0.6])._all[0].ungrok_step == 400
    assert observed([1, 1, 1, 0.8], a=[1, 1, 1, 0.6]).state()["ungrok_step"] == 400
    assert observed([1, 1, 0.8, 1, 1], a=[0, 0, 0, 1, 1]).state()["ungrok_step"] is None


def test_events_of_a_single_task_are_the_trackers():
    events = observed([1, 1, 0.5])
    assert events.state() == events.overall.state()
    events.diverge()
    assert events.state()["diverged"]
