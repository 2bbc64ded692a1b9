"""Cox's model against statsmodels, another implementation with weights, published values, and differences."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grokray.analysis.clusters import blockwise, cluster_codes, cluster_sums
from grokray.analysis.cox import NO_MAXIMUM, _PartialLikelihood, fit_cox
from grokray.analysis.design import Design
from grokray.analysis.effects import LONE, find
from grokray.analysis.times import Times

sys.path.insert(0, str(Path(__file__).parent))
from survival_data import BOTH, IS_PLACEBO, formula_trials, random_trials


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_same_as_statsmodels(ties):
    from statsmodels.duration.hazard_regression import PHReg

    times, design = formula_trials()
    times = Times.of(times.lower, times.upper)
    other = PHReg(times.seen_until, design.matrix, status=times.observed, ties=ties).fit()
    fit = fit_cox(times, design, ties)
    assert fit.parameters == pytest.approx(other.params, abs=1e-6)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(other.bse, rel=1e-5)
    assert fit.log_likelihood == pytest.approx(other.llf)


def without_ties() -> tuple[Times, Design]:
    times, design = formula_trials()
    seen = times.seen_until + np.arange(60) / 100
    return Times.right_censored(seen, times.observed, times.weight, times.cluster), design


def test_weighted_the_same_as_another_implementation():
    """lifelines 0.30.3 on without_ties(), with the covariance of Lin and Wei:
    CoxPHFitter().fit(frame, "T", "E", weights_col="w", robust=True, fit_options={"precision": 1e-12}), and
    cluster_col="c"."""
    times, design = without_ties()
    likelihood = _PartialLikelihood(times, design.matrix, "efron")
    fit = fit_cox(times, design)
    assert fit.parameters == pytest.approx([-1.359635951233566, 0.6868875242043684], abs=1e-6)
    place = fit.parameters * likelihood.by
    inverse = np.linalg.inv(-likelihood(place)[2])
    for cluster, clusters, errors in (
        (np.arange(60), 60, [0.2405221864658899, 0.3082427350103708]),
        (times.cluster, 20, [0.2163370709688255, 0.266075021933259]),
    ):
        sums = cluster_sums(likelihood._scores(*likelihood._at(place)), cluster_codes(cluster[likelihood.order]))
        assert len(sums) == clusters
        found = np.sqrt(np.diag(inverse @ sums.T @ sums @ inverse)) / likelihood.by
        assert found == pytest.approx(errors, rel=1e-5)
        ours = fit_cox(Times.of(times.lower, times.upper, times.weight, cluster), design)
        # Leaving out each cluster gives a little more.
        assert 1.02 < find(ours.effects, "x").standard_error / errors[0] < 1.25


def test_the_robust_covariance_leaves_out_each_cluster():
    times, design = formula_trials()
    fit, codes = fit_cox(times, design), cluster_codes(times.cluster)
    refits = np.array([fit_cox(times.select(codes != c), design.select(codes != c)).parameters for c in range(20)])
    exact = np.sqrt(19 / 20 * np.sum((refits - refits.mean(axis=0)) ** 2, axis=0))
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(exact, rel=0.15)


def test_blocks_that_are_left_out_take_the_bias_away():
    """The variance of n numbers, not of n − 1: the jackknife's correction is exact, and a mean has none."""
    values = np.random.default_rng(0).normal(size=20)
    found = blockwise(
        lambda kept: np.array([values[kept].var(), values[kept].mean()]),
        np.array([values.var(), values.mean()]),
        np.arange(20),
    )
    assert found is not None
    corrected, covariance, blocks = found
    assert corrected == pytest.approx([values.var(ddof=1), values.mean()])
    assert (blocks, covariance[1, 1]) == (20, pytest.approx(values.var(ddof=1) / 20))
    assert blockwise(lambda kept: None, np.zeros(1), np.arange(20)) is None


def test_hazard_ratios_of_audited_trials_are_corrected_and_hold_the_truth():
    """A true 2 for each unit; one in ten of those to be stopped runs on."""
    rng, held, found = np.random.default_rng(1), 0, []
    for _ in range(40):
        x = rng.normal(size=300)
        time = rng.exponential(size=300) / 2**x
        unwanted = (time > 0.7) & (rng.random(300) < 0.7)
        audited = unwanted & (rng.random(300) < 0.1)
        weight = np.where(unwanted, np.where(audited, 10.0, 0.0), 1.0)
        fit = fit_cox(Times.right_censored(np.minimum(time, 3), time < 3, weight), Design.of(x=x))
        (effect,) = fit.effects
        held += effect.lower <= 2 <= effect.upper
        found.append(effect.log_ratio)
        assert effect.standard_error >= np.sqrt(fit.covariance[0, 0])
        assert effect.log_ratio != fit.parameters[0]
    assert held >= 35
    assert np.mean(found) == pytest.approx(np.log(2), abs=0.06)


