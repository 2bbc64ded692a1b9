"""The simulated sweeps of the benchmark of coverage are what they say, and its intervals hold the truth."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import coverage

from grokray.analysis.trial_columns import numbers, texts

PRUNED = coverage.Setting(configurations=100, seeds=3, audit=0.2)


def test_the_truth_is_that_of_a_large_sweep():
    setting = coverage.Setting(configurations=60_000, seeds=1, audit=None)
    trials, killed, _ = coverage.simulate(setting, np.random.default_rng(0))
    grok_step = np.nan_to_num(numbers(trials, "grok_step"), nan=np.inf)
    for steps in (coverage.HORIZON, coverage.BUDGET):
        assert np.mean(grok_step <= steps) == pytest.approx(coverage._grokked_by(setting.intercept, steps), abs=0.01)
    assert np.median(grok_step) == pytest.approx(coverage._median(setting.intercept), rel=0.03)
    mean = np.minimum(grok_step, coverage.BUDGET).mean()
    assert mean == pytest.approx(coverage._mean_up_to(setting.intercept, coverage.BUDGET), rel=0.01)
    assert killed == 0


def test_stopped_trials_are_those_behind_and_some_are_audited():
    trials, killed, _ = coverage.simulate(PRUNED, np.random.default_rng(1))
    stopped, audited = ~np.isnan(numbers(trials, "stop_step")), trials["audited"].to_numpy()
    assert 0.4 < stopped.mean() < 0.95
    assert 0.1 < audited.sum() / stopped.sum() < 0.3
    assert (texts(trials, "outcome")[stopped & ~audited] == "pruned").all()
    assert 0 < killed < 1


@pytest.mark.slow
@pytest.mark.parametrize("setting", coverage.SETTINGS, ids=lambda setting: setting.name)
def test_intervals_hold_the_truth(setting):
    found = coverage.coverage(setting, sweeps=200, seed=11)
    fair = {name: row["coverage"] for name, row in found.items() if "ignoring" not in name and "seen to" not in name}
    # Of 200 intervals of 95 %, all but one in a thousand runs have at least 180 that hold the truth.
    assert min(fair.values()) >= 0.9, fair
    biased = [row["coverage"] for name, row in found.items() if "grokked by" in name and name not in fair]
    assert max(biased, default=0.0) < 0.5
