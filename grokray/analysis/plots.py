"""What `Analysis.plot_…` draw: a finding's figure in the axes that are given, or in new ones.

A finding that is missing leaves its reason in the axes, so that a figure of several parts still stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from grokray.analysis.critical import Critical
from grokray.analysis.figures.curves import draw_curve
from grokray.analysis.figures.forest import Row, draw_forest, foremost, height_of
from grokray.analysis.figures.importance import draw_importance, height_of_importance
from grokray.analysis.figures.phases import draw_phases, height_of_phases
from grokray.analysis.figures.predictors import draw_predictors, height_of_predictors
from grokray.analysis.figures.profile import draw_profile, height_beside
from grokray.analysis.figures.style import new_axes, nothing_to_draw, styled
from grokray.analysis.figures.survival import draw_survival, height_above
from grokray.analysis.findings.critical import group_name
from grokray.analysis.findings.finding import Finding
from grokray.analysis.findings.groups import main_parameters, name_of
from grokray.analysis.findings.phases import diagram_of
from grokray.analysis.sweeps import unknown_column
from grokray.analysis.trial_curve import choose, curve_of, on_logarithmic_axes
from grokray.arguments import refused, start_of_id
from grokray.errors import ConfigError, Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from grokray.analysis.analysis import Analysis
    from grokray.analysis.diagram import Diagram

By = str | Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class EffectKind:
    """A table of `effects()`: its column of numbers, and what an axis and a caption say."""

    column: str
    axis: str
    caption: str


EFFECTS = {
    "whether": EffectKind(
        column="difference",
        axis="difference in the share grokked, in points",
        caption="Points that are added to the share of trials that grok within their budget",
    ),
    "when": EffectKind(
        column="time_ratio",
        axis="× time to grok, of trials that do",
        caption="Factors on the time to grok, of trials that do within their budget",
    ),
    "if_all_grok": EffectKind(
        column="time_ratio_if_all_grok",
        axis="× time to grok, as if all did",
        caption="Factors on the time to grok, as if all trials did in the end",
    ),
    "hazard_ratios": EffectKind(
        column="hazard_ratio",
        axis="× hazard of grokking",
        caption="Factors on the hazard of grokking",
    ),
}
PHASES_HEIGHT, CURVE_HEIGHT, HEIGHT = 3.9, 2.4, 2.7  # inches


def survival(a: Analysis, by: By, ax: Axes | None) -> Axes:
    kept = a.survival()
    # The groups of the main parameters are there already.
    finding = kept if kept.missing is not None or by in (None, *kept.estimates.groups) else a.survival(by)
    if finding.missing is not None:
        return _drawn(ax, HEIGHT, finding, lambda axes: axes)
    found = finding.estimates
    name = "" if by is None else name_of(by)
    curves = found.groups[name] if name else {"all": found.overall}
    height = HEIGHT + height_above([*curves])
    return _drawn(ax, height, finding, lambda axes: draw_survival(axes, curves, found.horizon, name))


def phases(a: Analysis, x: str | None, y: str | None, ax: Axes | None) -> Axes:
    found = phases_over(a, x, y)
    height = height_of_phases(found, PHASES_HEIGHT)
    return _drawn(ax, height, a.phases(), lambda axes: draw_phases(axes, found))


def phases_over(a: Analysis, x: str | None, y: str | None) -> Diagram:
    """The first two parameters that vary, where none are named."""
    trials = a.sweeps.trials
    for argument, name in (("x", x), ("y", y)):
        if name is not None and name not in trials.column_names:
            raise unknown_column(argument, name, trials.column_names, "the trials have", main_parameters(trials))
    others = [name for name in main_parameters(trials) if name not in (x, y)]
    if len(others) < (x is None) + (y is None):
        raise ConfigError([Problem(message="fewer than two parameters vary: name two columns, x and y", field="x")])
    x = x or others.pop(0)
    y = y or others.pop(0)
    return diagram_of(trials, x, y, a.level)


def effects(a: Analysis, of: str, ax: Axes | None) -> Axes:
    if not isinstance(of, str) or of not in EFFECTS:
        raise refused("of", of, f"must be one of {', '.join(EFFECTS)}")
    finding, kind = a.effects(), EFFECTS[of]
    rows = rows_of(finding.tables.get(of, pd.DataFrame()), "effect_of", kind.column, "reason")
    look = {"none": 0, "points": True} if kind.column == "difference" else {"none": 1, "log": True}
    return _drawn(
        ax,
        height_of(len(rows)),
        finding,
        lambda axes: draw_forest(axes, rows, **look, name=kind.axis, series=[*EFFECTS].index(of)),
    )


def critical(a: Analysis, by: By, ax: Axes | None) -> Axes:
    """Of many groups those that have a fraction: the table says why the others have none."""
    finding = a.critical_fraction(by)
    rows = foremost(critical_rows(finding))
    return _drawn(
        ax,
        height_of(len(rows)),
        finding,
        lambda axes: draw_forest(axes, rows, name="critical training fraction", series=2),
    )


def importance(a: Analysis, ax: Axes | None) -> Axes:
    finding = a.importance()
    table = finding.table
    return _drawn(ax, height_of_importance(len(table)), finding, lambda axes: draw_importance(axes, table))


def comparison(a: Analysis, ax: Axes | None) -> Axes:
    """Of many comparisons those that have a difference, as of critical fractions."""
    finding = a.comparison()
    rows = foremost(rows_of(finding.table, "comparison", "difference", "reason"))
    return _drawn(
        ax,
        height_of(len(rows)),
        finding,
        lambda axes: draw_forest(
            axes, rows, none=0, points=True, name="difference in the share grokked, in points", series=2
        ),
    )


def profile(a: Analysis, parameter: str, ax: Axes | None) -> Axes:
    finding = a.robustness()
    table = finding.tables.get("profiles", pd.DataFrame(columns=["parameter"]))
    names = table["parameter"].unique().tolist()
    if finding.missing is None and parameter not in names:
        if parameter in a.sweeps.trials.column_names:
            message = f"parameter is {parameter}, which does not vary in the search space"
            raise ConfigError([Problem(message=message, field="parameter")])
        raise unknown_column("parameter", parameter, names, "the search space has")
    part = table.loc[table["parameter"] == parameter]
    return _drawn(ax, HEIGHT + height_beside(part), finding, lambda axes: draw_profile(axes, part, parameter))


def predictors(a: Analysis, at: int | Sequence[int] | None, ax: Axes | None) -> Axes:
    finding = a.predictors(at)
    height = HEIGHT if finding.missing else height_of_predictors(finding.estimates)
    return _drawn(ax, height, finding, lambda axes: draw_predictors(axes, finding.estimates))


def curve(a: Analysis, trial_id: str, ax: Axes | None) -> Axes:
    """ConfigError where no trial, or several, begin so; or it was not measured."""
    ids = a.sweeps.trials.select(["trial_id"]).to_pylist()
    whole = choose(ids, start_of_id(trial_id, "trial_id"), best=False, where=a.sweeps.name)["trial_id"]
    place = a.sweeps.trials["trial_id"].index(whole).as_py()
    measured = on_logarithmic_axes(a.sweeps.curves([whole]))
    if not measured.num_rows:
        raise ConfigError([Problem(message=f"trial {whole} has no measurement yet", field="trial_id")])
    found = curve_of(a.sweeps.trials.slice(place, 1).to_pylist()[0], measured)
    return _drawn(ax, CURVE_HEIGHT, None, lambda axes: draw_curve(axes, found))


def rows_of(table: pd.DataFrame, label: str, value: str, why: str) -> list[Row]:
    return [
        Row(
            label=str(row[label]),
            value=row[value],
            lower=row[f"{value}_lower"],
            upper=row[f"{value}_upper"],
            why=str(row.get(why, "") or ""),
        )
        for row in table.to_dict("records")
    ]


def critical_rows(finding: Finding) -> list[Row]:
    return [
        Row(label=group_name(one) or "all trials", value=one.fraction, lower=lower, upper=upper, why=one.reason)
        for one in finding.estimates or ()
        for lower, upper in [_ends(one)]
    ]


def _ends(one: Critical) -> tuple[float, float]:
    """Infinite where nothing bounds them, NaN where no interval is known."""
    if one.crossing is None:
        return math.nan, math.nan
    return (one.lower if one.lower > 0 else -math.inf), (one.upper if one.upper < 1 else math.inf)


def _drawn(ax: Axes | None, height: float, finding: Finding | None, draw: Callable[[Axes], Axes]) -> Axes:
    from matplotlib.axes import Axes

    if not (ax is None or isinstance(ax, Axes)):
        raise refused("ax", ax, "must be Axes of matplotlib")
    axes = new_axes(height) if ax is None else ax
    with styled():
        if finding is not None and finding.missing is not None:
            return nothing_to_draw(axes, f"{finding.title}: {finding.missing}")
        return draw(axes)
