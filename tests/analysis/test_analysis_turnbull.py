"""Turnbull's estimator against a published table, plain expectation maximisation, and Kaplan-Meier."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokray.analysis.survival import kaplan_meier
from grokray.analysis.times import Times
from grokray.analysis.turnbull import innermost_intervals, turnbull

sys.path.insert(0, str(Path(__file__).parent))
from survival_data import RADIOTHERAPY, TREATED


def test_the_published_curve_of_radiotherapy():
    """Klein, J. P., and Moeschberger, M. L. (2003). Survival Analysis, table 5.2."""
    found = turnbull(RADIOTHERAPY)
    assert len(RADIOTHERAPY) == 46
    assert found.converged
    months = np.array([4, 5, 6, 7, 8, 11, 12, 24, 25, 33, 34, 38, 40, 46])
    expected = [1, 0.954, 0.954, 0.920, 0.832, 0.832, 0.761, 0.761, 0.668, 0.668, 0.586, 0.586, 0.466, 0.466]
    least, most = found.survival(months)
    assert least == pytest.approx(expected, abs=6e-4)
    assert most == pytest.approx(expected, abs=6e-4)
    assert found.median == (38, 40)


def plain(times: Times) -> float:
    """The log likelihood that expectation maximisation by dense matrices reaches."""
    left, right = innermost_intervals(times.lower, times.upper)
    inside = (times.lower[:, None] <= left) & (right <= times.upper[:, None])
    mass = np.full(len(left), 1 / len(left))
    for _ in range(5_000):
        held = inside @ mass
        mass = mass * (inside.T @ (times.weight / held)) / times.weight.sum()
    return float(times.weight @ np.log(inside @ mass))


@st.composite
def intervals(draw) -> Times:
    size = draw(st.integers(1, 12))
    lower = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    width = draw(st.lists(st.sampled_from([1, 2, 5, np.inf]), min_size=size, max_size=size))
    weight = draw(st.lists(st.sampled_from([1.0, 3.5]), min_size=size, max_size=size))
    return Times.of(lower, np.add(lower, width), weight)


@given(intervals())
@settings(max_examples=60, deadline=None)
def test_no_other_distribution_is_likelier(times):
    found = turnbull(times)
    assert found.converged
    assert found.mass.sum() == pytest.approx(1)
    assert (found.mass >= 0).all()
    assert found.log_likelihood >= plain(times) - 1e-4 * times.weight.sum()
    least, most = found.survival(np.arange(0, 20) / 1.0)
    assert (least <= most + 1e-12).all()
    assert (np.diff(least) <= 1e-12).all()
    assert (np.diff(most) <= 1e-12).all()


def test_of_exact_times_it_is_kaplan_meier():
    curve = kaplan_meier(TREATED)
    least, most = turnbull(TREATED).survival(curve.time)
    assert least == pytest.approx(curve.survival, abs=1e-4)
    assert most == pytest.approx(curve.survival, abs=1e-4)


def test_half_open_intervals_that_touch_do_not_meet():
    left, right = innermost_intervals(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    assert (left.tolist(), right.tolist()) == ([1, 2], [2, 3])
    left, right = innermost_intervals(np.array([0.0, 5.0]), np.array([7.0, 8.0]))
    assert (left.tolist(), right.tolist()) == ([5], [7])


def test_of_no_trial_it_is_refused():
    with pytest.raises(ValueError, match="no trial has a weight above 0"):
        turnbull(Times.of([0.0], [1.0], [0.0]))


def test_nobody_grokked():
    found = turnbull(Times.of([100.0, 200.0], [np.inf, np.inf]))
    assert found.median == (200, np.inf)
    assert found.survival(150.0) == (1, 1)
