"""The picture of one trial: accuracy and loss over logarithmic steps, memorization and grokking shaded.

Colours are Okabe and Ito's, which colour-blind people can tell apart; without colours the lines differ by their dashes
and the regions by their grey. Every line is named at its end, so that there is no legend to look up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokray.analysis.trial_curve import TrialCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
LOOKS = {  # part → name, colour, dashes, width
    "train": ("training", "#0072B2", (0, ()), 1.6),
    "heldout": ("held-out", "#D55E00", (0, (4, 1.2)), 2.0),
    "out_of_domain": ("out of domain", "#00795A", (0, (1, 1.2)), 2.0),
}
ENDS = {name: name for name in ("pruned", "diverged", "failed", "stopped")} | {"budget": "not grokked in all its steps"}
NAME_WIDTH = 0.18  # of a region's name, as a share of the panel
MEMORIZED, GROKKED = "#E9E9E9", "#CFE3D6"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "svg.hashsalt": "grokray",  # the same figure is the same file
    "svg.fonttype": "none",
}


def draw(curve: TrialCurve) -> Figure:
    """A figure of 8 by 6 inches, to be saved."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(8, 6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        figure.suptitle(f"{task_of(curve.row)}\n", x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.text(0.01, 0.955, settings_of(curve.row), ha="left", va="top", fontsize=9, color="#444444")
        _draw_accuracy(upper, curve)
        _draw_loss(lower, curve)
    return figure


def save(figure: Figure, paths: Sequence[Path]) -> None:
    """Write the figure to each of the paths, in the format of its ending."""
    with _style():
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            # No date: the same figure is the same file.
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def regions(row: Mapping[str, Any], last_step: int) -> list[tuple[int, int, str]]:
    """From where to where the trial had memorized, and had grokked: (1200, 3000, "grokked").

    Both end where the other begins, or at the last step. A trial that generalises at once has no time of memorization.
    """
    memorized, grokked = row["memorization_step"], row["grok_step"]
    spans = []
    if memorized is not None and (grokked is None or memorized < grokked):
        spans.append((memorized, last_step if grokked is None else grokked, "memorized"))
    if grokked is not None:
        spans.append((grokked, last_step, "grokked"))
    return spans


def task_of(row: Mapping[str, Any]) -> str:
    """`x/y mod 97`, `x+y in base 10, least significant digit first`."""
    name = row["operation"].removesuffix("_mod")
    if row["modulus"] is not None:
        name += f" mod {row['modulus']}"
    if row["base"] is not None:
        name += f" in base {row['base']}"
    if row["digit_order"] is not None:
        name += f", {row['digit_order'].removesuffix('_first')} significant digit first"
    return name


def settings_of(row: Mapping[str, Any]) -> str:
    seeds = {row[name] for name in ("init_seed", "split_seed", "order_seed")}
    parts = [
        f"{100 * row['training_fraction']:.3g} % trained on",
        f"weight decay {row['weight_decay']:.3g}",
        f"dropout {row['dropout']:.3g}" if row["dropout"] else "",
        f"seed {seeds.pop()}" if len(seeds) == 1 else "",
        f"trial {row['trial_id']}",
        ENDS.get(row["outcome"], ""),
    ]
    return " · ".join(filter(None, parts))


def _draw_accuracy(axes: Axes, curve: TrialCurve) -> None:
    axes.set_ylabel("exact match")
    axes.set_ylim(-0.04, 1.1)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    _shade(axes, curve, names=True)
    _draw_lines(axes, curve.steps, curve.accuracy)


def _draw_loss(axes: Axes, curve: TrialCurve) -> None:
    axes.set_ylabel("loss")
    axes.set_xlabel("training steps")
    axes.set_yscale("log")
    _shade(axes, curve, names=False)
    _draw_lines(axes, curve.steps, curve.loss)
    _plain_ticks(axes.yaxis, axes.get_ylim())


