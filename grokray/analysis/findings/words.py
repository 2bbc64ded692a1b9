"""How the numbers of tables are written, in the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grokray.wording import NOTHING, percent

# Column → how it is written; what is not here goes by its type.
KINDS = {
    **dict.fromkeys(("share", "share_of_stops", "earlier", "fanova", "ped_anova"), "percent"),
    **dict.fromkeys(("all_seeds", "weighted_share", "variance_share", "concordance", "within"), "percent"),
    **dict.fromkeys(
        ("median", "mean_steps", "steps", "step", "horizon", "delay", "grok_step", "median_within"), "steps"
    ),
    **dict.fromkeys(("ratio", "time_ratio", "time_ratio_if_all_grok", "hazard_ratio", "median_ratio"), "ratio"),
    "difference": "points",
    "fraction_difference": "change",
    **dict.fromkeys(("p_value", "adjusted_p"), "p"),
    **dict.fromkeys(("trials", "configurations", "grokked", "pairs", "seeds", "effective"), "count"),
}
HEADINGS = {
    "difference": "difference in points",
    "p_value": "p",
    "adjusted_p": "p (Holm)",
    "ped_anova": "PED-ANOVA",
    "fanova": "fANOVA",
    "fraction_difference": "difference",
    "concordance": "of pairs",
    "within": "of pairs of one configuration",
    "first_groks": "first groks",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A table as texts. `numeric` says of each column whether it is of numbers; `essential` of the columns, from the
    left, are needed to understand anything: what a row is, and its first number with an interval."""

    headings: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    essential: int


def shown(table: pd.DataFrame) -> Shown:
    """`x`, `x_lower` and `x_upper` become one column: 43 % (38 to 49 %)."""
    with_interval = [str(name) for name in table.columns if f"{name}_lower" in table]
    ends = {f"{name}_{end}" for name in with_interval for end in ("lower", "upper")}
    names = [str(name) for name in table.columns if name not in ends]
    return Shown(
        headings=[HEADINGS.get(name, name.replace("_", " ")) for name in names],
        numeric=[pd.api.types.is_numeric_dtype(table[name]) for name in names],
        rows=[[cell(name, row) for name in names] for row in table.to_dict("records")],
        essential=1 + names.index(with_interval[0]) if with_interval else 2,
    )


def cell(name: str, row: Mapping[Any, Any]) -> str:
    kind = KINDS.get(name, "")
    text = number(row[name], kind)
    if f"{name}_lower" not in row or text == NOTHING and _is_nothing(row[f"{name}_lower"]):
        return text
    if row[f"{name}_lower"] == math.inf:  # nothing reaches so far
        return text
    lower, upper = (number(row[f"{name}_{end}"], kind, is_end=True) for end in ("lower", "upper"))
    return f"{text} ({between(lower, upper)})"


def between(lower: str, upper: str) -> str:
    """`10.5 to 31.0 %`: of two shares as text the sign stands once."""
    if lower.endswith(" %") and upper.endswith(" %"):
        lower = lower.removesuffix(" %")
    return f"{lower} to {upper}"


def stated(name: str, estimate: Any) -> str:
    """An estimate as a table's column `name` writes it, for sentences."""
    ends = {f"{name}_{end}": getattr(estimate, end) for end in ("lower", "upper")}
    return cell(name, {name: estimate.value, **ends})


def number(value: Any, kind: str, *, is_end: bool = False) -> str:
    """0.4567 as percent → 45.7 %, 1234.5 as steps → 1,234; what is not bounded is ∞."""
    if _is_nothing(value):
        return "?" if is_end else NOTHING
    if isinstance(value, str | bool):
        return str(value)
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if kind == "percent":
        return percent(value)
    if kind == "points":
        return f"{100 * value:+.1f}".replace("-", "−")
    if kind == "change":
        return f"{value:+.3g}".replace("-", "−")
    if kind in ("steps", "count"):
        return f"{value:,.0f}".replace("-", "−")
    if kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if kind == "ratio":
        return f"{value:.2f}" if 0.095 <= value < 99.995 else _significant(value, 2)
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else _significant(value, 3)


def _significant(value: float, digits: int) -> str:
    """14321.0 → `14,000` to two digits: with an exponent only what is very large or very small."""
    text = f"{value:.{digits}g}"
    return (f"{float(text):,.0f}" if "e" in text and 1 <= abs(value) < 1e9 else text).replace("-", "−")


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
