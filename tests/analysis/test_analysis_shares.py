from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from grokray.analysis.intervals import wilsons
from grokray.analysis.outcomes import codes, grouped, outcomes, varying
from grokray.analysis.shares import mean_of_known, percentiles, resampled, shares, spread
from grokray.analysis.weights import inverse_probability_weights, scheduler_audit
from grokray.errors import ConfigError
from tests.analysis.tables import grokking, trials_of


def one_cell(success, weight=None, cluster=None):
    success = np.asarray(success, dtype=bool)
    weight = np.ones(len(success)) if weight is None else np.asarray(weight, dtype=float)
    cluster = np.arange(len(success)) if cluster is None else np.asarray(cluster)
    return shares(success, weight, cluster, np.zeros(len(success), dtype=int), 1)


@pytest.mark.parametrize(
    ("hits", "of", "lower", "upper"),
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(hits, of, lower, upper):
    found = wilsons(np.array([hits / of]), np.array([of]))
    assert np.round(np.concatenate(found), 4).tolist() == [lower, upper]


def test_equal_weights_and_clusters_of_one_are_nearly_plain_wilson():
    found = one_cell([1] * 30 + [0] * 70)
    # The spread is estimated with n − 1, and so one trial in a hundred fewer.
    assert found.effective[0] == pytest.approx(99, abs=0.01)
    assert [found.lower[0], found.upper[0]] == pytest.approx(np.concatenate(wilsons(np.r_[0.3], np.r_[99.0])), abs=1e-4)


def test_copies_of_a_trial_add_nothing():
    half = [1, 0] * 20
    alone, copied = one_cell(half), one_cell(np.repeat(half, 5), cluster=np.repeat(np.arange(40), 5))
    assert copied.share == alone.share
    # A little wider still: the t quantile of few clusters.
    assert copied.lower[0] == pytest.approx(alone.lower[0], abs=0.01)
    assert copied.effective[0] < 40
    assert copied.trials[0] == 200
    assert copied.clusters[0] == 40


def test_unequal_weights_cost_effective_trials():
    rng = np.random.default_rng(0)
    success = rng.random(400) < 0.5
    weight = np.where(np.arange(400) % 10 == 0, 10.0, 1.0)
    found = one_cell(success, weight)
    kish = weight.sum() ** 2 / (weight**2).sum()
    assert 0.6 * kish < found.effective[0] <= kish
    assert found.share[0] == pytest.approx(np.average(success, weights=weight))


def test_where_all_agree_each_cluster_counts_once():
    found = one_cell([True] * 12, cluster=np.repeat(np.arange(4), 3))
    assert found.effective[0] == 4
    assert found.lower[0] == pytest.approx(wilsons(np.array([1.0]), np.array([4.0]))[0][0])


def test_cells_are_apart_and_empty_ones_say_so():
    success, cell = np.array([1, 0, 1, 1], dtype=bool), np.array([0, 0, 2, -1])
    found = shares(success, np.ones(4), np.arange(4), cell, 3)
    assert found.trials.tolist() == [2, 0, 1]
    assert found.share[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan([found.share[1], found.lower[1], found.upper[1]]).all()


def test_the_interval_covers_the_truth_of_clustered_weighted_trials():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        chance = rng.beta(1, 1, size=40)  # by configuration; 0.5 on average
        success = rng.random((40, 3)) < chance[:, None]
        weight = rng.choice([1.0, 4.0], size=(40, 3))
        found = one_cell(success.ravel(), weight.ravel(), np.repeat(np.arange(40), 3))
        hits += found.lower[0] <= 0.5 <= found.upper[0]
    assert 182 <= hits <= 199  # 95 % of 200 are 190, standard deviation 3


def test_resampled_clusters_and_percentiles():
    draws = np.array(list(resampled(50, 400, np.random.default_rng(0))))
    assert (draws.sum(axis=1) == 50).all()
    assert draws.mean() == 1
    assert draws.var() == pytest.approx(1, abs=0.1)
    assert percentiles(np.r_[np.arange(101.0), np.nan]) == pytest.approx((2.5, 97.5), abs=0.5)
    assert np.isnan(percentiles(np.r_[1.0, np.full(9, np.nan)])).all()


@pytest.mark.filterwarnings("error")
def test_means_are_of_what_is_known():
    values = np.array([[1.0, 3.0, np.nan], [np.nan] * 3])
    assert mean_of_known(values) == pytest.approx([2.0, np.nan], nan_ok=True)
    assert mean_of_known(values[0]) == 2


def test_resamples_that_all_agree_have_no_interval():
    assert np.isnan(spread(np.ones(100), 9)).all()
    assert spread(np.full(100, np.inf), 9) == (np.inf, np.inf)
    assert spread(np.arange(100.0), 10**6) == percentiles(np.arange(100.0))


def test_resamples_of_few_clusters_are_expanded_to_students():
    """Means of 8 normal numbers: half of the interval is Student's quantile times the standard error."""
    values = np.random.default_rng(0).normal(size=8)
    draws = np.array([draw @ values / 8 for draw in resampled(8, 20_000, np.random.default_rng(1))])
    lower, upper = spread(draws, 8)
    student = stats.t.isf(0.025, 7) * values.std(ddof=1) / np.sqrt(8)
    assert (upper - lower) / 2 == pytest.approx(student, rel=0.1)  # a normal's would be 1.96 / 2.36 * sqrt(7 / 8) of it


def test_audited_trials_stand_for_the_pruned_ones():
    trials = trials_of(
        5,
        grok_step=[500, None, None, 900, None],
        outcome=["grokked", "pruned", "budget", "grokked", "diverged"],
        stop_step=[None, 100, 100, 100, None],
        audited=[False, False, True, True, False],
        audit_probability=[None, 0.25, 0.25, 0.5, None],
    )
    found = outcomes(trials)
    assert found.weight.tolist() == [1, 0, 4, 2, 1]
    assert found.grokked.tolist() == [True, False, False, True, False]
    assert (found.pruned, found.audited, found.undecided, found.notes) == (1, 2, 0, ())


def test_a_trial_at_its_end_before_its_stop_reached_it_is_stood_for_already():
    """Its weight is that of its time: had it been a moment slower, it would be one of the pruned."""
    trials = trials_of(
        4,
        grok_step=[500, 900, None, None],
        outcome=["grokked", "grokked", "failed", "budget"],
        stop_step=[None, 100, 100, 100],
        audited=[False, False, False, True],
        audit_probability=[None, 0.25, 0.25, 0.25],
    )
    found = outcomes(trials)
    assert found.weight.tolist() == [1, 0, 0, 4]
    assert found.survival_weight.tolist() == inverse_probability_weights(trials).tolist() == [1, 0, 0, 4]
    assert (found.pruned, found.undecided, found.stands_for.all(), found.notes) == (2, 0, True, ())


def test_a_trial_that_grokked_at_a_step_that_was_lost_is_left_out():
    trials = trials_of(4, grok_step=[500, None, None, None], outcome=["grokked", "grokked", "budget", "failed"])
    found = outcomes(trials)
    assert found.weight.tolist() == [1, 0, 1, 0]
    assert (found.undecided, found.damaged, found.unfinished) == (2, 1, 0)
    assert found.notes == (
        "1 trial is left out: it failed, or was stopped",
        "1 trial ended by grokking, but is left out, so shares are too low: its step was lost with a damaged line",
    )


def test_audited_trials_that_agree_leave_room_for_those_they_stand_for():
    success, audited = np.ones(285, bool), np.repeat([False, True], [270, 15])
    weight, one = np.where(audited, 10.0, 1.0), np.zeros(285, int)
    plain = shares(success, weight, np.arange(285), one, 1)
    careful = shares(success, weight, np.arange(285), one, 1, audited=audited)
    z2 = stats.norm.isf(0.025) ** 2
    assert careful.lower[0] == pytest.approx(1 - 150 / 420 * z2 / (15 + z2))
    assert plain.lower[0] > careful.lower[0] + 0.02
    nobody = shares(success, np.ones(285), np.arange(285), one, 1, audited=np.zeros(285, bool))
    assert nobody.lower[0] == shares(success, np.ones(285), np.arange(285), one, 1).lower[0]


def test_no_audited_trial_stands_for_those_of_a_sweep_without_an_audit():
    """Two sweeps read together: of the first one trial of four was audited, of the second none could be."""
    trials = trials_of(
        8,
        outcome=["pruned", "pruned", "pruned", "budget", "pruned", "pruned", "pruned", "grokked"],
        grok_step=[None] * 7 + [500],
        stop_step=[100] * 7 + [None],
        audited=[False] * 3 + [True] + [False] * 4,
        audit_probability=[0.25] * 4 + [None] * 2 + [0.0, None],
    )
    found = outcomes(trials)
    assert (found.pruned, found.lost, found.is_lost.tolist()) == (6, 3, [False] * 4 + [True] * 3 + [False])
    assert found.notes[0].startswith("3 trials were pruned and none like them was audited")
    warning = scheduler_audit(trials).warning
    assert warning is not None
    assert warning.startswith(
        "3 trials were pruned and none of the same sweep that the scheduler wanted to stop ran on"
    )


def test_parts_without_an_audited_trial_are_known_where_they_lack_one():
    outcome = ["grokked"] * 8 + ["pruned"] * 7 + ["budget"] * 2
    audited = [False] * 15 + [True, False]
    trials = trials_of(17, outcome=outcome, audited=audited, audit_probability=[0.5] * 17)
    found, everywhere = outcomes(trials), np.ones(17, bool)
    assert found.unrepresented(everywhere) == 0
    assert found.unrepresented(np.arange(17) < 15) == 7
    assert found.unrepresented(np.arange(17) < 8) == 0  # none was pruned
    assert found.unrepresented(np.arange(17) > 8) == 0
    unaudited = outcomes(trials_of(17, outcome=outcome))
    assert unaudited.unrepresented(np.arange(17) < 15) == 0  # nobody stands for anybody, which notes say


def test_audits_make_the_share_right_again():
    rng = np.random.default_rng(0)
    truth, behind = rng.random(40_000) < 0.5, rng.random(40_000)
    wanted = behind < np.where(truth, 0.3, 0.8)  # the scheduler stops mostly, not only, those that never grok
    audited = wanted & (rng.random(40_000) < 0.1)
    outcome = np.where(wanted & ~audited, "pruned", np.where(truth, "grokked", "budget"))
    trials = trials_of(
        40_000,
        grok_step=grokking(truth & (outcome == "grokked")),
        outcome=outcome.tolist(),
        audited=audited,
        audit_probability=np.where(wanted, 0.1, np.nan),
    )
    found = outcomes(trials)
    assert np.average(found.grokked, weights=found.weight) == pytest.approx(0.5, abs=0.02)
    assert found.grokked[found.used].mean() > 0.65  # what would be said without weights


def test_older_tables_know_no_audits_and_say_what_pruning_did():
    found = outcomes(trials_of(4, outcome=["budget", "pruned", "failed", None]))
    assert found.weight.tolist() == [1, 0, 0, 0]
    assert found.survival_weight.tolist() == [1, 0, 1, 1]
    assert "1 trial was pruned and none was audited" in found.notes[0]
    assert found.notes[1].startswith("1 trial has not ended and is left out: those that grok end first")
    assert found.notes[2] == "1 trial is left out: it failed, or was stopped"


def test_grokking_beyond_the_budget_is_none():
    trials = trials_of(2, grok_step=[900, 1100], num_steps=1000)
    assert outcomes(trials).grokked.tolist() == [True, False]


def test_an_impossible_audit_probability_is_refused():
    with pytest.raises(ConfigError, match=r"audit_probability is 0.0 of an audited trial, but must be in \(0, 1\]"):
        outcomes(trials_of(1, audited=True, audit_probability=0.0))


def test_each_configuration_counts_once():
    trials = trials_of(6, configuration=[7, 7, 7, 2, 2, 9], outcome=["budget"] * 4 + ["failed", "pruned"])
    assert outcomes(trials).once_each().tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 0, 0])


def test_columns_become_codes():
    trials = trials_of(
        4, base=[None, 10, 2, 10], task_type=["classification"] + ["sequence"] * 3, init_seed=[0, 1, 2, 3]
    )
    assert varying(trials) == ["task_type", "base"]
    coded, values = codes(np.array([np.nan, 10, 2, 10]))
    assert (coded.tolist(), values) == ([2, 1, 0, 1], [2.0, 10.0, None])
    groups = grouped([np.array(["a", "b", "b", "a"], dtype=object), np.array([np.nan, 1, 1, 2])], 4)
    assert (groups[1] == groups[2], len(set(groups.tolist()))) == (True, 3)


def test_a_share_lies_within_its_interval():
    for number in range(1, 60):
        found = one_cell(np.ones(number, bool))
        assert found.share[0] == found.upper[0] == 1
        found = one_cell(np.zeros(number, bool))
        assert found.share[0] == found.lower[0] == 0
