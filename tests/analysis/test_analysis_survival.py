"""Kaplan-Meier against published tables and against its definition, written as loops."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from grokray.analysis.clusters import cluster_codes
from grokray.analysis.intervals import size_of_strata, wilson
from grokray.analysis.survival import kaplan_meier, median_time, restricted_mean, share_by
from grokray.analysis.times import Times

sys.path.insert(0, str(Path(__file__).parent))
from survival_data import PLACEBO, TREATED, random_trials


def test_the_published_table_of_the_treated():
    """Klein, J. P., and Moeschberger, M. L. (2003). Survival Analysis, table 4.1B: estimates and Greenwood's errors."""
    curve = kaplan_meier(TREATED)
    assert curve.time.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert curve.survival == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)
    errors = curve.survival * np.sqrt(curve.log_variance)
    assert errors == pytest.approx([0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346], abs=5e-5)


def test_published_medians():
    """23 and 8 weeks; the intervals are also those that R's survfit prints with conf.type="log-log"."""
    treated, placebo = median_time(kaplan_meier(TREATED)), median_time(kaplan_meier(PLACEBO))
    assert (treated.value, treated.lower, treated.upper) == (23, 13, np.inf)
    assert (placebo.value, placebo.lower, placebo.upper) == (8, 4, 11)


def test_without_censoring_shares_and_means_are_plain():
    by_8 = share_by(PLACEBO, 8)
    assert by_8.value == pytest.approx(13 / 21)
    assert (by_8.lower, by_8.upper) == pytest.approx(wilson(13 / 21, 21))
    mean = restricted_mean(PLACEBO, 23)
    seen = PLACEBO.seen_until
    assert mean.value == pytest.approx(seen.mean())
    assert mean.standard_error == pytest.approx(seen.std() / np.sqrt(21))


def weighted_curve(times: Times, weight: np.ndarray, steps: float) -> float:
    """The product limit by its definition."""
    survival = 1.0
    for time in np.unique(times.seen_until[times.observed]):
        if time <= steps:
            at_risk = weight[times.seen_until >= time].sum()
            survival *= 1 - weight[(times.seen_until == time) & times.observed].sum() / at_risk
    return survival


def area(times: Times, weight: np.ndarray, horizon: float) -> float:
    edges = np.unique(np.append(times.seen_until[times.seen_until < horizon], [0, horizon]))
    return sum(weighted_curve(times, weight, a) * (b - a) for a, b in zip(edges, edges[1:], strict=False))


def jackknifed(times: Times, statistic) -> float:
    """The infinitesimal jackknife by clusters, or by trials if that gives more."""
    return max(_jackknifed(times, statistic, codes) for codes in (cluster_codes(times.cluster), np.arange(len(times))))


def _jackknifed(times: Times, statistic, codes: np.ndarray) -> float:
    """By differences: change a cluster's weights a little, and see."""
    size = 1e-5
    moves = []
    for code in range(codes.max() + 1):
        up, down = (times.weight * np.where(codes == code, 1 + sign * size, 1) for sign in (1, -1))
        moves.append((statistic(times, up) - statistic(times, down)) / (2 * size))
    clusters = len(moves)
    return float(np.sum(np.square(moves))) * clusters / (clusters - 1)


@pytest.mark.parametrize("seed", range(4))
def test_weighted_and_clustered_as_by_definition(seed):
    times = random_trials(np.random.default_rng(seed))
    curve = kaplan_meier(times)
    for time, survival, variance in zip(curve.time, curve.survival, curve.log_variance, strict=True):
        assert survival == pytest.approx(weighted_curve(times, times.weight, time), abs=1e-12)
        if survival > 1e-9:
            expected = jackknifed(times, lambda t, w, at=time: np.log(weighted_curve(t, w, at)))
            assert variance == pytest.approx(expected, rel=1e-5)
    horizon = 0.5 + curve.time[-2]
    mean = restricted_mean(times, horizon)
    assert mean.value == pytest.approx(area(times, times.weight, horizon))
    assert mean.standard_error**2 == pytest.approx(jackknifed(times, lambda t, w: area(t, w, horizon)), rel=1e-5)


