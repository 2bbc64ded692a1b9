"""The picture of one trial: accuracy, loss and what else was measured over logarithmic steps, memorization and grokking
shaded.

Colours are Okabe and Ito's, which colour-blind people can tell apart; without colours the lines differ by their dashes
or marks and the regions by their grey. Every line is named at its end, so that there is no legend to look up; only the
tasks of a trial of several have one, as they often end in one place.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokray.analysis.figures.ticks import plain_ticks
from grokray.analysis.trial_curve import TrialCurve
from grokray.records.store_local import in_place_of
from grokray.trial import SEEDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
LOOKS = {  # part → name, colour, dashes, width
    "train": ("training", "#0072B2", (0, ()), 1.6),
    "heldout": ("held-out", "#D55E00", (0, (4, 1.2)), 2.0),
    "out_of_domain": ("out of domain", "#00795A", (0, (1, 1.2)), 2.0),
    # Of `figures.progress`.
    "restricted": ("restricted", "#CC79A7", (0, (6, 1.2, 1, 1.2)), 1.6),
    "excluded": ("excluded", "#56B4E9", (0, (3, 1, 1, 1, 1, 1)), 1.6),
}
LONGEST_NAME = 50  # of the title
ENDS = {name: name for name in ("pruned", "diverged", "failed", "stopped")} | {"budget": "not grokked in all its steps"}
TASK_LOOKS = [  # colour, mark
    (colour, mark)
    for marks in ("os^D", "vPX*")
    for colour, mark in zip(("#CC79A7", "#56B4E9", "#B87B00", "#000000"), marks, strict=True)
]
CROWD = "#8C8C8C"  # of tasks that are too many to be told apart
FULL_WIDTH = 8  # inches, as the next three
SHARES = ("softmax_collapse",)  # measures that are shares of a whole
HEIGHT, MEASURE_HEIGHT = 6, 1.6  # of accuracy and loss together, and of each measure
SUBTITLE = 0.27  # from the top
MARKS = 8  # on each task's line
DECADE = 10.0  # of what changes by more the logarithm is shown
LETTER, LINE = 0.075, 0.21  # inches: a letter's width on average, and a line's height, of regions' names
NARROWED = 0.85  # a panel's width beside the names at its right
MEMORIZED, GROKKED = "#E9E9E9", "#CFE3D6"
EDGE, LABEL = "#777777", "#333333"  # of regions, and their names
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "svg.hashsalt": "grokray",  # the same figure is the same file
    "svg.fonttype": "none",
}


def draw(curve: TrialCurve) -> Figure:
    """A figure of 8 by 6 inches, to be saved; with what else was measured it is higher."""
    with style():
        heights = [HEIGHT / 2] * 2 + [MEASURE_HEIGHT] * len(curve.measures)
        figure, (upper, lower, *further) = panels(curve, heights)
        draw_accuracy(upper, curve)
        draw_loss(lower, curve)
        for axes, (name, values) in zip(further, curve.measures.items(), strict=True):
            draw_measure(axes, curve, name, values, share=name in SHARES)
        if curve.tasks:
            _name_tasks(figure, upper, curve)
    return figure


def panels(curve: TrialCurve, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure with the trial's title and panels of these heights, in inches, over training steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(FULL_WIDTH, sum(heights)), layout="constrained")
    found = [*figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)]
    figure.suptitle(f"{task_of(curve.row, curve.tasks)}\n", x=0.01, ha="left", fontsize=12, fontweight="bold")
    below = 1 - SUBTITLE / sum(heights)
    figure.text(0.01, below, settings_of(curve.row), ha="left", va="top", fontsize=9, color="#444444")
    found[-1].set_xlabel("training steps")
    return figure, found


def save(figure: Figure, paths: Sequence[Path]) -> None:
    """Write the figure to each of the paths, in the format of its ending."""
    with style():
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"Date": None} if path.suffix == ".svg" else None  # the same figure is the same file
            with in_place_of(path) as written:
                figure.savefig(written, format=path.suffix[1:], dpi=150, metadata=metadata)


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


def task_of(row: Mapping[str, Any], tasks: Collection[str] = ()) -> str:
    """`x/y mod 97`, `x+y in base 10, least significant digit first`, `x/y mod 97, x+y`; `5 tasks` where it is long."""
    names = [*tasks] if tasks and row["operation"] != "arc" else [row["operation"]]
    name = ", ".join(_with_modulus(name, row["modulus"]) for name in names)
    if len(name) > LONGEST_NAME:
        name = f"{len(names)} tasks" if len(names) > 1 else f"{name[: LONGEST_NAME - 1]}…"
    if row["base"] is not None:
        name += f" in base {row['base']}"
    if row["digit_order"] is not None:
        name += f", {row['digit_order'].removesuffix('_first')} significant digit first"
    return name


def _with_modulus(operation: str, modulus: int | None) -> str:
    """Plain operations, which stand beside modular ones in a trial of several, have none."""
    is_modular = operation.endswith(("_mod", "% p"))
    return f"{operation.removesuffix('_mod')} mod {modulus}" if is_modular and modulus is not None else operation


def settings_of(row: Mapping[str, Any]) -> str:
    seeds = {row[name] for name in SEEDS}
    parts = [
        f"{100 * row['training_fraction']:.3g} % trained on",
        f"weight decay {row['weight_decay']:.3g}",
        f"dropout {row['dropout']:.3g}" if row["dropout"] else "",
        f"seed {seeds.pop()}" if len(seeds) == 1 else "",
        f"trial {row['trial_id']}",
        ENDS.get(row["outcome"], ""),
    ]
    return " · ".join(filter(None, parts))


def draw_accuracy(axes: Axes, curve: TrialCurve) -> None:
    axes.set_ylabel("exact match")
    axes.set_ylim(-0.04, 1.1)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    _shade(axes, curve, names=True)
    _draw_tasks(axes, curve.steps, {name: task.accuracy for name, task in curve.tasks.items()})
    _draw_lines(axes, curve.steps, curve.accuracy)


def draw_loss(axes: Axes, curve: TrialCurve, *, names: bool = False) -> None:
    """`names` of regions stand above."""
    axes.set_ylabel("loss")
    axes.set_yscale("log")
    _shade(axes, curve, names=names)
    _draw_tasks(axes, curve.steps, {name: task.loss for name, task in curve.tasks.items()})
    if not _draw_lines(axes, curve.steps, curve.loss):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no finite loss above 0", transform=axes.transAxes, ha="center", color=LABEL)
        return
    plain_ticks(axes.yaxis, axes.get_ylim())


def draw_measure(
    axes: Axes, curve: TrialCurve, name: str, values: Sequence[float | None], *, share: bool = False
) -> None:
    """`share`: of a whole, so shown from 0 to 1."""
    axes.set_ylabel(name.replace("fourier_gini", "Fourier_Gini").replace("_", "\n"))
    there = [value for value in values if value is not None and math.isfinite(value)]
    if share:
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    elif there and min(there) > 0 and max(there) > DECADE * min(there):
        axes.set_yscale("log")
    _shade(axes, curve, names=False)
    xs, ys = _points(axes, curve.steps, values)
    marker = "o" if len(ys) < 3 else None
    axes.plot(xs, ys, color=LABEL, linewidth=1.4, marker=marker, zorder=3, clip_on=False)
    if axes.get_yscale() == "log":
        plain_ticks(axes.yaxis, axes.get_ylim())


def _shade(axes: Axes, curve: TrialCurve, *, names: bool) -> None:
    axes.set_xscale("log")
    first, last = curve.steps[0], curve.steps[-1]
    axes.set_xlim(*((first, last) if last > 1.2 * first else (first / 1.2, last * 1.2)))
    plain_ticks(axes.xaxis, axes.get_xlim())
    spans = regions(curve.row, last)
    for start, end, name in spans:
        axes.axvspan(start, end, color={"memorized": MEMORIZED, "grokked": GROKKED}[name], linewidth=0, zorder=0)
        axes.axvline(start, color=EDGE, linewidth=0.8, zorder=1)
    if names:
        _name_regions(axes, spans)


def _name_regions(axes: Axes, spans: Sequence[tuple[int, int, str]]) -> None:
    """Above the panel. Where there is no room to the right of its line the first name stands to the left, or above."""
    figure: Any = axes.get_figure(root=True)
    panel_width, panel_height = axes.bbox.width / figure.dpi, axes.bbox.height / figure.dpi
    texts = [f"{name} by {start:,}" for start, _, name in spans]
    places = [min(max(_log_share(axes.get_xlim(), start), 0.0), 1.0) for start, *_ in spans]
    widths = [(len(text) + 1) * LETTER / (NARROWED * panel_width) for text in texts]
    crowded = len(places) == 2 and places[1] - places[0] < widths[0]
    for number, (text, place, width) in enumerate(zip(texts, places, widths, strict=True)):
        at_the_edge = len(places) == 1 and place > 1 - width
        in_the_way = crowded and number == 0
        side = "right" if at_the_edge or (in_the_way and place > width) else "left"
        height = 1.02 + (LINE / panel_height if in_the_way and side == "left" else 0)
        axes.text(place, height, text, transform=axes.transAxes, ha=side, fontsize=9, color=LABEL)


def _draw_lines(axes: Axes, steps: Sequence[int], values: Mapping[str, Sequence[float | None]]) -> bool:
    """Whether there was anything to draw."""
    ends = {}
    for part, series in values.items():
        name, colour, dashes, width = LOOKS[part]
        xs, ys = _points(axes, steps, series)
        if not ys:
            continue
        marker = "o" if len(ys) < 3 else None
        axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=width, marker=marker, zorder=3, clip_on=False)
        ends[part] = (ys[-1], name, colour)
    _name_lines(axes, ends)
    return bool(ends)


def _draw_tasks(axes: Axes, steps: Sequence[int], values: Mapping[str, Sequence[float | None]]) -> None:
    """Each task's held-out line, thin and behind the others."""
    for (name, series), look in zip(values.items(), _task_looks(len(values)), strict=True):
        xs, ys = _points(axes, steps, series)
        if ys:
            axes.plot(xs, ys, linewidth=0.9, label=name, zorder=2, clip_on=False, **look, markevery=_marks(len(ys)))


