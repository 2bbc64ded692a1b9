"""The p-value that belongs to an interval: one less the highest level at which it still leaves out no difference.

So p and the interval cannot contradict each other, however the interval is made.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from grokray.analysis.shares import Estimate

_NEAREST, _FARTHEST = 1e-3, 6.0  # standard errors: of the latter p is 2e-9, and shown as less than 0.001


def p_of_none(at_level: Callable[[float], Estimate | None]) -> float:
    """That the truth is 0, where `at_level` gives the interval at any level: of 0.3 ± 2 standard errors at 95 %, 0.05.
    NaN without an estimate or an interval."""

    def beyond(reach: float) -> float:
        """How far the interval ends from 0, on the side of its estimate; `reach` is in the normal's standard errors."""
        found = at_level(float(1 - 2 * norm.sf(reach)))
        if found is None:
            return float("nan")
        return found.lower if found.value > 0 else -found.upper if found.value < 0 else -1.0

    nearest = beyond(_NEAREST)
    if np.isnan(nearest):
        return float("nan")
    if nearest <= 0:
        return 1.0
    if not beyond(_FARTHEST) <= 0:
        return float(2 * norm.sf(_FARTHEST))
    return float(2 * norm.sf(brentq(beyond, _NEAREST, _FARTHEST, xtol=2e-3)))
