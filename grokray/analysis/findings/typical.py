"""A typical trial of each phase: the medoid, which of one number is its median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grokray.analysis.outcomes import column, outcomes
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.trial_curve import TrialCurve, curve_of, on_logarithmic_axes
from grokray.events import PHASES

# What trials of a phase are typical in.
TYPICAL_IN = {
    "confusion": "final_train_exact_match",
    "memorization": "memorization_step",
    "comprehension": "grok_delay",
    "grokking": "grok_delay",
    "diverged": "duration_steps",
}
FALLBACK = (
    "final_heldout_exact_match"  # a phase asks for less than a trial's own events do: all of its trials may lack them
)


@dataclass(frozen=True, kw_only=True)
class Typical:
    """Of `among` trials of the `phase` that came to their end, the one with the median `by`, which is `value`."""

    phase: str
    by: str
    value: float
    among: int
    curve: TrialCurve


def typical_trials(sweeps: Sweeps) -> list[Typical]:
    """One of each phase that has a measured trial, in the order of PHASES."""
    chosen = {phase: found for phase in PHASES if (found := _chosen(sweeps.trials, phase)) is not None}
    rows = {phase: sweeps.trials.slice(row, 1).to_pylist()[0] for phase, (row, *_) in chosen.items()}
    curves = on_logarithmic_axes(sweeps.curves([row["trial_id"] for row in rows.values()])) if rows else pa.table({})
    found = []
    for phase, row in rows.items():
        measured = curves.filter(pc.field("trial_id") == row["trial_id"]) if curves.num_rows else curves
        if measured.num_rows:
            _, among, by = chosen[phase]
            typical = Typical(phase=phase, by=by, value=row[by], among=among, curve=curve_of(row, measured))
            found.append(typical)
    return found


def _chosen(trials: pa.Table, phase: str) -> tuple[int, int, str] | None:
    """The row, among how many, and by what."""
    for by in (TYPICAL_IN[phase], FALLBACK):
        if (found := _medoid(trials, phase, by)) is not None:
            return *found, by
    return None


def _medoid(trials: pa.Table, phase: str, by: str) -> tuple[int, int] | None:
    """The row, and among how many; those that came to their end, if there are any, since others may have left the
    phase later."""
    there: Any = column(trials, "phase") == phase
    value = column(trials, by)
    there = there & ~np.isnan(value)
    ended = there & outcomes(trials).used
    rows = np.flatnonzero(ended if ended.any() else there)
    if not len(rows):
        return None
    order = rows[np.argsort(value[rows], kind="stable")]
    return int(order[(len(order) - 1) // 2]), len(rows)
