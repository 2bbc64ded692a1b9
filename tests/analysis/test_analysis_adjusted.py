from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from grokray.analysis import adjusted
from grokray.analysis.adjusted import adjusted_ratio, standardised_difference
from grokray.analysis.comparison import NO_RATIO, OF_GROKKED, compare
from grokray.analysis.inverted import p_of_none
from grokray.analysis.regression import expit, logistic
from tests.analysis.tables import trials_of

A, B = 0.3, 0.04
# Log odds in the middle of the space, so that the shares over it are A and B.
INTERCEPTS = (-0.9516, -3.4291)


def few_events(rng, configurations: int = 50, seeds: int = 1):
    """Three parameters that matter, every other configuration of b, weights from 1 to 4."""
    configuration = np.repeat(np.arange(configurations), seeds)
    place = rng.random((configurations, 3))[configuration]
    is_b = configuration % 2 == 1
    happened = rng.random(len(is_b)) < expit(np.where(is_b, INTERCEPTS[1], INTERCEPTS[0]) + slope_of(place))
    design = np.column_stack([np.ones(len(is_b)), is_b, place, place**2])
    return design, happened, rng.integers(1, 5, configurations)[configuration] / 2.5, configuration


def slope_of(place: np.ndarray) -> np.ndarray:
    return 1.5 * (place - 0.5).sum(axis=1)


def test_the_simulated_shares_are_what_they_are_said_to_be():
    slope = slope_of(np.random.default_rng(0).random((200_000, 3)))
    assert [expit(one + slope).mean() for one in INTERCEPTS] == pytest.approx([A, B], abs=0.002)


@pytest.mark.parametrize(("number", "upper"), [(1, -0.10), (20, -0.70), (400, -0.79)])
def test_a_level_of_which_none_grokked_is_as_sure_as_its_trials_are_many(number, upper):
    is_b = np.arange(39 + number) >= 39
    grokked = np.arange(39 + number) < 35
    design = np.stack([np.ones(len(is_b)), is_b], axis=1)
    found = standardised_difference(design, grokked, np.ones(len(is_b)), np.arange(len(is_b)))(0.95)
    assert found
    assert found.value == pytest.approx(-35 / 39, abs=1e-6)
    assert found.upper == pytest.approx(upper, abs=0.01)
    turned = standardised_difference(design, ~grokked, np.ones(len(is_b)), np.arange(len(is_b)))(0.95)
    assert turned
    assert (turned.value, turned.lower) == pytest.approx((-found.value, -found.upper))


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_hold_the_truth_where_few_grok(seeds):
    rng, held = np.random.default_rng(seeds), []
    for _ in range(200):
        found = standardised_difference(*few_events(rng, seeds=seeds))(0.95)
        if found:
            assert -1 <= found.lower <= found.value <= found.upper <= 1
            held.append(found.lower <= B - A <= found.upper)
    assert len(held) > 150
    assert np.mean(held) >= 0.9


def test_a_column_that_follows_from_others_changes_nothing():
    rng = np.random.default_rng(0)
    design, happened, weight, cluster = few_events(rng, 200)
    twice = np.column_stack([design, design[:, 2] + design[:, 3]])
    one, other = (logistic(x, happened, weight, cluster).covariance[1, 1] for x in (design, twice))
    assert other == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("success", [True, False])
def test_where_all_or_none_grok_there_is_no_difference_to_adjust(success):
    rng = np.random.default_rng(0)
    design = np.stack([np.ones(60), np.arange(60) % 2, rng.random(60)], axis=1)
    found = standardised_difference(design, np.full(60, success), np.ones(60), np.arange(60))(0.95)
    assert found is None


def test_what_parts_grokkers_from_others_without_overlap_leaves_no_difference():
    """Nearly so: a few trials of one fraction do both, and tell nothing of the levels. The fit stands still then, with
    chances of 0 and 1."""
    fraction = np.repeat(np.linspace(0, 1, 21), 2)
    level = np.arange(42) % 2
    success = fraction > 0.5
    success[20:22] = True, False  # at 0.5
    design = np.stack([np.ones(42), level, fraction], axis=1)
    assert standardised_difference(design, success, np.ones(42), np.arange(42))(0.95) is None


def test_where_one_parameter_decides_nearly_everything_intervals_have_a_width():
    rng, covered, found = np.random.default_rng(0), 0, 0
    steep = np.linspace(0, 1, 1000) * 20 - 8
    truth = np.mean(1 / (1 + np.exp(-steep - 1.5)) - 1 / (1 + np.exp(-steep)))
    for _ in range(100):
        fraction, level, *others = rng.random((5, 40))
        level = level < 0.5
        chance = 1 / (1 + np.exp(-(fraction * 20 - 8 + 1.5 * level)))
        success = (rng.random((40, 2)) < chance[:, None]).ravel()
        columns = [np.ones(40), level, *(power for one in (fraction, *others) for power in (one, one**2))]
        design, cluster = np.repeat(np.stack(columns, axis=1), 2, axis=0), np.repeat(np.arange(40), 2)
        estimate = standardised_difference(design, success, np.ones(80), cluster)(0.95)
        if estimate is not None:
            found += 1
            assert estimate.upper - estimate.lower > 0.05
            covered += estimate.lower <= truth <= estimate.upper
    assert found > 20
    assert covered >= 0.9 * found