def audited_sweep(generator: np.random.Generator, size: int, audit: float) -> tuple[Times, Design]:
    """A true hazard ratio of 2. What has not grokked by step 20 of 100 was to be stopped there."""
    x = generator.uniform(-3, 3, size)
    time = np.ceil(10 * generator.exponential(size=size) / 2**x)
    unwanted = time > 20
    audited = unwanted & (generator.random(size) < audit)
    weight = np.where(unwanted, np.where(audited, 1 / audit, 0.0), 1.0)
    seen = np.where(unwanted & ~audited, 20, np.minimum(time, 100))
    event = (time <= 100) & (seen == time)
    return Times.right_censored(seen, event, weight, stop=np.where(unwanted, 20.0, np.inf)), Design.of(x=x)


def test_until_its_stop_each_trial_counts_once():
    """The likelihood by Breslow, written out term by term."""
    times, design = audited_sweep(np.random.default_rng(2), 150, 0.3)
    likelihood = _PartialLikelihood(times.until_stopped(), design.matrix, "breslow")
    x, place, value = (design.matrix[:, 0] - design.matrix.mean()) / likelihood.by, np.array([0.4]), 0.0
    for event in np.flatnonzero(times.observed):
        now = times.seen_until[event]
        weight = np.where(now <= times.stop, 1.0, times.weight) * (times.seen_until >= now)
        value += weight[event] * (0.4 * x[event] - np.log(weight @ np.exp(0.4 * x)))
    assert ((times.weight == 0).sum(), (times.weight > 1).sum()) == (26, 11)
    assert likelihood(place)[0] == pytest.approx(value)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_derivatives_where_weights_change(ties):
    times, design = audited_sweep(np.random.default_rng(2), 150, 0.3)
    likelihood = _PartialLikelihood(times.until_stopped(), design.matrix, ties)
    place, step = np.array([0.4]), np.array([1e-5])
    _, gradient, hessian = likelihood(place)
    (up, up_gradient, _), (down, down_gradient, _) = likelihood(place + step), likelihood(place - step)
    assert gradient == pytest.approx((up - down) / 2e-5, rel=1e-5)
    assert hessian[0] == pytest.approx((up_gradient - down_gradient) / 2e-5, rel=1e-5)
    assert likelihood._scores(*likelihood._at(place)).sum(axis=0) == pytest.approx(gradient)


def test_what_is_seen_before_the_stop_counts():
    """Two or three audited trials for some twenty-five that were pruned: with their weights from the beginning,
    estimates spread more, and intervals are wider."""
    generator, held, found, width = np.random.default_rng(3), 0, [], []
    for _ in range(30):
        times, design = audited_sweep(generator, 100, 0.1)
        from_the_beginning = replace(times, stop=np.full(100, np.inf))
        (effect,), (other,) = (fit_cox(one, design).effects for one in (times, from_the_beginning))
        held += effect.lower <= 2 <= effect.upper
        found.append([effect.log_ratio, other.log_ratio])
        width.append([np.log(one.upper / one.lower) for one in (effect, other)])
    assert held >= 27
    spread, widths = np.std(found, axis=0), np.median(width, axis=0)
    assert spread[0] < 0.9 * spread[1]
    assert widths[0] < 0.85 * widths[1]


def test_where_every_trial_was_audited_stops_change_nothing():
    times, design = audited_sweep(np.random.default_rng(4), 60, 1.0)
    assert np.isfinite(times.stop).any()
    assert fit_cox(times, design).effects == fit_cox(Times.of(times.lower, times.upper), design).effects


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_parts_of_trials_are_those_of_their_weights(ties):
    generator = np.random.default_rng(4)
    times, matrix = random_trials(generator), generator.normal(size=(40, 2))
    likelihood, place, size = _PartialLikelihood(times, matrix, ties), np.array([0.4, -0.3]), 1e-5
    scores = likelihood._scores(*likelihood._at(place))
    for at in range(0, 40, 7):
        gradients = []
        for sign in (1, -1):
            weight = times.weight.copy()
            weight[likelihood.order[at]] *= 1 + sign * size
            changed = replace(times, weight=weight)
            gradients.append(_PartialLikelihood(changed, matrix, ties)(place)[1])
        assert scores[at] == pytest.approx((gradients[0] - gradients[1]) / (2 * size), rel=1e-4, abs=1e-6)


def test_what_one_configuration_tells_has_no_interval():
    times, design = formula_trials()
    fit = fit_cox(times, Design.of(x=design.matrix[:, 0], lone=times.cluster == 7))
    assert find(fit.effects, "lone").reason == LONE
    assert find(fit.effects, "x").reason is None


