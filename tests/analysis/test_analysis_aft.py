"""Accelerated failure time against another implementation, published values, and differences of the likelihood."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from grokray.analysis.aft import NO_MAXIMUM, best_aft, fit_aft
from grokray.analysis.aft_families import FAMILIES
from grokray.analysis.aft_likelihood import Likelihood
from grokray.analysis.clusters import cluster_codes, jackknife
from grokray.analysis.cox import fit_cox
from grokray.analysis.design import Design, design_of
from grokray.analysis.effects import LONE, find
from grokray.analysis.times import Times

sys.path.insert(0, str(Path(__file__).parent))
from survival_data import BOTH, IS_PLACEBO, formula_trials

# lifelines 0.30.3 on formula_trials(), a lower end of 0 written as 1e-10:
#   fitter.fit_interval_censoring(frame, "lo", "up", formula="x+g", weights_col=…)
# of WeibullAFTFitter, whose rho_ is less the logarithm of the scale, and LogNormalAFTFitter: intercept, x, g, logarithm
# of the scale; their standard errors, which it takes from the Hessian; log likelihood.
ORACLE = {
    ("weibull", False): (
        [5.293108263155822, 0.8281827270928951, -0.514116713360837, -0.5567192775056319],
        [0.15887612268810475, 0.13777868845395116, 0.16708528655379956, 0.1151743302105355],
        -158.82919443953872,
    ),
    ("weibull", True): (
        [5.192554197045833, 0.8477382460610149, -0.4572631341859704, -0.551769658913795],
        None,
        -399.1212342638054,
    ),
    ("lognormal", False): (
        [4.960764638034691, 0.8480452792512512, -0.4948793167829782, -0.4190908580018599],
        [0.17424892055008825, 0.1376009369779177, 0.17662610697788503, 0.10507334766148027],
        -156.28441528968344,
    ),
    ("lognormal", True): (
        [4.8722322146020725, 0.8534214910142243, -0.43724903390806685, -0.4409647699707411],
        None,
        -390.8470418665986,
    ),
}


@pytest.mark.parametrize(("family", "weighted"), ORACLE)
def test_the_same_as_another_implementation(family, weighted):
    times, design = formula_trials()
    if not weighted:
        times = Times.of(times.lower, times.upper)
    fit = fit_aft(times, design, family)
    parameters, errors, log_likelihood = ORACLE[family, weighted]
    assert fit.parameters == pytest.approx(parameters, abs=2e-6)
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=1e-6)
    assert fit.robust == weighted
    if errors is not None:
        assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(errors, rel=1e-5)
        effect = find(fit.effects, "x")
        assert effect.ratio == pytest.approx(np.exp(parameters[1]), rel=1e-5)
        wider = 1.0
        if not weighted:
            known = (60 + int(times.observed.sum())) / 2
            wider = student(known - 3).isf(0.025) / 1.959964 * np.sqrt(known / (known - 3))
        assert np.log(effect.upper) == pytest.approx(parameters[1] + wider * 1.959964 * errors[1], rel=1e-5)
        assert fit.aic == pytest.approx(8 - 2 * log_likelihood)


def test_the_published_weibull_model_of_remission():
    """Klein and Moeschberger, and the manuals of R and SAS: time ratio exp(-1.267), scale 0.732, intercept 3.516."""
    fit = fit_aft(BOTH, Design.of(placebo=IS_PLACEBO), "weibull")
    assert fit.parameters[:2] == pytest.approx([3.5157, -1.2673], abs=5e-5)
    assert np.exp(fit.parameters[2]) == pytest.approx(0.7322, abs=5e-5)
    assert np.sqrt(fit.covariance[1, 1]) == pytest.approx(0.3106, abs=5e-5)


def test_few_plain_trials_have_the_intervals_of_a_linear_model():
    """Where all grokked and T is log-normal, least squares and Student's quantiles are exact."""
    generator = np.random.default_rng(5)
    x, noise = generator.normal(size=(12, 2)), generator.normal(size=12)
    time = np.exp(8 + 0.3 * x[:, 0] + 0.5 * noise)
    effect = find(fit_aft(Times.right_censored(time, np.ones(12, bool)), Design.of(a=x[:, 0], b=x[:, 1])).effects, "a")
    columns = np.column_stack([np.ones(12), x])
    best, residual = np.linalg.lstsq(columns, np.log(time), rcond=None)[:2]
    error = np.sqrt(residual[0] / 9 * np.linalg.inv(columns.T @ columns)[1, 1])
    half = student(9).isf(0.025) * error
    found = np.log([effect.lower, effect.ratio, effect.upper])
    assert found == pytest.approx([best[1] - half, best[1], best[1] + half], rel=1e-4)
    assert effect.p_value == pytest.approx(2 * student(9).sf(abs(best[1]) / error), rel=1e-4)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_derivatives_are_those_of_the_value(family):
    interval, generator = FAMILIES[family].interval, np.random.default_rng(0)
    a = np.concatenate([generator.normal(0, 2, 50), [-np.inf, -1.0, -9.0, 2.5, -30.0]])
    b = np.concatenate([a[:50] + generator.exponential(1, 50), [0.5, np.inf, -8.0, 2.9, 3.5]])
    at, size = interval(a, b), 1e-5
    assert np.isfinite(at.value).all()
    finite_a, finite_b = np.isfinite(a), np.isfinite(b)

    def slope(name: str, *, of_a: bool) -> np.ndarray:
        up, down = (getattr(interval(a + sign * size * of_a, b + sign * size * (not of_a)), name) for sign in (1, -1))
        return (up - down) / (2 * size)

    for name, values, of_a, where in (
        ("value", at.by_a, True, finite_a),
        ("value", at.by_b, False, finite_b),
        ("by_a", at.by_aa, True, finite_a),
        ("by_b", at.by_bb, False, finite_b),
        ("by_a", at.by_ab, False, finite_a & finite_b),
    ):
        assert values[where] == pytest.approx(slope(name, of_a=of_a)[where], rel=1e-4, abs=1e-6)
        assert (values[~where] == 0).all()


