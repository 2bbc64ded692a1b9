"""Of trials of several operations at once: how often, and when, each of them is grokked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.findings.survival import horizon_of
from grokray.analysis.findings.words import cell
from grokray.analysis.outcomes import outcomes
from grokray.analysis.survival import kaplan_meier, median_time, share_by
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.times import times_of
from grokray.analysis.weights import scheduler_audit

NAME, TITLE = "tasks", "Single tasks of trials of several"
# What each task of a trial has from its trial.
_SHARED = ("trial_id", "configuration", "num_steps", "outcome", "stop_step", "audited", "audit_probability")
UNKNOWN = "no share is known of a task of which trials were pruned and none was audited"


def tasks(sweeps: Sweeps, level: float = 0.95) -> Finding:
    rows = sweeps.tasks()
    if not rows.num_rows:
        return missing(NAME, TITLE, "no trial has several operations")
    joined = rows.join(sweeps.trials.select(list(_SHARED)), keys="trial_id")
    ids, fate = np.array(sweeps.trials["trial_id"].to_pylist()), outcomes(sweeps.trials)
    found, unknown = [], False
    for task in sorted(rows["task"].unique().to_pylist()):
        one = joined.filter(pc.field("task") == task)
        is_known = not fate.unrepresented(np.isin(ids, one["trial_id"].to_pylist()))
        unknown |= not is_known
        found.append(_row(task, one, level, is_known=is_known))
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"tasks": pd.DataFrame(found)},
        summary=_summary(found),
        notes=unique(
            [
                "a trial counts as grokked when all of its tasks have, sustained; here each task counts by itself",
                UNKNOWN if unknown else None,
                scheduler_audit(sweeps.trials).warning,
            ]
        ),
        level=level,
    )


def _row(task: str, trials: pa.Table, level: float, *, is_known: bool) -> dict[str, Any]:
    times = times_of(trials)
    counted = times.counted()
    reached = horizon_of(trials, counted) if len(counted) else 0.0
    return {
        "task": task,
        **interval("share", share_by(times, reached, level) if is_known else None),
        **interval("median", median_time(kaplan_meier(times, level)) if is_known else None),
        "trials": len(times),
        "grokked": int(times.observed.sum()),
    }


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    known = sorted((row for row in rows if not np.isnan(row["share"])), key=lambda row: row["share"])
    if len(known) < 2:
        return ""
    least, most = known[0], known[-1]
    if least["share"] == most["share"]:
        return f"No task is grokked more often than another: {cell('share', most)} of trials grok each."
    often = f"{most['task']} is grokked most often, by {cell('share', most)} of trials"
    return f"{often}; {least['task']} least often, by {cell('share', least)}."
