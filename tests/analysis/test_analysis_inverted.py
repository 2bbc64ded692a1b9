from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from grokray.analysis.inverted import p_of_none
from grokray.analysis.shares import Estimate


def around(value: float, error: float, quantile=norm.ppf):
    def at(level: float) -> Estimate:
        half = error * quantile((1 + level) / 2)
        return Estimate(value=value, lower=value - half, upper=value + half, method="")

    return at


@pytest.mark.parametrize("value", [0.3, -0.3, 0.01, 1.2])
def test_p_is_that_of_the_test_that_the_interval_inverts(value):
    assert p_of_none(around(value, 0.15)) == pytest.approx(2 * norm.sf(abs(value) / 0.15), rel=0.01, abs=1e-8)
    student = p_of_none(around(value, 0.15, lambda share: t.ppf(share, 5)))
    assert student == pytest.approx(2 * t.sf(abs(value) / 0.15, 5), rel=0.01)


def test_what_has_no_interval_has_no_p():
    assert np.isnan(p_of_none(lambda level: None))
    assert np.isnan(p_of_none(around(0.3, float("nan"))))
    assert p_of_none(around(0.0, 0.1)) == 1
