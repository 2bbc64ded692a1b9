"""Whether an effect is the same along all of a parameter's range: a parabola beside the straight line.

One number stands for a whole range. Where weight decay first helps and then hurts, its effect may be told as none. So
each number's square joins the model, by itself, and its coefficient is tested by the fit's own error, corrected for
how many there are: Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of
Statistics 6, 65-70.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from grokray.analysis.design import Design
from grokray.analysis.logrank import holm

LEVEL = 0.99  # an assumption is given up later than none is
MIN_VALUES = 4  # three are always on some parabola
EVENTS_PER_COEFFICIENT = 10


def bends(
    design: Design,
    fitted: Collection[str],
    events: int,
    p_of_last: Callable[[Design], float],
    level: float = LEVEL,
) -> dict[str, float]:
    """The columns along which an effect is not the same everywhere, each with its adjusted p. `fitted` are those that
    the model of the straight lines has, of so many `events`; `p_of_last` fits it to another design and tests the last
    column, NaN where that is not told."""
    if events < EVENTS_PER_COEFFICIENT * (len(fitted) + 1):
        return {}
    columns = [number for number, name in enumerate(design.names) if name in fitted and _is_range(design, number)]
    p_values = [p_of_last(_with_square(design, number)) for number in columns]
    adjusted = holm(np.array(p_values, dtype=np.float64))
    return {design.names[number]: float(p) for number, p in zip(columns, adjusted, strict=True) if p < 1 - level}


def _is_range(design: Design, column: int) -> bool:
    said = design.matrix[~design.stand_in[:, column], column]
    return not design.indicator[column] and len(np.unique(said)) >= MIN_VALUES


def _with_square(design: Design, column: int) -> Design:
    x, stand_in = design.matrix[:, column], design.stand_in[:, column]
    centre, spread = x[~stand_in].mean(), x[~stand_in].std()
    square = np.where(stand_in, 0.0, ((x - centre) / spread) ** 2)
    name = f"{design.names[column]} squared"
    return replace(
        design,
        names=(*design.names, name),
        labels=(*design.labels, name),
        indicator=(*design.indicator, False),
        matrix=np.column_stack([design.matrix, square]),
        stand_in=np.column_stack([design.stand_in, stand_in]),
    )
