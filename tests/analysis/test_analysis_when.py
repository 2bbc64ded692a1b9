"""Whether and when apart: against another way to the same numbers, and where one number for both would be wrong."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from grokray.analysis.aft import CUT_OFF, AftFit, fit_aft
from grokray.analysis.aft_families import FAMILIES, FamilyName
from grokray.analysis.aft_likelihood import Truncated
from grokray.analysis.design import Design
from grokray.analysis.effects import LONE, NO_CHANCE, effect_of, find
from grokray.analysis.findings.effects import effects
from grokray.analysis.times import Times
from grokray.analysis.when import EARLY_ALONE, fit_when, seen_within, uneven_when
from grokray.analysis.whether import NOTHING_DIFFERS, TOO_WIDE, fit_whether, uneven_whether

sys.path.insert(0, str(Path(__file__).parent))
from tables import trials_of

BUDGET = 4_000.0


def sweep(number: int = 400, *, seed: int = 0) -> tuple[Times, Design, np.ndarray]:
    """Weight decay makes more trials grok, by 0.12 a doubling, and has no part in when; data makes them 0.7 as late."""
    rng = np.random.default_rng(seed)
    decay, data = rng.uniform(-3, 3, number), rng.uniform(3, 8, number)
    log_step = np.log(1_500) + np.log(0.7) * (data - 5.5) + rng.normal(0, 0.3, number)
    grokking = rng.random(number) < 0.5 + 0.12 * decay
    upper = np.where(grokking, np.ceil(np.exp(log_step) / 50) * 50, np.inf)
    seen = upper <= BUDGET
    times = Times.of(np.where(seen, upper - 50, BUDGET), np.where(seen, upper, np.inf))
    return times, Design.of(decay=decay, data=data), np.full(number, BUDGET)


# When


@pytest.mark.parametrize("family", FAMILIES)
def test_slopes_of_the_truncated_likelihood_are_its_differences(family: FamilyName):
    times, design, within = sweep(60)
    grokked = np.flatnonzero(times.observed)
    likelihood = Truncated(times.select(grokked), design.select(grokked).matrix, FAMILIES[family], within[grokked])
    place, step = np.array([0.1, 0.2, -0.4, 1.1]), 1e-5
    moved = [(likelihood(place + move), likelihood(place - move)) for move in step * np.eye(4)]
    value, slope, _ = likelihood(place)
    assert value < 0
    assert slope == pytest.approx([(up[0] - down[0]) / (2 * step) for up, down in moved], rel=1e-5)
    curvature = np.array([(up[1] - down[1]) / (2 * step) for up, down in moved])
    assert likelihood.hessian(place) == pytest.approx(curvature, rel=1e-4, abs=1e-4)


def test_where_it_is_hollow_the_way_still_leads_upwards():
    times, design, within = sweep(60)
    grokked = np.flatnonzero(times.observed)
    likelihood = Truncated(
        times.select(grokked), design.select(grokked).matrix, FAMILIES["lognormal"], np.full(len(grokked), 1_000.0)
    )
    place = np.array([6.0, 0, 0, 1.0])  # the mean is late in the budget
    assert np.linalg.eigvalsh(-likelihood.hessian(place))[0] < 0
    value, slope, hessian = likelihood(place)
    step = np.linalg.solve(-hessian, slope)
    assert slope @ step > 0
    assert likelihood(place + 1e-3 * step)[0] > value


def test_times_given_that_they_are_early_as_a_general_optimiser_has_them():
    times, design, within = sweep(300)
    grokked = np.flatnonzero(times.observed)
    low, high, x = np.log(times.lower[grokked]), np.log(times.upper[grokked]), design.matrix[grokked]

    def loss(place: np.ndarray) -> float:
        mean, spread = place[0] + x @ place[1:3], np.exp(place[3])
        until = norm.cdf((np.log(BUDGET) - mean) / spread)
        return -float(np.sum(np.log((norm.cdf((high - mean) / spread) - norm.cdf((low - mean) / spread)) / until)))

    fit = fit_aft(times.select(grokked), design.select(grokked), within=within[grokked])
    found = minimize(loss, [8.0, 0, 0, -1.0], method="Nelder-Mead", options={"maxiter": 8_000, "fatol": 1e-10})
    assert fit.parameters == pytest.approx(found.x, rel=1e-3, abs=1e-3)
    assert fit.log_likelihood == pytest.approx(-found.fun, abs=1e-4)


def test_what_decides_whether_is_not_told_as_deciding_when():
    times, design, within = sweep()
    when, both = fit_when(times, design, within), fit_aft(times, design)
    assert find(both.effects, "decay").upper < 0.85  # as if decay made the same trials earlier
    decay, data = find(when.effects, "decay"), find(when.effects, "data")
    assert decay.lower < 1 < decay.upper
    assert decay.upper / decay.lower < 1.15
    assert data.lower < 0.7 < data.upper


def test_intervals_of_when_hold_the_truth():
    held = []
    for seed in range(100):
        times, design, within = sweep(100, seed=seed)
        found = fit_when(times, design, within).effects
        held.append([one.lower <= truth <= one.upper for one, truth in zip(found, (1.0, 0.7), strict=True)])
    assert np.all(np.mean(held, axis=0) > 0.88)


def test_late_times_alone_have_no_maximum_and_are_given_no_number():
    rng = np.random.default_rng(0)
    step = BUDGET * np.sqrt(rng.random(80))  # as of one that goes on rising up to the budget, and beyond
    times = Times.of(np.floor(step / 50) * 50, np.floor(step / 50) * 50 + 50)
    fit = fit_aft(times, Design.of(x=rng.random(80)), "weibull", within=np.full(80, 100_000.0))
    assert fit.failure is None
    hopeless = fit_aft(times, Design.of(x=rng.random(80)), "lognormal", within=times.upper.copy())
    assert hopeless.failure == CUT_OFF
    assert [effect.reason for effect in hopeless.effects] == [CUT_OFF]


def test_early_trials_alone_do_not_tell_when_where_late_ones_were_pruned():
    times, design, within = sweep(100)
    late = times.upper > 1_000

    def audited_of(chosen: np.ndarray) -> AftFit:
        weight = np.where(late, 0.0, 1.0)
        weight[chosen] = 10.0
        return fit_when(replace(times, weight=weight), design, within)

    never, grokked = np.flatnonzero(~times.observed), np.flatnonzero(late & times.observed)
    early = audited_of(never[:4])
    assert early.failure == EARLY_ALONE
    assert [effect.reason for effect in early.effects] == [EARLY_ALONE] * 2
    assert audited_of(np.append(never[:3], grokked[0])).failure is None
    assert audited_of(never[:12]).failure is None  # of so many none: hardly any grok late


def test_of_what_does_not_vary_among_those_that_grokked_it_is_said():
    times, design, within = sweep(200)
    never = (~times.observed & (np.arange(200) % 3 == 0)).astype(float)
    wider = Design.of(decay=design.matrix[:, 0], data=design.matrix[:, 1], never=never)
    found = fit_when(times, wider, within).effects
    assert [one.name for one in found] == ["decay", "data", "never"]
    assert find(found, "never").reason == "of trials that grokked, it does not vary"
    assert find(found, "data").reason is None


def test_a_trial_can_only_grok_while_its_measurements_in_a_row_still_fit_in():
    trials = trials_of(2, num_steps=[4_000, 1_000], sustain=[3, 1], eval_interval=[50, 100])
    assert seen_within(trials).tolist() == [3_900, 1_000]


# Whether


def test_a_line_with_errors_that_leave_out_each_trial():
    times, design, _ = sweep(120)
    seen = times.observed
    fit = fit_whether(seen, np.ones(120), np.arange(120), design)
    x = np.column_stack([np.ones(120), design.matrix])
    slopes, inverse = np.linalg.lstsq(x, seen * 1.0, rcond=None)[0], np.linalg.inv(x.T @ x)
    left = seen - x @ slopes
    # What each estimate moves by without a trial is known exactly.
    moves = (x @ inverse) * (left / (1 - np.einsum("ij,jk,ik->i", x, inverse, x)))[:, None]
    errors = np.sqrt(np.maximum(np.sum(moves**2, axis=0) * 119 / 120, np.diag(inverse) * (left @ left) / 117))
    assert [one.difference for one in fit.effects] == pytest.approx(slopes[1:])
    assert [one.standard_error for one in fit.effects] == pytest.approx(errors[1:])
    assert (fit.trials, fit.grokked) == (120, int(seen.sum()))
    decay = fit.effects[0]
    assert decay.lower < 0.12 < decay.upper


def test_leaving_out_is_as_refitting_without_each_configuration():
    rng = np.random.default_rng(0)
    cluster, seen, weight = np.repeat(np.arange(15), 3), rng.random(45) < 0.5, rng.uniform(1, 4, 45)
    design = Design.of(a=rng.normal(size=45), b=rng.normal(size=45))
    found = [one.difference for one in fit_whether(seen, weight, cluster, design).effects]
    moves = []
    for number in range(15):
        rest = np.flatnonzero(cluster != number)
        left = fit_whether(seen[rest], weight[rest], cluster[rest], design.select(rest))
        moves.append(np.subtract([one.difference for one in left.effects], found))
    # One step of Newton's method is all that least squares need, so nothing is left to differ.
    errors = [one.standard_error for one in fit_whether(seen, weight, cluster, design).effects]
    assert errors == pytest.approx(np.sqrt(np.sum(np.square(moves), axis=0) * 14 / 15), rel=1e-9)


def test_seeds_that_agree_count_once_and_weights_as_trials():
    times, design, _ = sweep(100)
    seen, rows = times.observed, np.repeat(np.arange(100), 3)
    once = fit_whether(seen, np.ones(100), np.arange(100), design).effects[0]
    thrice = fit_whether(seen[rows], np.ones(300), rows, design.select(rows)).effects[0]
    alone = fit_whether(seen[rows], np.ones(300), np.arange(300), design.select(rows)).effects[0]
    assert thrice.difference == pytest.approx(once.difference)
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=0.05)
    assert alone.standard_error < 0.7 * thrice.standard_error
    weight = np.where(np.arange(100) < 20, 3.0, 1.0)
    weighted = fit_whether(seen, weight, np.arange(100), design).effects[0]
    copies = np.repeat(np.arange(100), weight.astype(int))
    assert weighted.difference == pytest.approx(
        fit_whether(seen[copies], np.ones(140), copies, design.select(copies)).effects[0].difference
    )
    assert weighted.difference != pytest.approx(once.difference, rel=1e-6)


def test_a_value_with_which_nothing_grokked_has_an_interval_as_wide_as_its_trials_are_few():
    seen = np.array([True] * 20 + [False] * 24)
    level = np.array([0.0] * 40 + [1.0] * 4)
    found = fit_whether(seen, np.ones(44), np.arange(44), Design.of(level=level)).effects[0]
    assert found.difference == pytest.approx(-0.5)
    assert found.upper > -0.1  # of four trials none: the share may be nearly one half
    many = fit_whether(
        np.append(seen, [False] * 40), np.ones(84), np.arange(84), Design.of(level=np.append(level, [1.0] * 40))
    ).effects[0]
    assert many.upper < -0.3
    assert found.p_value > 0.02 > many.p_value


def test_effects_on_whether_that_nothing_tells_have_a_reason():
    rng = np.random.default_rng(0)
    seen, ones, each = rng.random(30) < 0.5, np.ones(30), np.arange(30)
    lone = (each == 3).astype(float)
    assert fit_whether(seen, ones, each, Design.of(x=rng.random(30), lone=lone)).effects[1].reason == LONE
    assert fit_whether(seen, ones, each, Design.of(x=each * 1e-3)).effects[0].reason == TOO_WIDE
    all_of_them = fit_whether(np.ones(30, bool), ones, each, Design.of(x=rng.random(30)))
    assert (all_of_them.differs, all_of_them.effects[0].reason) == (False, NOTHING_DIFFERS)
    nobody = fit_whether(seen, np.zeros(30), each, Design.of(x=rng.random(30)))
    assert (nobody.differs, nobody.trials) == (False, 0)


def test_what_the_line_goes_through_exactly_is_not_told_for_certain():
    rng = np.random.default_rng(0)
    seen, ones, each = np.arange(12) % 2 == 0, np.ones(12), np.arange(12)
    decay, data = np.where(seen, -1.0, 2.3), rng.integers(3, 6, 12)
    two, three = fit_whether(seen, ones, each, Design.of(decay=decay, data=data)).effects
    assert two.difference == pytest.approx(-1 / 3.3)
    assert -1 / 3.3 <= two.lower + 1e-9 < two.upper - 0.05  # of six and six, as of an indicator
    assert three.reason == NO_CHANCE
    assert effect_of("x", "x", 0.7, 1e-15, level=0.95).reason == NO_CHANCE


def test_shares_differ_by_no_more_than_all():
    rows = np.repeat(np.arange(8), 5)
    found = fit_whether(rows < 2, np.ones(40), rows, Design.of(level=rows < 4)).effects[0]
    assert (found.difference, found.upper) == (pytest.approx(0.5), 1.0)


def test_what_first_helps_and_then_hurts_is_said_to():
    rng = np.random.default_rng(1)
    decay = rng.uniform(-3, 3, 300)
    design, ones, each = Design.of(decay=decay, idle=rng.random(300)), np.ones(300), np.arange(300)
    hump, flat = rng.random(300) < 0.9 - 0.09 * decay**2, rng.random(300) < 0.5
    for seen, expected in ((hump, ["decay"]), (flat, [])):
        fit = fit_whether(seen, ones, each, design)
        assert [*uneven_whether(seen, ones, each, design, fit)] == expected
    step = np.exp(7 + 0.1 * decay**2 + rng.normal(0, 0.3, 300))
    times, within = Times.right_censored(step, np.ones(300, bool)), np.full(300, 20_000.0)
    assert [*uneven_when(times, design, within, fit_when(times, design, within))] == ["decay"]


def test_effects_are_told_of_shares_and_of_times():
    times, design, _ = sweep()
    seen = times.observed
    columns = {"weight_decay": 2.0 ** design.matrix[:, 0], "training_fraction": design.matrix[:, 1] / 10}
    trials = trials_of(
        400,
        **columns,
        grok_step=np.where(seen, times.upper, np.nan),
        grok_step_lower=[low if yes else None for low, yes in zip(times.lower, seen, strict=True)],
        duration_steps=np.where(seen, times.upper, BUDGET).astype(int),
        num_steps=4_000,
        eval_interval=50,
        sustain=1,
    )
    found = effects(trials)
    assert [*found.tables] == ["whether", "when", "if_all_grok", "hazard_ratios"]
    whether, when = found.summary.split(". ")[:2]
    assert whether.startswith("The surest effect on whether a trial groks: a doubling of weight_decay raises the share")
    assert when.startswith("The surest effect on when it does: training_fraction + 0.1 shortens the time to 0.68")
    everyone = effects(trials.filter(seen.tolist()))
    assert "whether" not in everyone.tables
    assert everyone.summary.startswith("The surest effect on when a trial groks: training_fraction")
    assert "all trials that count grokked within their budget, so nothing tells whether they do" in everyone.notes
    early = trials.filter((~seen).tolist())
    assert effects(early).missing == "no trial grokked"


def test_who_is_left_out_and_what_goes_along_is_said_of_whether():
    rng = np.random.default_rng(0)
    decay = 2.0 ** rng.uniform(-3, 3, 40)
    seen = rng.random(40) < 0.5
    here = trials_of(
        40,
        weight_decay=decay,
        dropout=rng.random(40),
        grok_step=[100 if yes else None for yes in seen],  # at the first measurement: of times nothing is told
        num_steps=[4_000 if one > 1 else 1_000 for one in decay],
        outcome=[
            "grokked" if yes else None if at < 5 else "failed" if at < 9 else "budget" for at, yes in enumerate(seen)
        ],
    )
    notes = effects(here).notes
    assert any(note.startswith("whether: budgets are 1,000 to 4,000 steps") for note in notes)
    assert any(note.startswith("whether: ") and "not ended and" in note for note in notes)
    assert any(note.startswith("whether: ") and "failed, or" in note for note in notes)
    few = trials_of(40, weight_decay=decay, dropout=rng.random(40), grok_step=[100] * 12 + [None] * 28)
    assert any(note.startswith("only 12 trials grokked, for 2 effects") for note in effects(few).notes)
