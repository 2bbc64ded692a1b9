"""Which parameters matter: fANOVA and PED-ANOVA side by side."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.importance import Importance
from grokray.analysis.importance import importance as importance_of
from grokray.analysis.outcomes import varying
from grokray.analysis.sweeps import Sweeps
from grokray.wording import count

NAME, TITLE = "importance", "Importance of parameters"
# Of the draws in which a parameter must be the most important one to be named first.
SURE = 0.9


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
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"importance": pd.DataFrame(rows)},
        summary=_summary(found),
        notes=unique([count(found.configurations, "configuration"), *found.notes]),
        level=level,
        estimates=found,
    )


def _summary(found: Importance) -> str:
    """Who is first, where resampling hardly changes it."""
    sides = {"fANOVA": found.fanova_first, "PED-ANOVA": found.ped_anova_first}
    # What leads the draws most often; where it does so in hardly all, its place is chance.
    leaders = {side: max(first, key=lambda name: first[name]) for side, first in sides.items()}
    sure = [side for side, name in leaders.items() if sides[side][name] >= SURE]
    if len(sure) == 2 and len(set(leaders.values())) == 1:
        return f"Both put {leaders['fANOVA']} first."
    puts = [f"{side} puts {leaders[side]} first" for side in sure]
    unsure = [
        f"{side} puts {name} first in {100 * sides[side][name]:.0f} % of the draws only"
        for side, name in leaders.items()
        if side not in sure
    ]
    return ", ".join(puts + unsure) + "." if sure else f"The order is not sure: {', '.join(unsure)}."
