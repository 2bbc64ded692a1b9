"""Wilson's interval, effective sizes and the bootstrap; what is no interval of time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from grokray.analysis.intervals import effective_size, wilson, wilson_share
from grokray.analysis.times import Times


@pytest.mark.parametrize(("successes", "size"), [(0, 10), (3, 10), (10, 10), (81, 263)])
def test_wilson_as_scipy_has_it(successes, size):
    """81 of 263 is an example of Newcombe, R. G. (1998). Statistics in Medicine 17, 857-872: 0.2553 to 0.3662."""
    expected = binomtest(successes, size).proportion_ci(method="wilson")
    assert wilson(successes / size, size) == pytest.approx((expected.low, expected.high), abs=1e-12)
    share = wilson_share(np.arange(size) < successes)
    assert (share.lower, share.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)
    if size == 263:
        assert wilson(successes / size, size) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_of_no_trial():
    assert wilson(0.5, 0) == (0, 1)
    assert wilson_share(np.zeros(3), np.zeros(3)).note == "no trial counts"


def test_weights_make_the_sample_smaller():
    success = np.arange(40) < 20
    plain, weighted = wilson_share(success), wilson_share(success, np.where(np.arange(40) % 4 == 0, 9.0, 1.0))
    assert weighted.value == 0.5
    assert weighted.upper - weighted.lower > 1.4 * (plain.upper - plain.lower)
    assert effective_size(np.ones(4)) == 4
    assert effective_size(np.array([4.0, 0, 0, 0])) == 1
    assert effective_size(np.ones(6), np.array([0, 0, 0, 1, 1, 1])) == 2
    assert effective_size(np.zeros(2)) == 0


def test_copies_in_clusters_prove_nothing_more():
    success, cluster = np.arange(20) < 7, np.arange(20)
    alone, copied = wilson_share(success), wilson_share(np.tile(success, 5), cluster=np.tile(cluster, 5))
    assert (copied.lower, copied.upper) == pytest.approx((alone.lower, alone.upper))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1], [1]), r"trial 0 lies in \(1.0, 1.0\], but must have 0 <= lower < upper"),
        (([0, -1], [1, 1]), "trial 1 lies in"),
        (([0], [np.nan]), "trial 0 lies in"),
        (([np.inf], [np.inf]), "trial 0 lies in"),
        (([0], [1], [-1]), "the weight of trial 0 is -1.0, but must be 0 or more"),
        (([0], [1], [np.inf]), "the weight of trial 0 is inf"),
        (([0, 1], [1, 2], [1]), "shapes are .*, but must be the same"),
    ],
)
def test_what_are_no_times(columns, message):
    with pytest.raises(ValueError, match=message):
        Times.of(*columns)