def sweep_of(rng, configurations: int, seeds: int = 1, **columns):
    """Base 2, then base 10, which is 1.5 times as fast; every other one has another norm, which matters. All grok."""
    number = np.repeat(np.arange(configurations), seeds)
    ten, layer = number >= configurations // 2, number % 2 == 1
    log = 8 - layer - np.log(1.5) * ten + 0.3 * rng.normal(size=len(number))
    trials = trials_of(
        len(number),
        base=np.where(ten, 10, 2),
        task_type="sequence",
        norm=np.where(layer, "layer", "none"),
        configuration=number,
        grok_step=np.exp(log).round(),
        grok_step_lower=np.exp(log).round() - 1,
        **columns,
    )
    return trials, ten


@pytest.mark.parametrize(("configurations", "known"), [(4, False), (5, False), (6, True)])
def test_a_ratio_needs_three_configurations_more_than_its_curve_fits(configurations, known):
    """Three coefficients: one, the level and the norm. With as many configurations the curve goes through them all."""
    trials, ten = sweep_of(np.random.default_rng(0), configurations, seeds=2)
    found = adjusted_ratio(trials, ten, ["norm"], 0.95)
    assert (found is not None) == known
    if found:
        assert found.lower < found.value < found.upper


def test_columns_that_follow_from_others_take_no_degree_of_freedom():
    """Two parameters that change together: the second tells nothing new, and no interval grows by it."""
    heads = np.tile([2, 4, 4, 2], 3)
    trials, ten = sweep_of(np.random.default_rng(0), 12, num_heads=heads, dim=heads * 32)
    one, other = (adjusted_ratio(trials, ten, names, 0.95) for names in (["num_heads"], ["num_heads", "dim"]))
    assert one
    assert other
    assert [other.lower, other.upper] == pytest.approx([one.lower, one.upper])


def test_the_ratios_of_few_configurations_hold_the_truth():
    rng, held = np.random.default_rng(0), []
    for _ in range(200):
        found = adjusted_ratio(*sweep_of(rng, 6), ["norm"], 0.95)
        assert found
        held.append(found.lower <= 1 / 1.5 <= found.upper)
    assert np.mean(held) >= 0.9


def test_steps_that_are_all_one_tell_no_ratio():
    """That nothing was seen to vary is no certainty."""
    trials, ten = sweep_of(np.random.default_rng(0), 12)
    for name, step in (("grok_step", 1_000), ("grok_step_lower", 900)):
        trials = trials.set_column(trials.column_names.index(name), name, pa.array([step] * 12, pa.int64()))
    compared = compare(trials, np.where(ten, "ten", "two").astype(object), "two", "ten", ["base"])
    assert compared.ratio is None
    assert f"ten against two: {NO_RATIO}" in compared.notes


def test_an_interval_over_all_numbers_is_none(recwarn):
    assert adjusted_ratio(*sweep_of(np.random.default_rng(0), 6), ["norm"], 1 - 1e-12) is None
    assert not recwarn.list


def test_what_the_budget_cuts_off_is_not_taken_for_speed():
    """Of b, three times as slow, the budget leaves the earliest; half of it never groks besides."""
    held, means, rng = [], [], np.random.default_rng(0)
    for _ in range(40):
        is_b, place = np.arange(300) % 2 == 1, rng.random(300)
        log = np.log(1_500) - 2 * (place - 0.5) + np.log(3) * is_b + 0.5 * rng.normal(size=300)
        step = np.where(is_b & (rng.random(300) < 0.5), np.inf, np.ceil(np.exp(log) / 50) * 50)
        happened = step <= 2_500
        trials = trials_of(
            300,
            base=np.where(is_b, 10, 2),
            task_type="sequence",
            training_fraction=0.2 + 0.6 * place,
            grok_step=np.where(happened, step, np.nan),
            grok_step_lower=[low - 50 if yes else None for low, yes in zip(step, happened, strict=True)],
            num_steps=2_500,
            eval_interval=50,
            sustain=1,
        )
        found = adjusted_ratio(trials, is_b, ["training_fraction"], 0.95)
        assert found
        held.append(found.lower <= 3 <= found.upper)
        log_step, seen_b = np.log(step[happened]), is_b[happened]
        line = np.linalg.lstsq(np.stack([np.ones(happened.sum()), seen_b, place[happened]], 1), log_step, rcond=None)[0]
        means.append((np.log(found.value), line[1]))
    ours, of_those_seen = np.median(means, axis=0)
    assert ours == pytest.approx(np.log(3), abs=0.12)
    assert of_those_seen < 0.8
    assert np.mean(held) >= 0.85
    compared = compare(trials, np.where(is_b, "ten", "two").astype(object), "two", "ten", ["base"])
    assert OF_GROKKED in compared.notes


def test_one_fit_is_asked_at_every_level(monkeypatch):
    """A p-value asks for some eight levels, and the fit is nearly all of the work."""
    design, happened, weight, configuration = few_events(np.random.default_rng(1), seeds=2)
    fits = []
    monkeypatch.setattr(adjusted, "logistic", lambda *a, **more: fits.append(1) or logistic(*a, **more))
    at_level = adjusted.standardised_difference(design, happened, weight, configuration)
    assert 0 < p_of_none(at_level) < 1
    narrow, wide = at_level(0.5), at_level(0.99)
    assert wide.lower < narrow.lower < narrow.value == wide.value < narrow.upper < wide.upper
    assert len(fits) == 1