def _task_looks(number: int) -> list[dict[str, Any]]:
    if number > len(TASK_LOOKS):
        return [{"color": CROWD, "alpha": 0.5}] * number
    return [{"color": colour, "marker": mark, "markersize": 4} for colour, mark in TASK_LOOKS[:number]]


def _marks(points: int) -> slice:
    return slice(0, None, max(points // MARKS, 1))


def _name_tasks(figure: Figure, axes: Axes, curve: TrialCurve) -> None:
    """Below the panels, with when each grokked."""
    lines, names = axes.get_legend_handles_labels()
    if len(curve.tasks) > len(TASK_LOOKS):
        grokked = sum(task.grok_step is not None for task in curve.tasks.values())
        lines, texts = lines[:1], [f"held-out, each of {len(curve.tasks)} tasks; {grokked} grokked"]
    else:
        texts = [f"{name}, {_grokked(curve.tasks[name].grok_step)}" for name in names]
    figure.legend(
        lines,
        texts,
        loc="outside lower left",
        ncols=2,
        fontsize=9,
        frameon=False,
        title_fontsize=9,
        title=None if len(curve.tasks) > len(TASK_LOOKS) else "held-out pairs of each task",
        alignment="left",
    )


def _grokked(step: int | None) -> str:
    return "not grokked" if step is None else f"grokked by {step:,}"


def _points(axes: Axes, steps: Sequence[int], series: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """The steps and values that can be drawn."""
    points = [(s, v) for s, v in zip(steps, series, strict=True) if v is not None and _is_shown(axes, v)]
    return [step for step, _ in points], [value for _, value in points]


def _is_shown(axes: Axes, value: float) -> bool:
    """Nothing that was no number; on a logarithmic scale, no loss of exactly 0."""
    return math.isfinite(value) and (value > 0 or axes.get_yscale() == "linear")


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


@contextmanager
def style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield
