"""Phase diagrams: over any two parameters, how many trials ended in which phase, and what share grokked.

After Liu et al. 2022, "Towards Understanding Grokking", figures 6 and 7, where every cell is one run; here a cell holds
many, with an interval, and one that holds none says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import codes, column, looks_logarithmic, missing_in, outcomes
from grokray.analysis.phases import phases
from grokray.analysis.shares import LEVEL, Shares, shares
from grokray.analysis.wording import ranges, readable, value_texts
from grokray.errors import ConfigError, Problem
from grokray.events import PHASES

BINS = 8
MAX_CATEGORIES = 12
SCALES = ("auto", "categories", "quantiles", "linear", "log")


@dataclass(frozen=True, kw_only=True)
class Bins:
    """How one parameter is cut: `bin` (n,) int64 for each trial, −1 for none; `labels` (bins,) are texts.

    `edges` (bins + 1,) are the ends of the bins, [low, high) each and the last one closed; None of categories, which
    have `values` (bins,) instead: None among them is a parameter that is absent (null), such as the base of a
    classification.
    """

    name: str
    scale: str
    bin: np.ndarray
    labels: list[str]
    edges: np.ndarray | None = None
    values: list | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """Arrays (rows, columns) = (bins of y, bins of x). `counts` (rows, columns, phases) in the order of PHASES.

    `counts` are of all trials with a phase, unweighted; `share`, of grokked within the budget, is weighted, and NaN
    with its bounds where `used` is 0. So it is where trials were pruned and none was audited, too: `unknown` (rows,
    columns) bool.
    """

    x: Bins
    y: Bins
    counts: np.ndarray
    share: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    used: np.ndarray
    effective: np.ndarray
    unknown: np.ndarray
    notes: tuple[str, ...]

    @property
    def empty(self) -> np.ndarray:
        """(rows, columns) bool: True where no trial says anything about grokking."""
        return self.used == 0

    @property
    def commonest(self) -> np.ndarray:
        """(rows, columns) object: the phase most trials have, None where there are none."""
        phase = np.array(PHASES, dtype=object)[self.counts.argmax(axis=2)]
        phase[self.counts.sum(axis=2) == 0] = None
        return phase


def diagram(
    trials: pa.Table,
    x: str | Bins,
    y: str | Bins,
    *,
    phase: np.ndarray | None = None,
    level: float = LEVEL,
) -> Diagram:
    """Over two parameters by name, cut as `cut` does by default, or as the given Bins are.

    `phase` (n,) object takes the place of the trials' own column: see `phases.phases`.
    """
    x, y = (cut(trials, axis) if isinstance(axis, str) else axis for axis in (x, y))
    found = outcomes(trials)
    shape, cell = (len(y), len(x)), np.where((x.bin < 0) | (y.bin < 0), -1, y.bin * len(x) + x.bin)
    unknown = found.unrepresented_in(cell, len(x) * len(y))
    weight = np.where((cell >= 0) & unknown[cell], 0.0, found.weight)
    grokked = shares(
        *(found.grokked, weight, found.configuration, cell, len(x) * len(y), level), audited=found.is_audited
    )
    return Diagram(
        x=x,
        y=y,
        counts=_counts(trials, phase, cell, shape),
        unknown=unknown.reshape(shape),
        notes=found.notes,
        **_shaped(grokked, shape),
    )


def cut(
    trials: pa.Table, name: str, bins: int = BINS, scale: str = "auto", *, most_categories: int = MAX_CATEGORIES
) -> Bins:
    """`scale`: `categories`, `quantiles` (about equally many trials each), `linear` or `log` (equally wide).

    `auto` takes categories for texts and for up to `most_categories` different numbers, else log where the numbers
    lie more evenly in the logarithm, else linear. ConfigError where the column cannot be cut so.
    """
    values = column(trials, name)
    scale = _scale(values, most_categories) if scale == "auto" else scale
    _check(values, name, bins, scale)
    if scale == "categories":
        coded, distinct = codes(values)
        is_bool = pa.types.is_boolean(trials.schema.field(name).type)
        labels = value_texts([bool(value) if is_bool and value is not None else value for value in distinct])
        return Bins(name=name, scale=scale, bin=coded, labels=labels, values=distinct)
    edges = _edges(values[~np.isnan(values)], bins, scale)
    found = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    bin = np.where(np.isnan(values), -1, found)
    return Bins(name=name, scale=scale, bin=bin, labels=ranges(edges.tolist()), edges=edges)


def _scale(values: np.ndarray, most_categories: int) -> str:
    if values.dtype == object:
        return "categories"
    given = values[~np.isnan(values)]
    if len(np.unique(given)) <= most_categories:
        return "categories"
    return "log" if looks_logarithmic(given) else "linear"


def _edges(given: np.ndarray, bins: int, scale: str) -> np.ndarray:
    if scale == "quantiles":
        return np.unique(np.quantile(given, np.linspace(0, 1, bins + 1)))
    if scale == "linear":
        return np.linspace(given.min(), given.max(), bins + 1)
    edges = np.geomspace(given.min(), given.max(), bins + 1)
    edges[[0, -1]] = given.min(), given.max()  # not a rounding error off
    return edges


def _check(values: np.ndarray, name: str, bins: int, scale: str) -> None:
    message = None
    if scale not in SCALES:
        message = f"scale is {scale}, but must be one of {', '.join(SCALES)}"
    elif scale != "categories" and values.dtype == object:
        message = f"{name} holds texts, but must hold numbers for the scale {scale}"
    elif scale != "categories" and len(np.unique(values[~missing_in(values)])) < 2:
        message = f"{name} must have at least two different numbers for the scale {scale}"
    elif scale == "log" and np.nanmin(values) <= 0:
        message = f"{name} is {readable(np.nanmin(values))} somewhere, but must be above 0 for the scale log"
    elif bins < 1:
        message = f"bins is {bins}, but must be above 0"
    if message:
        raise ConfigError([Problem(message=message, field=name)])


def _counts(trials: pa.Table, phase: np.ndarray | None, cell: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    phase = phases(trials) if phase is None else phase
    number = np.full(len(phase), -1)
    for index, name in enumerate(PHASES):
        number[phase == name] = index
    known = (cell >= 0) & (number >= 0)
    flat = np.bincount(cell[known] * len(PHASES) + number[known], minlength=shape[0] * shape[1] * len(PHASES))
    return flat.reshape(*shape, len(PHASES))


def _shaped(found: Shares, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    flat = {
        "share": found.share,
        "lower": found.lower,
        "upper": found.upper,
        "used": found.trials,
        "effective": found.effective,
    }
    return {name: values.reshape(shape) for name, values in flat.items()}
