"""The simulated sweeps of the benchmark of predictors are what they say."""

from __future__ import annotations

import numpy as np
import predicting
import pytest
from predicting import Setting


def test_a_measure_that_tells_nothing_is_a_coins_toss_and_one_that_tells_all_is_nearly_certain():
    generator = np.random.default_rng(0)
    nothing = predicting.simulate(Setting(configurations=2_000, seeds=2, slope=0.0, of_seed=0.0), generator)
    everything = predicting.simulate(Setting(configurations=2_000, seeds=2, of_seed=1.0, noise=0.0), generator)
    assert nothing.among_all.value == pytest.approx(0.5, abs=0.03)
    assert nothing.within.value == pytest.approx(0.5, abs=0.05)
    assert everything.among_all.value > 0.99
    assert everything.within.value > 0.99


def test_audited_trials_stand_for_those_that_were_pruned():
    generator = np.random.default_rng(0)
    setting = {"configurations": 6_000, "seeds": 2}
    plain = predicting.simulate(Setting(**setting), generator)
    audited = predicting.simulate(Setting(**setting, audits=0.25), generator)
    assert audited.trials < 0.9 * plain.trials
    assert audited.among_all.value == pytest.approx(plain.among_all.value, abs=0.015)


def test_coverage_counts_intervals_that_hold_the_truth():
    found = predicting.coverage(Setting(configurations=40, seeds=3), 40)
    assert 0.85 <= found["among_all"]["coverage"] <= 1.0
    assert found["among_all"]["known"] == 1.0
    assert found["among_all"]["mean"] == pytest.approx(found["among_all"]["truth"], abs=0.03)