def test_a_weight_of_two_is_two_trials_but_not_in_the_variance():
    doubled = Times.right_censored([1, 2, 3, 4], [True, True, False, True], weight=[2, 1, 1, 2])
    copied = Times.right_censored([1, 1, 2, 3, 4, 4], [True, True, True, False, True, True])
    assert kaplan_meier(doubled).survival == pytest.approx(kaplan_meier(copied).survival)
    assert share_by(doubled, 2).standard_error > share_by(copied, 2).standard_error


@pytest.mark.parametrize("times", [TREATED, PLACEBO, random_trials(np.random.default_rng(5))])
def test_the_band_of_the_curve_is_the_interval_of_the_share(times):
    curve = kaplan_meier(times, 0.9)
    shares = [share_by(times, time, 0.9) for time in curve.time]
    assert 1 - curve.survival == pytest.approx([share.value for share in shares])
    assert 1 - curve.upper == pytest.approx([share.lower for share in shares])
    assert 1 - curve.lower == pytest.approx([share.upper for share in shares])
    nothing_yet = share_by(times, curve.time[0] - 0.5, 0.9)
    assert (nothing_yet.value, 1 - curve.lower_before) == pytest.approx((0, nothing_yet.upper))
    assert all(share.lower < share.value <= share.upper for share in shares)


def test_where_nobody_groks_the_band_is_of_those_watched_until_the_horizon():
    times = Times.right_censored([10] * 12 + [30, 30], [False] * 14, cluster=[*range(13), 0])
    assert 1 - kaplan_meier(times, horizon=10).lower_before == pytest.approx(share_by(times, 10).upper)
    assert 1 - kaplan_meier(times).lower_before == pytest.approx(share_by(times, 30).upper)
    assert share_by(times, 10).upper < share_by(times, 30).upper


def test_none_and_all_have_intervals():
    none = share_by(Times.right_censored([10] * 12, [False] * 12), 10)
    assert (none.value, none.lower) == (0, 0)
    assert none.upper == pytest.approx(wilson(0, 12)[1])
    all_of_them = share_by(Times.right_censored([10] * 12, [True] * 12), 10)
    assert (all_of_them.value, all_of_them.upper) == (1, 1)
    assert all_of_them.lower == pytest.approx(wilson(1, 12)[0])
    curve = kaplan_meier(Times.right_censored([10] * 12, [True] * 12))
    assert (curve.survival[0], curve.lower[0]) == (0, 0)
    assert curve.upper[0] == pytest.approx(1 - all_of_them.lower)


def test_beyond_what_was_watched_nothing_is_said():
    times = Times.right_censored([5, 10], [True, False])
    assert np.isnan(share_by(times, 11).value)
    assert share_by(times, 11).note == "the horizon is 11 steps, but no trial was watched beyond 10"
    assert np.isnan(restricted_mean(times, 11).value)
    assert kaplan_meier(times).at(np.array([4.0, 5.0, 10.0, 11.0]))[:3].tolist() == [1, 0.5, 0.5]
    assert np.isnan(kaplan_meier(times).at(11.0))
    # Where all have grokked, it is.
    assert share_by(Times.right_censored([5, 10], [True, True]), 99).value == 1


def test_a_mean_near_the_budget_has_an_interval_that_holds_it():
    """Where few grok the errors lie to one side: on the scale of steps the same intervals hold it in 356 of 400."""
    rng, held, known = np.random.default_rng(0), 0, 0
    for _ in range(400):
        grokked = rng.random(60) < 0.05
        time = np.where(grokked, rng.uniform(0, 10_000, 60), 10_000)
        mean = restricted_mean(Times.right_censored(time, grokked), 10_000)
        if np.isnan(mean.lower):  # none grokked
            continue
        known += 1
        held += mean.lower <= 10_000 - 0.05 * 5_000 <= mean.upper
        assert 0 < mean.lower < mean.value < mean.upper < 10_000
    assert held / known > 0.915


def test_a_few_audited_trials_that_all_grokked_do_not_make_a_share_sure():
    """15 of them stand for 150 of 420: of these up to z² / (15 + z²) may not have grokked, for all that is known."""
    weight = np.repeat([1.0, 10.0], [270, 15])
    z2 = 1.959964**2
    sure = Times.right_censored(np.full(285, 10.0), np.ones(285, bool), weight)
    share = share_by(sure, 10)
    assert share.value == 1
    assert share.lower <= 1 - 150 / 420 * z2 / (15 + z2) + 1e-6
    assert size_of_strata(np.array([270.0, 15.0]), np.array([270, 150]) / 420) == pytest.approx((15 + z2) * 2.8 - z2)


