"""Ticks of logarithmic axes, as a reader would write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import Axis

_SMALL = 0.9e-3  # as a thousandth may have been rounded down


def plain_ticks(axis: Axis, limits: tuple[float, float]) -> None:
    """1, 2, 5, 10, 20, …, or powers of ten alone if these are many; equal steps where fewer than two of them are within
    the limits. Written out: 2,000 and 0.01; below a thousandth 1e-4 and 1e-5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    decades = math.log10(limits[1] / limits[0])
    places = [digit * 10.0**power for power in range(-12, 13) for digit in (1, 2, 5)]
    if sum(limits[0] <= place <= limits[1] for place in places) < 2:
        axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    if decades < 2.5:
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: written_out(value)))


def written_out(value: float) -> str:
    if 0 < value < _SMALL:
        digits, power = f"{value:.3e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:,.0f}" if value >= 1_000 or value == round(value) else f"{value:.4g}"
