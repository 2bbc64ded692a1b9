"""One trial's accuracy over logarithmic steps, small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokray.analysis.figures.trial import draw_accuracy
from grokray.analysis.trial_curve import TrialCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curve(axes: Axes, curve: TrialCurve) -> Axes:
    draw_accuracy(axes, curve)
    axes.set_xlabel("training steps")
    return axes