def test_one_configuration_has_its_seeds_to_tell():
    seeds = Times.right_censored([5, 6, 7, 10], [True, True, True, False], cluster=[3, 3, 3, 3])
    alone = Times.right_censored([5, 6, 7, 10], [True, True, True, False])
    assert share_by(seeds, 10) == share_by(alone, 10)
    assert median_time(kaplan_meier(seeds)) == median_time(kaplan_meier(alone))


def test_two_configurations_alike_by_chance_are_no_certainty():
    pairs = Times.right_censored([5, 10, 5, 10], [True, False, True, False], cluster=[0, 0, 1, 1])
    lower, upper = wilson(0.5, 3)
    share = share_by(pairs, 10)
    assert share.value == 0.5
    assert share.lower < lower
    assert share.upper > upper
    assert restricted_mean(pairs, 10).standard_error > 1


def test_without_trials_or_events_no_error():
    nobody = Times.of([], [])
    assert share_by(nobody, 10).note == "no trial counts"
    assert len(kaplan_meier(nobody).time) == 0
    assert np.isnan(kaplan_meier(nobody).lower_before)
    half = median_time(kaplan_meier(Times.right_censored([5, 6], [False, False])))
    assert half.note == "less than half have grokked"
    assert (half.lower, half.upper) == (0, np.inf)  # two trials say little
    # Few were watched until the first event, but many beyond: what is known of later holds for before.
    late = Times.right_censored([5] + [50] * 20, [True] + [False] * 20, weight=[1e-9] + [1.0] * 20)
    assert median_time(kaplan_meier(late)).lower == np.inf
    many = median_time(kaplan_meier(Times.right_censored([5] * 20, [False] * 20)))
    assert (many.lower, many.upper) == (np.inf, np.inf)


@pytest.mark.parametrize("number", [2, 3, 8])
def test_few_trials_have_wide_intervals(number):
    """Of the median and of the mean, of trials that all grokked."""
    rng, median, mean = np.random.default_rng(number), 0, 0
    for _ in range(400):
        time = np.exp(rng.normal(7, 0.5, number))
        times = Times.right_censored(time, [True] * number)
        half, average = median_time(kaplan_meier(times)), restricted_mean(times, 50_000)
        median += half.lower <= np.exp(7) <= half.upper
        mean += average.lower <= np.exp(7 + 0.5**2 / 2) <= average.upper
    assert median >= 0.9 * 400
    assert mean >= 0.87 * 400


def test_pruned_trials_do_not_count():
    times = Times.right_censored([5, 10, 3], [True, False, False], weight=[1, 1, 0])
    assert share_by(times, 10).value == 0.5
    assert kaplan_meier(times).at_risk.tolist() == [2]


def test_a_mean_of_which_one_alone_grokked_has_no_ends():
    """Of 60 trials its 95 % interval held the truth in 67 % of simulated sweeps."""
    time, grokked = np.full(60, 10.0), np.zeros(60, bool)
    time[:2], grokked[0] = (4, 7), True
    alone = restricted_mean(Times.right_censored(time, grokked), 10)
    assert np.isnan([alone.lower, alone.upper]).all()
    assert alone.standard_error > 0
    grokked[1] = True
    two, seeds = (
        restricted_mean(Times.right_censored(time, grokked, cluster=np.arange(60) // size), 10) for size in (1, 2)
    )
    assert two.lower < two.value < two.upper
    assert np.isnan(seeds.lower)  # two seeds of one configuration
    assert restricted_mean(Times.right_censored(time, grokked, cluster=np.zeros(60)), 10).lower < two.value


def test_means_that_a_few_audited_trials_draw_out_have_intervals_that_hold_them():
    """By the log odds alone 85 % of 300 hold it, and nearly all others lie below it."""
    rng, held = np.random.default_rng(0), 0
    truth = np.exp(0.9**2 / 2)
    for _ in range(300):
        time = np.exp(rng.normal(0, 0.9, 120))
        late = time > 1
        audited = late & (rng.random(120) < 0.15)
        weight = np.where(late, np.where(audited, 1 / 0.15, 0.0), 1.0)
        mean = restricted_mean(Times.right_censored(time, np.ones(120, bool), weight), 100)
        held += mean.lower <= truth <= mean.upper
    assert held >= 0.9 * 300
