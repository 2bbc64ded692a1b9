"""The log-rank test against the published value, Cox's score test, and its definition."""

from __future__ import annotations

import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from grokray.analysis.logrank import holm, log_rank, pairwise
from grokray.analysis.times import Times

sys.path.insert(0, str(Path(__file__).parent))
from survival_data import BOTH, IS_PLACEBO, random_trials


def test_the_published_value():
    """16.79, with 19.3 and 10.7 expected, as R's survdiff prints."""
    test = log_rank(BOTH, IS_PLACEBO)
    assert test.statistic == pytest.approx(16.793, abs=5e-4)
    assert test.observed.tolist() == [9, 21]
    assert test.expected == pytest.approx([19.25, 10.75], abs=5e-3)
    assert (test.degrees, test.robust) == (1, False)
    assert test.p_value == pytest.approx(4.17e-5, rel=1e-2)


def by_loops(times: Times, group: np.ndarray) -> float:
    """Three or more groups: observed less expected, and the hypergeometric covariance, time by time."""
    names = np.unique(group)
    difference, covariance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for time in np.unique(times.seen_until[times.observed]):
        at_risk = np.array([((group == name) & (times.seen_until >= time)).sum() for name in names])
        died = times.observed & (times.seen_until == time)
        deaths = np.array([((group == name) & died).sum() for name in names])
        n, d = at_risk.sum(), deaths.sum()
        difference += deaths - at_risk * d / n
        if n > 1:
            spread = d * (n - d) / (n - 1)
            covariance += spread * (np.diag(at_risk / n) - np.outer(at_risk, at_risk) / n**2)
    return float(difference[1:] @ np.linalg.solve(covariance[1:, 1:], difference[1:]))


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_as_by_definition(groups):
    generator = np.random.default_rng(groups)
    trials = random_trials(generator, 80)
    trials = Times.of(trials.lower, trials.upper)
    group = generator.integers(0, groups, 80)
    test = log_rank(trials, group)
    assert test.statistic == pytest.approx(by_loops(trials, group))
    assert test.degrees == groups - 1


def residuals(times: Times) -> np.ndarray:
    """(n,): each trial's events less the hazard that it was exposed to, one time after the other, by its weight."""
    parts = times.weight * times.observed
    for time in np.unique(times.seen_until[times.observed]):
        at_risk, died = times.seen_until >= time, times.observed & (times.seen_until == time)
        parts[at_risk] -= times.weight[at_risk] * times.weight[died].sum() / times.weight[at_risk].sum()
    return parts


@pytest.mark.parametrize("grouped", ["whole configurations", "trials of one"])
def test_weighted_by_every_permutation(grouped):
    """Of so few that all can be tried."""
    generator, cluster = np.random.default_rng(5), np.repeat(np.arange(8), 2)
    time, weight = generator.exponential(size=16), generator.integers(1, 5, 16).astype(float)
    times = Times.right_censored(time, generator.random(16) < 0.7, weight, cluster)
    parts = residuals(times)
    if grouped == "whole configurations":
        sums, group = np.bincount(cluster, weights=parts), np.arange(8) % 2
        apart = [sums[list(those)].sum() for those in combinations(range(8), 4)]
        found = sums[group == 1].sum()
        test = log_rank(times, group[cluster])
    else:
        group = np.tile([0, 1], 8)
        apart = [parts[np.arange(16) % 2 == np.repeat(side, 2)].sum() for side in product([0, 1], repeat=8)]
        found = parts[group == 1].sum()
        test = log_rank(times, group)
    apart = np.array(apart) - np.mean(apart)
    found -= parts.sum() / 2  # which is 0 but for rounding
    assert test.robust
    assert test.observed[1] - test.expected[1] == pytest.approx(found)
    assert test.statistic == pytest.approx(found**2 / np.mean(apart**2), rel=1e-6)
    assert test.p_value == pytest.approx(np.mean(np.abs(apart) >= abs(found) - 1e-9), abs=0.12)


@pytest.mark.parametrize("groups", [2, 8])
def test_a_few_audited_trials_do_not_make_groups_differ(groups):
    rng, rejected = np.random.default_rng(0), 0
    for _ in range(100):
        audited = rng.random(300) < 0.05
        time = np.where(audited, 20_000, rng.lognormal(8, 0.5, 300))
        times = Times.right_censored(time, ~audited | (rng.random(300) < 0.3), np.where(audited, 20.0, 1.0))
        rejected += log_rank(times, np.arange(300) % groups).p_value < 0.05
    assert rejected <= 12  # 5 expected, standard deviation 2.2; by a robust variance and F 90 of 8 groups


