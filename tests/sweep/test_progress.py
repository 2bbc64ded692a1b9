"""The summary's trials are ordered by what the sweep aims at."""

from __future__ import annotations

import pytest

from grokray.records.state import SweepState
from grokray.sweep.progress import progress_of
from grokray.sweep.sections import Metric
from grokray.trial import TrialConfig

# Name → steps of its events, its last exact match and loss on held-out pairs.
TRIALS = {
    "early": ({"memorization_step": 100, "grok_step": 500}, 1.0, 0.3),
    "late": ({"memorization_step": 700, "grok_step": 800}, 1.0, 0.1),
    "near": ({"memorization_step": 200}, 0.9, 0.2),
    "far": ({}, 0.1, 5.0),
}


def test_who_runs_is_told_by_the_session_that_started_it_and_by_no_clock():
    """The engines' clocks are hours behind the driver's."""
    state = SweepState()
    for index, sessions in enumerate((("one", "two"), ("two",), ("one",), ())):
        state.apply(
            {"t": 9.0, "event": "trial", "trial_id": f"{index}", "index": index, "configuration": 0, "config": {}}
        )
        for attempt, session in enumerate(sessions):
            fields = {"trial_id": f"{index}", "attempt": attempt, "step": 0, "session": session}
            state.apply({"t": 5.0 - attempt, "event": "start", **fields})
    running, in_all = progress_of(state, 4, session="two"), progress_of(state, 4)
    assert (running.running, running.waiting) == (2, 2)
    assert (in_all.running, in_all.waiting) == (3, 1)


@pytest.mark.parametrize(
    ("metric", "order"),
    [
        (Metric(), "early late near far"),
        (Metric(goal="maximize"), "late early near far"),
        (Metric(name="robustness"), "early late near far"),
        (Metric(name="memorization_step"), "early near late far"),
        (Metric(name="grok_delay"), "late early near far"),
        (Metric(name="heldout_loss"), "late near early far"),
        (Metric(name="heldout_exact_match"), "early late near far"),
    ],
)
def test_the_best_are_so_by_the_metric(metric, order):
    state = SweepState()
    names = {}
    for index, (name, (events, exact, loss)) in enumerate(reversed(TRIALS.items())):
        config = TrialConfig(init_seed=index)
        names[config.id] = name
        fields = {"index": index, "configuration": index, "config": config.model_dump()}
        state.apply({"t": 1.0, "event": "trial", "trial_id": config.id, **fields})
        metrics = {"heldout_exact_match": exact, "heldout_loss": loss}
        more = {"attempt": 0, "step": 900, "metrics": metrics, "events": events}
        state.apply({"t": 2.0, "event": "measurement", "trial_id": config.id, **more})
    assert [names[t.trial_id] for t in progress_of(state, 4, metric=metric).best] == order.split()


def test_for_robustness_a_configuration_whose_seeds_all_grok_is_before_an_early_grokker_by_luck():
    state, names = SweepState(), {}
    steps = {"lucky": (100, None, None), "most": (300, 400, None), "sure": (900, 700, 800)}
    for configuration, (name, of_seeds) in enumerate(steps.items()):
        for seed, step in enumerate(of_seeds):
            trial_id = names.setdefault(f"{name} {step}", f"{configuration}{seed}")
            fields = {"index": 3 * configuration + seed, "configuration": configuration, "seed": seed, "config": {}}
            state.apply({"t": 1.0, "event": "trial", "trial_id": trial_id, **fields})
            more = {"attempt": 0, "step": 900, "metrics": {}, "events": {} if step is None else {"grok_step": step}}
            state.apply({"t": 2.0, "event": "measurement", "trial_id": trial_id, **more})
    found = [trial.trial_id for trial in progress_of(state, 9, metric=Metric(name="robustness")).best]
    assert found == [names[name] for name in ("sure 700", "sure 800", "sure 900", "most 300", "most 400")]
    assert progress_of(state, 9).best[0].trial_id == names["lucky 100"]
