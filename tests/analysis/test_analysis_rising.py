"""The best curve that rises, and what one half somewhere else would cost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from grokray.analysis.rising import crossing, design_effect


def cost(place, success, weight, half: float) -> float:
    """Twice the log likelihood that the best rising curve loses by being at one half at `half`, by another program."""
    distinct, at = np.unique(place, return_inverse=True)
    mass = np.bincount(at, weights=weight)
    share = np.bincount(at, weights=weight * success) / mass

    def log_likelihood(chance) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = (
                np.where(share > 0, share * np.log(chance), 0),
                np.where(share < 1, (1 - share) * np.log1p(-chance), 0),
            )
        return float(mass @ np.sum(terms, axis=0))

    below, above = distinct < half, distinct > half
    best = isotonic_regression(share, weights=mass).x
    forced = np.empty(len(distinct))
    forced[below] = np.minimum(isotonic_regression(share[below], weights=mass[below]).x, 0.5) if below.any() else []
    forced[above] = np.maximum(isotonic_regression(share[above], weights=mass[above]).x, 0.5) if above.any() else []
    return 2 * (log_likelihood(best) - log_likelihood(forced))


@pytest.mark.parametrize("size", [5, 30, 200])
def test_the_cost_of_one_half_between_any_two_places_is_that_of_another_program(size):
    rng = np.random.default_rng(size)
    place = rng.uniform(0.2, 0.8, size).round(2)
    success, weight = rng.random(size) < place, rng.choice([1.0, 4.0], size)
    found = crossing(place, success, weight, np.arange(size))
    distinct = np.unique(place)
    at = np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2, [1.0]])
    expected = np.array([cost(place, success, weight, half) for half in at])
    effect = design_effect(success - found.share[np.searchsorted(distinct, place)], weight, np.arange(size))
    assert found.place.tolist() == distinct.tolist()
    assert found.unlikely == pytest.approx(expected / effect, abs=1e-9)


def test_half_of_a_stretch_is_in_its_middle():
    place = np.repeat([0.2, 0.3, 0.4, 0.7], 2)
    success = np.array([0, 0, 0, 1, 0, 1, 1, 1]) > 0
    assert crossing(place, success, np.ones(8), np.arange(8)).value == pytest.approx(0.35)


@pytest.mark.parametrize("chance", [0.07, 0.35, 0.46, 0.79])
def test_half_is_half_also_where_weights_are_no_round_numbers(chance):
    place = np.repeat([0.2, 0.3, 0.4, 0.5, 0.7], [3, 10, 6, 14, 3])
    success = np.array([*[0] * 3, *[1] * 5, *[0] * 5, *[1] * 3, *[0] * 3, *[1, 0] * 7, *[1] * 3]) > 0
    weight = np.where(np.isin(place, [0.2, 0.7]), 1, 1 / chance)
    assert crossing(place, success, weight, np.arange(36)).value == pytest.approx(0.4)


def test_one_trial_out_of_order_is_luck_at_any_level():
    place = np.linspace(0.1, 0.9, 17)
    found = crossing(place, place > 0.42, np.ones(17), np.arange(17))
    assert found.ends(0.5) == found.ends(0.8) == pytest.approx((0.35, 0.5))


def test_a_design_effect_is_what_clusters_vary_more_with_two_errors_added():
    """Ten clusters of four, each with residuals +, +, +, −: their sums vary as those of independent trials do."""
    residual, codes = np.tile([0.5, 0.5, 0.5, -0.5], 10), np.repeat(np.arange(10), 4)
    assert design_effect(residual, np.ones(40), codes) == pytest.approx(1 + 2 / np.sqrt(10))
    assert design_effect(np.tile([0.5, -0.5], 20), np.ones(40), codes) == 1
    assert design_effect(np.full(40, 0.5), np.ones(40), codes) == 4
    assert design_effect(np.zeros(40), np.ones(40), codes) == 4
    assert design_effect(np.tile([0.5, -0.5], 20), np.tile([1.0, 3.0], 20), np.arange(40)) == 200 / 80