def _shade(axes: Axes, curve: TrialCurve, *, names: bool) -> None:
    axes.set_xscale("log")
    first, last = curve.steps[0], curve.steps[-1]
    axes.set_xlim(*((first, last) if last > 1.2 * first else (first / 1.2, last * 1.2)))
    _plain_ticks(axes.xaxis, axes.get_xlim())
    spans = regions(curve.row, last)
    for start, end, name in spans:
        axes.axvspan(start, end, color={"memorized": MEMORIZED, "grokked": GROKKED}[name], linewidth=0, zorder=0)
        axes.axvline(start, color="#777777", linewidth=0.8, zorder=1)
    if names:
        _name_regions(axes, spans)


def _name_regions(axes: Axes, spans: Sequence[tuple[int, int, str]]) -> None:
    """Above the panel; the first name stands to the left of its line where there is no room to the right."""
    places = [min(max(_log_share(axes.get_xlim(), start), 0.0), 1.0) for start, *_ in spans]
    crowded = len(places) == 2 and places[1] - places[0] < NAME_WIDTH
    for number, ((start, _, name), place) in enumerate(zip(spans, places, strict=True)):
        side = "right" if crowded and number == 0 and place > NAME_WIDTH else "left"
        axes.text(place, 1.02, f"{name} by {start:,}", transform=axes.transAxes, ha=side, fontsize=9, color="#333333")


def _draw_lines(axes: Axes, steps: Sequence[int], values: Mapping[str, Sequence[float | None]]) -> None:
    ends = {}
    for part, series in values.items():
        name, colour, dashes, width = LOOKS[part]
        points = [(step, value) for step, value in zip(steps, series, strict=True) if _is_shown(axes, value)]
        if not points:
            continue
        xs, ys = zip(*points, strict=True)
        marker = "o" if len(points) < 3 else None
        axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=width, marker=marker, zorder=3, clip_on=False)
        ends[part] = (ys[-1], name, colour)
    _name_lines(axes, ends)


def _is_shown(axes: Axes, value: float | None) -> bool:
    """Nothing that was not measured; on a logarithmic scale, no loss of exactly 0."""
    return value is not None and math.isfinite(value) and (value > 0 or axes.get_yscale() == "linear")


def _name_lines(axes: Axes, ends: Mapping[str, tuple[float, str, str]]) -> None:
    """Names at the right, moved apart where lines end close to each other."""
    share = _log_share if axes.get_yscale() == "log" else _linear_share
    heights = {part: share(axes.get_ylim(), y) for part, (y, *_) in ends.items()}
    for part, height in _moved_apart(heights).items():
        _, name, colour = ends[part]
        axes.text(1.015, height, name, transform=axes.transAxes, color=colour, va="center", fontsize=10)


def _moved_apart(heights: Mapping[str, float], gap: float = 0.09) -> dict[str, float]:
    """{"a": 0.98, "b": 1.0} → {"b": 1.0, "a": 0.91}: from the highest down, but none below 0."""
    placed: dict[str, float] = {}
    ordered = sorted(heights, key=lambda part: -heights[part])
    highest = 1.0
    for number, part in enumerate(ordered):
        room_below = gap * (len(ordered) - 1 - number)
        placed[part] = min(max(heights[part], room_below), highest)
        highest = placed[part] - gap
    return placed


def _linear_share(limits: tuple[float, float], value: float) -> float:
    """How far the value is from the lower limit to the upper one."""
    return (value - limits[0]) / (limits[1] - limits[0])


def _log_share(limits: tuple[float, float], value: float) -> float:
    return math.log(value / limits[0]) / math.log(limits[1] / limits[0])


def _plain_ticks(axis: Axis, limits: tuple[float, float]) -> None:
    """1, 2, 5, 10, 20, …, or powers of ten alone if these are many; written out: 2,000 and 0.01."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    decades = math.log10(limits[1] / limits[0])
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    if decades < 2.5:
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:.4g}"))


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield
