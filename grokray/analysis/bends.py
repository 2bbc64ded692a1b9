"""Whether an effect is the same along all of a parameter's range: a parabola beside the straight line.

One ratio stands for a whole range. Where the time first falls with weight decay and then rises, it may be told as none.
So each number's square joins the model, by itself, and its coefficient is tested by the fit's own error, corrected for
how many there are: Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of
Statistics 6, 65-70.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grokray.analysis.aft import AftFit, fit_aft
from grokray.analysis.design import Design
from grokray.analysis.effects import find
from grokray.analysis.logrank import holm
from grokray.analysis.times import Times

LEVEL = 0.99  # an assumption is given up later than none is
MIN_VALUES = 4  # three are always on some parabola
EVENTS_PER_COEFFICIENT = 10


def bends(times: Times, design: Design, fit: AftFit, level: float = LEVEL) -> dict[str, float]:
    """The columns along which the time does not change evenly, each with its adjusted p. `fit` is that of the times on
    the design without squares."""
    if fit.failure or fit.events < EVENTS_PER_COEFFICIENT * (len(fit.names) + 1):
        return {}
    columns = [number for number, name in enumerate(design.names) if name in fit.names and _is_range(design, number)]
    p_values = [_p_of_square(times, design, number, fit) for number in columns]
    adjusted = holm(np.array(p_values, dtype=np.float64))
    return {design.names[number]: float(p) for number, p in zip(columns, adjusted, strict=True) if p < 1 - level}


def _is_range(design: Design, column: int) -> bool:
    said = design.matrix[~design.stand_in[:, column], column]
    return not design.indicator[column] and len(np.unique(said)) >= MIN_VALUES


def _p_of_square(times: Times, design: Design, column: int, fit: AftFit) -> float:
    x, stand_in = design.matrix[:, column], design.stand_in[:, column]
    centre, spread = x[~stand_in].mean(), x[~stand_in].std()
    square = np.where(stand_in, 0.0, ((x - centre) / spread) ** 2)
    name = f"{design.names[column]} squared"
    bent = replace(
        design,
        names=(*design.names, name),
        labels=(*design.labels, name),
        indicator=(*design.indicator, False),
        matrix=np.column_stack([design.matrix, square]),
        stand_in=np.column_stack([design.stand_in, stand_in]),
    )
    found = fit_aft(times, bent, fit.family)
    return float("nan") if found.failure or name not in found.names else find(found.effects, name).p_value