def test_far_out_probabilities_are_not_lost():
    at = FAMILIES["lognormal"].interval(np.array([30.0, -31.0]), np.array([31.0, -30.0]))
    assert at.value == pytest.approx(norm.logsf(30), rel=1e-10)


def test_the_robust_covariance_leaves_out_each_cluster():
    times, design = formula_trials()
    likelihood = Likelihood(times, design.matrix, FAMILIES["lognormal"])
    fit = fit_aft(times, design)
    codes, place = cluster_codes(times.cluster), _place(likelihood, fit.parameters)
    _, _, hessian = likelihood(place)
    scores, moves = likelihood._terms(place)[1] * times.weight[:, None], []
    for code in range(20):
        alone = Likelihood(times, design.matrix, FAMILIES["lognormal"])
        alone.weight = np.where(codes == code, 0.0, times.weight)
        moves.append(np.linalg.solve(-alone(place)[2], scores[codes == code].sum(axis=0)))
    found, alone = likelihood.jackknife(place, -hessian, codes)
    assert not alone.any()
    assert found == pytest.approx(np.transpose(moves) @ moves * 19 / 20)
    # A step of Newton's method is close to the fit itself.
    refits = np.array([fit_aft(times.select(codes != c), design.select(codes != c)).parameters for c in range(20)])
    exact = np.sqrt(19 / 20 * np.sum((refits - refits.mean(axis=0)) ** 2, axis=0))
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(exact, rel=0.15)


def _place(likelihood: Likelihood, parameters: np.ndarray) -> np.ndarray:
    """Back from AftFit.parameters."""
    rate = likelihood.log_by / np.exp(parameters[-1])
    slopes = parameters[1:-1] * likelihood.columns_by / np.exp(parameters[-1])
    middle = parameters[0] + parameters[1:-1] @ likelihood.columns_at - likelihood.log_at
    return np.concatenate([[middle / np.exp(parameters[-1])], slopes, [rate]])


