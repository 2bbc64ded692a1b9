"""A phase diagram: which phase is the commonest in each cell, and what share grokked there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grokray.analysis.diagram import Bins, Diagram
from grokray.analysis.figures.labels import (
    AXIS,
    GAP,
    LINE,
    LINES_APART,
    as_written,
    columns_in,
    height_of_choices,
    in_lines,
    name_choices,
    room_of,
    shortened,
    width_of,
)
from grokray.analysis.figures.style import MUTED, ON_COLOUR, PHASE_LOOKS, WIDTH
from grokray.analysis.wording import ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ROW, MOST_IN_LINES = 0.31, 15  # inches of a row with a name in two lines, and of how many rows they are
SIZES = {0.75: 8.0, 0.65: 7.5, 0.3: 6.5}  # from what width of a cell on: points of its text


def height_of_phases(diagram: Diagram, least: float) -> float:
    """Inches: `least`, or more where there are many rows or the names below are turned."""
    labels = _row_names(diagram.y)
    below = height_of_choices(diagram.x.labels, WIDTH - _beside(labels)) if diagram.x.edges is None else 0.0
    return max(least, ROW * min(len(labels), MOST_IN_LINES) + 0.9) + below


def draw_phases(axes: Axes, diagram: Diagram) -> Axes:
    """Cells have the commonest phase's colour, hatch and letters, and the share grokked where there is room for it;
    empty ones are left blank."""
    commonest = diagram.commonest
    rows, columns = commonest.shape
    room = room_of(axes) - _beside(_row_names(diagram.y))
    size = next((size for width, size in SIZES.items() if room / columns >= width), None)
    for row in range(rows):
        for column in range(columns):
            if commonest[row, column] is None:
                axes.text(column + 0.5, row + 0.5, "·", ha="center", va="center", color=MUTED)
            else:
                _draw_cell(axes, row, column, commonest[row, column], diagram.share[row, column], size)
    axes.set_xlim(0, columns)
    axes.set_ylim(0, rows)
    _name_columns(axes, diagram.x, room)
    _name_rows(axes, diagram.y)
    axes.set_xlabel(diagram.x.name)
    axes.set_ylabel(diagram.y.name)
    _name_phases(axes, [phase for phase in PHASE_LOOKS if (commonest == phase).any()], room)
    return axes


def _draw_cell(axes: Axes, row: int, column: int, phase: str, share: float, size: float | None) -> None:
    from matplotlib.patches import Rectangle

    colour, letters, hatch = PHASE_LOOKS[phase]
    look = {"facecolor": colour, "edgecolor": ON_COLOUR, "hatch": hatch, "alpha": 0.85}
    axes.add_patch(Rectangle((column, row), 1, 1, linewidth=0, **look))
    text = letters if np.isnan(share) or size is None else f"{letters}\n{100 * share:.0f} %"
    box = {"boxstyle": "round,pad=0.12", "facecolor": colour, "edgecolor": "none"}
    at = (column + 0.5, row + 0.5)
    axes.text(*at, text, ha="center", va="center", fontsize=size or 6, color=ON_COLOUR, bbox=box, linespacing=0.95)


def _name_phases(axes: Axes, phases: list[str], room: float) -> None:
    from matplotlib.patches import Patch

    handles = []
    for phase in phases:
        colour, letters, hatch = PHASE_LOOKS[phase]
        look = {"facecolor": colour, "edgecolor": ON_COLOUR, "hatch": hatch, "linewidth": 0}
        handles.append(Patch(**look, label=f"{letters}  {phase}"))
    columns = columns_in(room, [str(handle.get_label()) for handle in handles])
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": columns}
    axes.legend(handles=handles, borderaxespad=0.3, handlelength=1.4, **above)


def _name_columns(axes: Axes, bins: Bins, room: float) -> None:
    """Values in the middle of their cells, ends of ranges between them."""
    if bins.edges is None:
        name_choices(axes, np.arange(len(bins)) + 0.5, bins.labels, room)
    else:
        labels = ends(bins.edges.tolist())
        fitting = np.ceil((max(map(width_of, labels)) + GAP) * len(bins) / room)
        places = np.arange(0, len(labels), max(int(fitting), 2 if len(labels) > 7 else 1))
        axes.set_xticks(places, [labels[place] for place in places])
    axes.tick_params(axis="x", length=0 if bins.edges is None else 3)


def _name_rows(axes: Axes, bins: Bins) -> None:
    if bins.edges is None:
        names = [as_written(name) for name in _row_names(bins)]
        axes.set_yticks(np.arange(len(bins)) + 0.5, names, linespacing=LINES_APART)
    else:
        labels = ends(bins.edges.tolist())
        places = np.arange(0, len(labels), 2 if len(labels) > 7 else 1)
        axes.set_yticks(places, [labels[place] for place in places])
    axes.tick_params(axis="y", length=0 if bins.edges is None else 3)


def _row_names(bins: Bins) -> list[str]:
    """In two lines where they are long and rows not too many, so that they leave the cells room."""
    if bins.edges is not None:
        return ends(bins.edges.tolist())
    return [in_lines(label, 12) if len(bins) <= MOST_IN_LINES else shortened(label) for label in bins.labels]


def _beside(labels: list[str]) -> float:
    """Inches left of the cells."""
    return max(map(width_of, labels)) + AXIS - LINE
