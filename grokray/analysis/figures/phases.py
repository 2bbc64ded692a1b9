"""A phase diagram: which phase is the commonest in each cell, and what share grokked there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grokray.analysis.diagram import Bins, Diagram
from grokray.analysis.figures.style import MUTED, ON_COLOUR, PHASE_LOOKS
from grokray.analysis.wording import ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_phases(axes: Axes, diagram: Diagram) -> Axes:
    """Cells have the commonest phase's colour, hatch and letters, and the share grokked; empty ones are left blank."""
    commonest = diagram.commonest
    rows, columns = commonest.shape
    size = 8 if columns <= 5 else 7.5 if columns == 6 else 6.5
    for row in range(rows):
        for column in range(columns):
            if commonest[row, column] is None:
                axes.text(column + 0.5, row + 0.5, "·", ha="center", va="center", color=MUTED)
            else:
                _draw_cell(axes, row, column, commonest[row, column], diagram.share[row, column], size)
    axes.set_xlim(0, columns)
    axes.set_ylim(0, rows)
    _ticks(axes.xaxis, diagram.x)
    _ticks(axes.yaxis, diagram.y)
    axes.set_xlabel(diagram.x.name)
    axes.set_ylabel(diagram.y.name)
    _name_phases(axes, [phase for phase in PHASE_LOOKS if (commonest == phase).any()])
    return axes


def _draw_cell(axes: Axes, row: int, column: int, phase: str, share: float, size: float) -> None:
    from matplotlib.patches import Rectangle

    colour, letters, hatch = PHASE_LOOKS[phase]
    look = {"facecolor": colour, "edgecolor": ON_COLOUR, "hatch": hatch, "alpha": 0.85}
    axes.add_patch(Rectangle((column, row), 1, 1, linewidth=0, **look))
    text = letters if np.isnan(share) else f"{letters}\n{100 * share:.0f} %"
    box = {"boxstyle": "round,pad=0.12", "facecolor": colour, "edgecolor": "none"}
    at = (column + 0.5, row + 0.5)
    axes.text(*at, text, ha="center", va="center", fontsize=size, color=ON_COLOUR, bbox=box, linespacing=0.95)


def _name_phases(axes: Axes, phases: list[str]) -> None:
    from matplotlib.patches import Patch

    handles = []
    for phase in phases:
        colour, letters, hatch = PHASE_LOOKS[phase]
        look = {"facecolor": colour, "edgecolor": ON_COLOUR, "hatch": hatch, "linewidth": 0}
        handles.append(Patch(**look, label=f"{letters}  {phase}"))
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": 3}
    axes.legend(handles=handles, borderaxespad=0.3, handlelength=1.4, **above)


def _ticks(axis, bins: Bins) -> None:
    """Values in the middle of their cells, ends of ranges between them."""
    if bins.edges is None:
        axis.set_ticks(np.arange(len(bins)) + 0.5, bins.labels)
    else:
        every = 2 if len(bins.edges) > 7 else 1
        places = np.arange(0, len(bins.edges), every)
        labels = ends(bins.edges.tolist())
        axis.set_ticks(places, [labels[place] for place in places])
    axis.set_tick_params(length=0 if bins.edges is None else 3)