def test_the_published_hazard_ratio_of_remission():
    """1.572 by Efron and 1.509 by Breslow, as R's coxph prints."""
    design = Design.of(placebo=IS_PLACEBO)
    assert fit_cox(BOTH, design).parameters[0] == pytest.approx(1.5721, abs=5e-5)
    assert fit_cox(BOTH, design, "breslow").parameters[0] == pytest.approx(1.5092, abs=5e-5)
    effect = find(fit_cox(BOTH, design).effects, "placebo")
    assert (effect.ratio, effect.standard_error) == pytest.approx((4.817, 0.4124), rel=1e-4)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_derivatives_are_those_of_the_value(ties):
    generator = np.random.default_rng(3)
    times = random_trials(generator)
    likelihood = _PartialLikelihood(times, generator.normal(size=(40, 3)), ties)
    place, size = generator.normal(size=3), 1e-5
    _, gradient, hessian = likelihood(place)
    for at in range(3):
        step = size * np.eye(3)[at]
        (up, up_gradient, _), (down, down_gradient, _) = likelihood(place + step), likelihood(place - step)
        assert gradient[at] == pytest.approx((up - down) / (2 * size), rel=1e-5, abs=1e-6)
        assert hessian[at] == pytest.approx((up_gradient - down_gradient) / (2 * size), rel=1e-5, abs=1e-6)
    assert likelihood._scores(*likelihood._at(place)).sum(axis=0) == pytest.approx(gradient)


def test_a_level_without_events_is_said():
    times, design = formula_trials()
    zero = np.arange(60) % 5 == 0
    times = Times.of(times.lower, np.where(zero, np.inf, times.upper))
    fit = fit_cox(times, Design.of(x=design.matrix[:, 0], zero=zero))
    assert find(fit.effects, "zero").reason == "none of the 12 trials with it grokked"
    assert find(fit.effects, "x").reason is None


@pytest.mark.parametrize("seed", range(40))
def test_small_and_odd_sweeps_never_raise(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 12))
    times = random_trials(generator, size + 2)
    design = Design.of(a=generator.integers(0, 3, size + 2), b=generator.normal(size=size + 2))
    fit = fit_cox(times, design)
    for effect in fit.effects:
        assert effect.reason or np.isfinite(effect.log_ratio)


def test_nothing_varies():
    times, _ = formula_trials()
    assert fit_cox(times, Design.of(x=np.ones(60))).failure == "no column varies among the trials that count"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", [3, 11])
def test_risks_that_grow_apart_without_end_overflow_nothing(seed):
    """On the way to no maximum some were rounded to none, or to numbers without an inverse."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(8, 2))
    time = generator.exponential(size=8) * np.exp(-3 * x[:, 0])
    fit = fit_cox(Times.right_censored(time, np.ones(8, bool)), Design.of(a=x[:, 0], b=x[:, 1]))
    assert fit.failure == NO_MAXIMUM


@pytest.mark.parametrize("copies", [1, 3])
def test_a_covariate_that_orders_all_times_has_no_ratio(copies):
    """With one covariate there is no other direction to compare the information in."""
    time = np.repeat(np.r_[1000 + 100.0 * np.arange(10), 9000 + 100.0 * np.arange(10)], copies)
    early = np.repeat(np.r_[np.ones(10), np.zeros(10)], copies)
    cluster = np.repeat(np.arange(20), copies) if copies > 1 else None
    times = Times.of(time - 100, time, cluster=cluster)
    alone = fit_cox(times, Design.of(early=early))
    noise = np.random.default_rng(0).random(len(time))
    beside = fit_cox(times, Design.of(early=early, noise=noise))
    for fit in (alone, beside):
        assert fit.failure
        assert all(np.isnan(effect.ratio) for effect in fit.effects)


def test_a_strong_effect_is_no_fault():
    rng = np.random.default_rng(1)
    early = np.repeat([1.0, 0.0], 50)
    time = rng.exponential(1000 * np.exp(-4 * early)) + 1
    fit = fit_cox(Times.of(time - 1, time), Design.of(early=early))
    assert not fit.failure
    assert find(fit.effects, "early").ratio > 10


def test_where_groups_differ_in_spread_the_error_is_that_of_leaving_each_out():
    """The model's own is too small then: of 80 trials its 95 % intervals held the truth in 90 to 92 % of sweeps."""
    rng = np.random.default_rng(1)
    x, wide = rng.normal(size=80), rng.random(80) < 0.5
    time = np.exp(0.5 * x + np.where(wide, 1.5, 0.3) * rng.normal(size=80))
    times, design = Times.right_censored(time, np.ones(80, bool)), Design.of(x=x, wide=wide)
    fit, every = fit_cox(times, design), np.arange(80)
    without = [
        fit_cox(times.select(every != one), Design.of(x=x[every != one], wide=wide[every != one])).parameters[0]
        for one in every
    ]
    jackknife = np.sqrt(79 / 80 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert find(fit.effects, "x").standard_error == pytest.approx(jackknife, rel=0.1)
    assert find(fit.effects, "x").standard_error > 1.1 * np.sqrt(fit.covariance[0, 0])
