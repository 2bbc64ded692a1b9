"""Of trials of several operations at once: how often, and when, each of them is grokked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.findings.survival import horizon_of
from grokray.analysis.findings.words import cell
from grokray.analysis.survival import kaplan_meier, median_time, share_by
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.times import times_of
from grokray.analysis.weights import scheduler_audit

NAME, TITLE = "tasks", "Single tasks of trials of several"
# What each task of a trial has from its trial.
_SHARED = ("trial_id", "configuration", "num_steps", "outcome", "stop_step", "audited", "audit_probability")


def tasks(sweeps: Sweeps, level: float = 0.95) -> Finding:
    rows = sweeps.tasks()
    if not rows.num_rows:
        return missing(NAME, TITLE, "no trial has several operations")
    joined = rows.join(sweeps.trials.select(list(_SHARED)), keys="trial_id")
    found = []
    for task in sorted(rows["task"].unique().to_pylist()):
        one = joined.filter(pc.field("task") == task)
        times = times_of(one)
        counted = times.counted()
        reached = horizon_of(one, counted) if len(counted) else 0.0
        found.append(
            {
                "task": task,
                **interval("share", share_by(times, reached, level)),
                **interval("median", median_time(kaplan_meier(times, level))),
                "trials": len(times),
                "grokked": int(times.observed.sum()),
            }
        )
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"tasks": pd.DataFrame(found)},
        summary=_summary(found),
        notes=unique(
            [
                "a trial counts as grokked when all of its tasks have, sustained; here each task counts by itself",
                scheduler_audit(sweeps.trials).warning,
            ]
        ),
        level=level,
    )


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    known = sorted((row for row in rows if not np.isnan(row["share"])), key=lambda row: row["share"])
    if len(known) < 2:
        return ""
    least, most = known[0], known[-1]
    if least["share"] == most["share"]:
        return f"No task is grokked more often than another: {cell('share', most)} of trials grok each."
    often = f"{most['task']} is grokked most often, by {cell('share', most)} of trials"
    return f"{often}; {least['task']} least often, by {cell('share', least)}."
