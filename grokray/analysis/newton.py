"""The maximum of a concave function: Newton's method, halving steps that do not help."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Objective = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]
_HALVINGS = 40


def maximise(
    objective: Objective, start: np.ndarray, *, iterations: int = 100, tolerance: float = 1e-9
) -> tuple[np.ndarray, bool]:
    """The place (p,), and whether what a step could still gain came below `tolerance`.

    `objective` gives value, gradient (p,) and Hessian (p, p). A value that is not finite is taken for a step too far;
    at `start` it must be finite.
    """
    place = start
    value, gradient, hessian = objective(place)
    for _ in range(iterations):
        step = np.linalg.lstsq(-hessian, gradient, rcond=None)[0]
        gain = float(gradient @ step)
        if gain / 2 < tolerance * (1 + abs(value) * 1e-6):
            return place, True
        for halvings in range(_HALVINGS):
            tried = place + step * 0.5**halvings
            new_value, new_gradient, new_hessian = objective(tried)
            # A little above the old value is enough, as rounding is all that is left at the top.
            if np.isfinite(new_value) and new_value >= value + 1e-4 * gain * 0.5**halvings - 1e-12 * abs(value):
                break
        else:
            return place, False
        place, value, gradient, hessian = tried, new_value, new_gradient, new_hessian
    return place, False
