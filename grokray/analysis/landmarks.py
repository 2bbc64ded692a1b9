"""What was measured of trials by a step at which they had not grokked, and what became of them after it.

Anderson, J. R., Cain, K. C., and Gelber, R. D. (1983). Analysis of survival by tumor response. Journal of Clinical
Oncology 1, 710-719: of a number that is known at a step, only trials that are still watched there, and had not grokked
by then, can tell anything. Whoever takes all trials has the future in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grokray.analysis.outcomes import column
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.times import Times
from grokray.records.schema import CURVES_SCHEMA, METRICS

# Of the horizon; of what is known later it is of little use to know it.
PARTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
NO_MEASURES = frozenset(CURVES_SCHEMA.names) - {*METRICS}


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """`at_risk` (n,) bool: trials that are watched beyond `step` and had not grokked by it; `values` (n,) of each
    measure, NaN where it was not measured or is no number; `measured` (n,): the step of that measurement."""

    step: int
    at_risk: np.ndarray
    measured: np.ndarray
    values: dict[str, np.ndarray]


def steps_of(trials: pa.Table, horizon: float) -> list[int]:
    """By rising step, parts of the horizon: where all trials are measured, as what falls or rises in training tells one
    that was measured earlier from the rest. Where that is too seldom, where those are that are measured least often."""
    intervals = np.unique(column(trials, "eval_interval")).astype(int).tolist()
    together = math.lcm(*intervals)
    interval = together if together <= PARTS[-1] * horizon else intervals[-1]
    return sorted({int(horizon * part) // interval * interval for part in PARTS} - {0})


def until(times: Times, horizon: float) -> Times:
    """As if nobody had looked after the horizon, up to which all trials may be watched."""
    beyond = times.upper > horizon
    lower = np.where(beyond, np.minimum(times.lower, horizon), times.lower)
    return replace(times, lower=lower, upper=np.where(beyond, np.inf, times.upper))


def landmarks(sweeps: Sweeps, times: Times, steps: Sequence[int]) -> list[Landmark]:
    """Of each trial the last measurement by each step counts, if it is no older than an `eval_interval`."""
    interval = column(sweeps.trials, "eval_interval").astype(np.int64)
    wanted = np.stack([step // interval * interval for step in steps])  # (steps, n)
    names = [name for name in sweeps.curve_columns() if name not in NO_MEASURES]
    found = {name: np.full(wanted.shape, np.nan) for name in names}
    place = {index: row for row, index in enumerate(sweeps.trials["trial_index"].to_pylist())}
    for part in sweeps.curve_parts(names):
        part = part.filter(pc.field("step").isin(pa.array(np.unique(wanted))))
        rows = np.array([place.get(index, -1) for index in part["trial_index"].to_pylist()], dtype=np.int64)
        for number, row, at in _matched(part["step"].to_numpy(), rows, wanted):
            for name in set(names) & set(part.column_names):
                found[name][number, row] = part[name].to_numpy(zero_copy_only=False)[at]
    finite = {name: np.where(np.isfinite(values), values, np.nan) for name, values in found.items()}
    return [
        Landmark(
            step=step,
            at_risk=(times.upper > step) & (times.lower >= step),
            measured=wanted[number],
            values={name: values[number] for name, values in finite.items()},
        )
        for number, step in enumerate(steps)
    ]


def _matched(steps: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Which landmark, the trials' rows, and where in the part their measurements are."""
    for number, own in enumerate(wanted):
        at = np.flatnonzero((rows >= 0) & (steps == own[rows]))
        yield number, rows[at], at