def test_copies_in_clusters_prove_nothing_more():
    # Equal weights other than 1 ask for the robust variance, and cancel.
    alone = log_rank(Times.of(BOTH.lower, BOTH.upper, np.full(42, 2.0)), IS_PLACEBO)
    lower, upper, group = (np.tile(values, 3) for values in (BOTH.lower, BOTH.upper, IS_PLACEBO))
    copied = log_rank(Times.of(lower, upper, cluster=np.tile(np.arange(42), 3)), group)
    assert copied.statistic == pytest.approx(alone.statistic)
    assert log_rank(Times.of(lower, upper), group).statistic > 2.5 * log_rank(BOTH, IS_PLACEBO).statistic


def test_holm():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.6, np.nan, 0.7])) == pytest.approx([1, np.nan, 1], nan_ok=True)


def test_pairs_are_compared_alone():
    group = np.where(IS_PLACEBO == 1, "placebo", np.where(np.arange(42) % 2, "odd", "even"))
    pairs = pairwise(BOTH, group)
    assert [(pair.first, pair.second) for pair in pairs] == [("even", "odd"), ("even", "placebo"), ("odd", "placebo")]
    mask = group != "odd"
    assert pairs[1].test.statistic == log_rank(BOTH.select(mask), group[mask]).statistic
    assert all(pair.adjusted >= pair.test.p_value for pair in pairs)


def test_what_cannot_be_compared_says_so():
    nothing = Times.right_censored([5, 6], [False, False])
    assert log_rank(nothing, np.array([0, 1])).note is not None
    assert log_rank(BOTH, np.zeros(42)).note == "there is one group only"
    assert np.isnan(log_rank(nothing, np.array([0, 1])).p_value)
    assert log_rank(Times.of([], []), np.array([])).note == "no trial counts"


def test_few_configurations_do_not_reject_too_often():
    rng, rejected = np.random.default_rng(0), 0
    for _ in range(600):
        time = np.exp(7 + np.repeat(rng.normal(size=10), 3) + 0.3 * rng.normal(size=30))
        times = Times.right_censored(time, np.ones(30, bool), cluster=np.repeat(np.arange(10), 3))
        rejected += log_rank(times, np.repeat([0, 1], 15)).p_value < 0.05
    assert rejected <= 0.08 * 600  # chi-squared: 0.12


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_groups_of_one_configuration_each_cannot_be_compared(groups):
    """However far apart they are, and however many seeds they have."""
    time = np.concatenate([1000 * (number + 1) + np.arange(10.0) for number in range(groups)])
    group = np.repeat(np.arange(groups), 10)
    test = log_rank(Times.of(time - 1, time, cluster=group), group)
    assert np.isnan(test.p_value)
    assert test.note == f"{groups} configurations are too few: p could not be below 1.00"
    # Of as many configurations as it takes, the test sees what there is to see.
    halves = np.arange(groups * 10) // 2
    assert log_rank(Times.of(time - 1, time, cluster=halves), group).p_value < 0.05


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_a_search_learned_of_one_parameter_is_not_said_of_an_idle_one(seeds):
    """Late configurations grok earlier, and more of them have the idle value that the search came to like."""
    rng, found = np.random.default_rng(0), {False: [], True: []}
    configuration = np.repeat(np.arange(120), seeds)
    for _ in range(8):
        idle = (rng.random(120) < np.linspace(0.1, 0.9, 120))[configuration]
        time = np.exp(rng.normal(size=len(idle)) - 3 * configuration / 120)
        times = Times.right_censored(time, np.ones(len(idle), bool), cluster=configuration)
        for learned, p_values in found.items():
            p_values.append(log_rank(times, idle, learned=learned).p_value)
    assert np.mean(np.array(found[False]) < 0.05) > 0.5
    assert np.mean(np.array(found[True]) < 0.05) < 0.3
    # What makes a difference among neighbours is seen all the same.
    told = log_rank(
        Times.right_censored(np.where(idle, 1.0, 2.0) + 0.01 * time, time > 0, cluster=configuration),
        idle,
        learned=True,
    )
    assert told.robust
    assert told.p_value < 0.01
