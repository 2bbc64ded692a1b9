"""Which parameters matter: fANOVA and PED-ANOVA side by side."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.importance import importance as importance_of
from grokray.analysis.outcomes import varying
from grokray.analysis.sweeps import Sweeps

NAME, TITLE = "importance", "Importance of parameters"


def importance(sweeps: Sweeps, level: float = 0.95, seed: int = 0) -> Finding:
    """For the step of grokking, in which trials that did not grok rank last."""
    space, there = sweeps.space(), varying(sweeps.trials)
    # What has one value so far can move nothing, and the forest must have something to split.
    space = replace(space, axes=tuple(axis for axis in space.axes if axis.name in there))
    found = importance_of(sweeps.trials, space, level=level, seed=seed)
    if not found.fanova:
        return missing(NAME, TITLE, found.notes[0] if found.notes else "nothing can be said", found.notes[1:])
    rows = [
        {
            "parameter": name,
            **interval("fanova", estimate),
            **interval("ped_anova", found.ped_anova.get(name)),
        }
        for name, estimate in found.fanova.items()
    ]
    first = max(found.ped_anova, key=lambda name: found.ped_anova[name].value, default="")
    agree = f"Both put {rows[0]['parameter']} first." if first == rows[0]["parameter"] else ""
    disagree = f"fANOVA puts {rows[0]['parameter']} first, PED-ANOVA {first}."
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"importance": pd.DataFrame(rows)},
        summary=agree or disagree,
        notes=unique([f"{found.configurations:,} configurations", *found.notes]),
        level=level,
        estimates=found,
    )