def test_copies_in_clusters_prove_nothing_more():
    times, design = formula_trials()
    lower, upper = np.tile(times.lower, 3), np.tile(times.upper, 3)
    copies = Design.of(**{name: np.tile(design.matrix[:, at], 3) for at, name in enumerate(design.names)})
    clustered = fit_aft(Times.of(lower, upper, cluster=np.tile(np.arange(60), 3)), copies)
    doubled = fit_aft(Times.of(times.lower, times.upper, np.full(60, 2.0)), design)
    assert clustered.covariance == pytest.approx(doubled.covariance)


def test_the_better_family_comes_first():
    generator = np.random.default_rng(1)
    x = generator.normal(size=2_000)
    for noise, family in ((generator.normal(size=2_000), "lognormal"), (generator.gumbel(size=2_000), "weibull")):
        # The logarithm of a Weibull time has the smallest extreme value's noise.
        time = np.exp(3 + x - noise)
        first, second = best_aft(Times.of(time * 0.98, time), Design.of(x=x))
        assert (first.family, first.aic < second.aic) == (family, True)
        assert find(first.effects, "x").log_ratio == pytest.approx(1, abs=0.1)
        assert first.quantile(np.zeros((1, 1)))[0] == pytest.approx(np.median(time / np.exp(x)), rel=0.1)
        assert first.survival(np.zeros((1, 1)), first.quantile(np.zeros((1, 1))))[0] == pytest.approx(0.5)


def separated() -> tuple[Times, Design]:
    """Nobody at weight decay 0 grokked."""
    times, design = formula_trials()
    zero = np.arange(60) % 5 == 0
    upper = np.where(zero, np.inf, times.upper)
    return Times.of(times.lower, upper), Design.of(x=design.matrix[:, 0], zero=zero, g=design.matrix[:, 1])


def test_a_level_without_events_is_said_and_changes_nothing_else():
    times, design = separated()
    fit = fit_aft(times, design)
    effect = find(fit.effects, "zero")
    assert effect.reason == "none of the 12 trials with it grokked"
    assert np.isnan([effect.ratio, effect.lower, effect.upper]).all()
    others = design.matrix[:, 1] == 0
    alone = fit_aft(times.select(others), design.select(others))
    assert fit.parameters == pytest.approx(alone.parameters)
    assert (fit.trials, fit.certain, fit.names) == (48, 12, ("x", "g"))
    assert [effect.name for effect in fit.effects] == ["x", "zero", "g"]


def test_a_number_that_separates_is_said_too():
    # Only those with the largest x grokked: the more x counts, the likelier that the others did not.
    x = np.tile([1.0, 2.0, 3.0], 20)
    upper = np.where(x == 3, np.linspace(150, 550, 60), np.inf)
    fit = fit_aft(Times.of(np.full(60, 100.0), upper), Design.of(x=x))
    assert find(fit.effects, "x").reason == "only trials that did not grok differ in it"
    assert fit.failure is None
    assert fit.trials == 20


def test_what_sequences_do_is_not_told_of_the_one_base_that_grokked():
    """Base 2 never grokked; what is left of base then tells sequences from the others, and says nothing of bases."""
    bases = pa.array([None] * 30 + [11] * 10 + [2] * 10, pa.int64())
    table = pa.table({"base": bases, "task_type": ["classification"] * 30 + ["sequence"] * 20})
    lower = np.r_[np.arange(30) % 4 * 100 + 100, np.arange(10) % 5 * 100 + 400, np.full(10, 1000)].astype(float)
    upper = np.r_[lower[:40] + 100, np.full(10, np.inf)]
    effects = fit_aft(Times.of(lower, upper), design_of(table)).effects
    assert find(effects, "base").reason == "only trials that did not grok differ in it"
    (kind,) = [effect for effect in effects if effect.name.startswith("task_type")]
    assert kind.reason is None
    assert kind.lower > 1.2  # sequences took longer: 600 steps at the median, in place of 300


