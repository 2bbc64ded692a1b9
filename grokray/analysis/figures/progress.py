"""The picture of a trial's progress measures: losses over logarithmic steps, and what the key frequencies explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from grokray.analysis.figures.trial import HEIGHT, MEASURE_HEIGHT, draw_loss, draw_measure, panels, style
from grokray.analysis.trial_curve import TrialCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES = ("train", "heldout", "restricted", "excluded")


def draw_progress(curve: TrialCurve, measures: Mapping[str, Sequence[float]]) -> Figure:
    """A figure to be saved. `measures` are columns of `progress_measures`, equally long; the curve gives the title, and
    when the trial had memorized and had grokked."""
    steps = [int(step) for step in measures["step"]]
    losses: dict[str, list[float | None]] = {name: [*measures[f"{name}_loss"]] for name in LOSSES}
    share: list[float | None] = [*measures["key_share"]]
    curve = replace(curve, steps=steps, loss=losses, accuracy={}, tasks={}, measures={})
    with style():
        figure, (upper, lower) = panels(curve, [0.75 * HEIGHT, MEASURE_HEIGHT])
        draw_loss(upper, curve, names=True)
        draw_measure(lower, curve, "key_share", share, share=True)
    return figure
