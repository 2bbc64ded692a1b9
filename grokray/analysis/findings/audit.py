"""How often the scheduler was wrong, by the trials that it wanted to stop and that ran on all the same."""

from __future__ import annotations

import math

import pandas as pd
import pyarrow as pa

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.findings.words import stated
from grokray.analysis.weights import SchedulerAudit, scheduler_audit

NAME, TITLE = "audit", "Audit of the scheduler"


def audit(trials: pa.Table, level: float = 0.95) -> Finding:
    found = scheduler_audit(trials, level)
    if not found.to_be_stopped:
        return missing(NAME, TITLE, "the scheduler wanted to stop no trial")
    counts = {
        "trials": found.trials,
        "to be stopped": found.to_be_stopped,
        "pruned": found.pruned,
        "audited": found.audited,
        "audited, came to their end": found.finished,
        "audited, grokked later": found.grokked_later,
    }
    rates = [
        {"of": "stops that kill a grokker", **interval("share", found.false_stop_rate)},
        {"of": "grokkers that were killed", **interval("share", found.grokkers_killed)},
    ]
    return Finding(
        name=NAME,
        title=TITLE,
        tables={
            "rates": pd.DataFrame(rates),
            "counts": pd.DataFrame({"what": counts.keys(), "trials": counts.values()}),
        },
        summary=_summary(found),
        notes=unique([found.warning, found.false_stop_rate.note, found.grokkers_killed.note]),
        level=level,
        estimates=found,
    )


def _summary(found: SchedulerAudit) -> str:
    if math.isnan(found.grokkers_killed.value):
        return ""
    return (
        f"Of the trials that would grok, the scheduler stops {stated('share', found.grokkers_killed)} before they do."
    )
