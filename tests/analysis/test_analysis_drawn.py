from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from grokray.analysis.drawn import weights_of_drawn

CHANCE = np.array([0.4, 0.25, 0.2, 0.1, 0.05])


def chance_of_set(points: tuple[int, ...], chance: np.ndarray, left: float = 1.0) -> float:
    """That they are the first to be drawn, in any order."""
    total = 0.0
    for order in permutations(points):
        probability, rest = 1.0, left
        for point in order:
            probability, rest = probability * chance[point] / rest, rest - chance[point]
        total += probability
    return total


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_they_are_murthys_by_enumeration(size):
    for points in combinations(range(len(CHANCE)), size):
        whole = chance_of_set(points, CHANCE)
        others = [tuple(j for j in points if j != i) for i in points]
        expected = [
            CHANCE[i] * chance_of_set(rest, CHANCE, 1 - CHANCE[i]) / whole
            for i, rest in zip(points, others, strict=True)
        ]
        assert weights_of_drawn(CHANCE[list(points)]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_mean_of_any_values_has_no_bias(size):
    values = np.array([1.0, 0.0, 3.0, -2.0, 10.0])
    mean = sum(
        chance_of_set(points, CHANCE) * weights_of_drawn(CHANCE[list(points)]) @ values[list(points)]
        for points in combinations(range(len(CHANCE)), size)
    )
    assert mean == pytest.approx(CHANCE @ values, rel=1e-9)


def test_equally_likely_points_and_those_of_ranges_count_alike():
    assert weights_of_drawn(np.full(7, 0.1)).tolist() == [1] * 7
    assert weights_of_drawn(np.zeros(7)).tolist() == [1] * 7
    assert weights_of_drawn(CHANCE) is CHANCE  # all points of the space


def test_what_lies_in_a_range_is_the_limit_of_many_unlikely_points():
    some, many = np.array([0.5, 0.2]), 10**6
    limit = weights_of_drawn(np.r_[some, np.zeros(4)])
    assert limit == pytest.approx(weights_of_drawn(np.r_[some, np.full(4, 0.3 / many)]), rel=1e-4)
    assert limit.sum() == pytest.approx(1)
    # Four of 0.3 came, so by then the others had come for sure: they count for a little more than their probability.
    assert limit[0] == pytest.approx(0.5, rel=0.02)
    assert limit[0] > 0.5


def test_very_many_and_very_unlike_points_have_weights():
    rng = np.random.default_rng(0)
    chance = rng.dirichlet(np.full(40_000, 0.2))
    order = np.argsort(rng.exponential(size=len(chance)) / chance)[:20_000]
    weight = weights_of_drawn(chance[order])
    assert weight.sum() == pytest.approx(1, rel=1e-6)
    assert (weight >= chance[order] * (1 - 1e-12)).all()