def test_what_one_configuration_tells_has_no_interval():
    times, design = formula_trials()
    lone = times.cluster == 7
    fit = fit_aft(times, Design.of(x=design.matrix[:, 0], lone=lone))
    assert find(fit.effects, "lone").reason == LONE
    without = fit_aft(times.select(~lone), design.select(~lone).keep([0], {}))
    assert find(fit.effects, "x").standard_error == pytest.approx(find(without.effects, "x").standard_error, rel=0.1)


def test_nothing_grokked_or_all_in_one_interval():
    times, design = formula_trials()
    never = fit_aft(Times.of(times.lower, np.full(60, np.inf)), design)
    assert never.failure == "no trial grokked"
    assert [effect.reason for effect in never.effects] == ["no trial grokked"] * 2
    at_once = fit_aft(Times.of(np.full(60, 100.0), np.full(60, 200.0)), design)
    assert at_once.failure == NO_MAXIMUM
    assert fit_aft(times.select(np.zeros(60, bool)), design.select(np.zeros(60, bool))).failure == "no trial counts"


def test_times_of_trials_that_had_grokked_at_their_first_measurement_say_nothing():
    _, design = formula_trials()
    said = "had grokked at their first measurement: their times say nothing of effects"
    all_early = Times.of(np.zeros(60), np.full(60, 100.0))
    assert fit_aft(all_early, design).failure == f"all trials {said}"
    assert fit_cox(all_early, design).failure == f"all trials {said}"
    early = np.arange(60) < 30
    parted = Times.of(np.where(early, 0.0, 100.0), np.where(early, 100.0, np.inf))
    one = Design.of(x=early * 1.0)
    assert fit_aft(parted, one).failure == f"all that grokked {said}"


@pytest.mark.parametrize("seed", range(40))
def test_small_and_odd_sweeps_never_raise(seed):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 12))
    lower = generator.integers(0, 5, size) * 100.0
    upper = np.where(generator.random(size) < 0.5, lower + 100, np.inf)
    weight = generator.choice([0.0, 1.0, 7.0], size)
    design = Design.of(
        a=generator.integers(0, 3, size), b=generator.integers(0, 2, size), c=generator.normal(size=size)
    )
    for family in FAMILIES:
        fit = fit_aft(Times.of(lower, upper, weight, generator.integers(0, 4, size)), design, family)
        for effect in fit.effects:
            assert effect.reason or np.isfinite(effect.log_ratio)
        assert fit.failure or np.isfinite(fit.parameters).all()


def test_rows_must_agree():
    times, design = formula_trials()
    with pytest.raises(ValueError, match="there are 59 times, but 60 rows of covariates"):
        fit_aft(times.select(np.arange(60) > 0), design)


def test_a_number_that_only_those_differ_in_who_had_grokked_at_first_is_said_too():
    x = np.tile([1.0, 2.0, 3.0], 20)
    lower = np.where(x == 3, np.linspace(150, 550, 60), 0.0)
    fit = fit_aft(Times.of(lower, lower + 100), Design.of(x=x))
    assert find(fit.effects, "x").reason == "only trials that had grokked at their first measurement differ in it"


def test_a_column_that_one_cluster_tells_takes_no_other_one_with_it():
    """The others hardly differ in the second column: what is left of that moves the first by next to nothing."""
    rows = np.column_stack([np.linspace(-1, 1, 15), 1e-4 * np.linspace(1, 2, 15)])
    rows[7] = 0.0, 1.0

    def squares(at: np.ndarray) -> np.ndarray:
        return rows[at, :, None] * rows[at, None, :]

    _, alone = jackknife(np.zeros_like(rows), squares, rows.T @ rows, np.arange(15))
    assert alone.tolist() == [False, True]
