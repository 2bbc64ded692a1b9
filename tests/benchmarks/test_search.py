"""The trials of the benchmark of searches are what its truth says, and the sweep's own code decides on them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import search
import surface

GOOD = {"learning_rate": 3e-3, "weight_decay": 1.0, "training_fraction": 0.75, "num_steps": 4_000}
AT_THE_CLIFF = GOOD | {"learning_rate": 8e-3}
LITTLE_DATA = GOOD | {"training_fraction": 0.45}
ARM = search.Arm(method="random", scheduler="asha", metric="grok_step", steps=4_000)
BUDGET = 20 * ARM.steps


@pytest.mark.parametrize("config", [GOOD, AT_THE_CLIFF, LITTLE_DATA])
def test_the_truth_is_that_of_many_trials(config):
    known = surface.truth(config)
    trials = [surface.trial(f"{config}/{number}", config) for number in range(2_000)]
    grokked = np.array([trial.grokked if trial.outcome == "grokked" else math.inf for trial in trials])
    assert np.isfinite(grokked).mean() == pytest.approx(float(known.robustness), abs=0.04)
    if np.isfinite(known.median):
        assert np.median(grokked) == pytest.approx(float(known.median), rel=0.1)
    assert {trial.outcome for trial in trials} == {"grokked", "budget", "diverged"}
    assert max(trial.end for trial in trials) <= config["num_steps"]


def test_no_configuration_is_better_than_the_best_one():
    draw = np.random.default_rng(0).uniform
    many = {
        "learning_rate": np.exp(draw(math.log(3e-4), math.log(3e-2), 50_000)),
        "weight_decay": np.exp(draw(math.log(0.03), math.log(3), 50_000)),
        "training_fraction": draw(0.3, 0.8, 50_000),
        "num_steps": 4_000,
    }
    known, best = surface.truth(many), surface.best(4_000)
    assert best["grok_step"] < known.median.min() < 1.2 * best["grok_step"]
    assert best["robustness"] * 0.99 < known.robustness.max() < best["robustness"] * 1.01


def test_curves_memorize_and_grok_where_the_trial_says():
    trials = [surface.trial(str(number), GOOD) for number in range(50)]
    for trial in (trial for trial in trials if trial.outcome == "grokked"):
        before, fitted, grokked = (trial.report(int(s)) for s in (50, trial.memorized, trial.grokked))
        assert before.metrics["heldout_exact_match"] < 0.9
        assert fitted.metrics["train_exact_match"] >= 0.99
        assert grokked.metrics["heldout_exact_match"] >= 0.99
        assert (fitted.events["grok_step"], grokked.events["grok_step"]) == (None, None)  # not sustained yet
        assert trial.report(trial.end).events["grok_step"] == trial.grokked


def test_a_search_is_told_of_pruned_trials_that_did_not_grok_or_what_they_would_have_come_to():
    pruned, unpruned = (
        search.Simulation(arm, seats=6, seed=0).run(BUDGET) for arm in (ARM, replace(ARM, unpruned=True))
    )
    assert pruned.pruned > 0
    assert max(pruned.ended_at.values()) <= BUDGET
    assert (pruned.trials, pruned.ended_at) == (unpruned.trials, unpruned.ended_at)  # random search learns nothing
    assert all(pruned.told[index] >= unpruned.told[index] for index in pruned.told)
    assert pruned.told != unpruned.told


def test_a_search_is_the_same_again_and_another_one_with_another_seed():
    arm = replace(ARM, method="tpe", scheduler="grok_asha")
    first, again, other = (
        search.summary(search.Simulation(arm, seats=6, seed=seed).run(BUDGET), arm) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_medians_and_differences():
    assert search.median(range(1, 31)) == (15.5, 10, 21)
    assert search.median([1.0] * 4 + [math.inf] * 26)[0] == math.inf
    mean, low, high = search.difference([1.0, 2.0, math.inf], [0.0, 2.0, 9.0], budget=10.0)
    assert mean == pytest.approx(2 / 3)
    assert low == pytest.approx(mean - 4.3027 * math.sqrt(1 / 9), rel=1e-3)
    assert high == pytest.approx(2 * mean - low)
