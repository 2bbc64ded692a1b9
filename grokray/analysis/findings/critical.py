"""The training fraction above which a trial groks more often than not."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from grokray.analysis.critical import critical_fractions
from grokray.analysis.findings.finding import Finding, missing, nothing_in, without_silence
from grokray.analysis.outcomes import outcomes
from grokray.analysis.sweeps import unknown_column

NAME, TITLE = "critical", "Critical training fraction"


def critical_fraction(trials: pa.Table, by: str | None = None, level: float = 0.95) -> Finding:
    """In each group of one column, or of operation, task type and base as far as they vary."""
    if by is not None and by not in trials.column_names:
        raise unknown_column("by", by, trials.column_names, "the trials have")
    if len(trials["training_fraction"].unique()) < 2:
        fraction = trials["training_fraction"][0].as_py()
        return missing(NAME, TITLE, f"training_fraction is always {fraction:.3g}")
    found = critical_fractions(trials, None if by is None else (by,), level)
    rows = [
        {
            **{name: value_text(value) for name, value in one.group.items()},
            "fraction": one.fraction,
            "fraction_lower": one.lower,
            "fraction_upper": one.upper,
            "trials": one.trials,
            "configurations": one.configurations,
            "note": one.reason,
        }
        for one in found
    ]
    table = pd.DataFrame(rows)
    if nothing_in(table, "fraction"):
        reasons = {one.reason for one in found}
        return missing(NAME, TITLE, reasons.pop() if len(reasons) == 1 else "it can be estimated for no group")
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"critical_fraction": without_silence(table, "note")},
        notes=outcomes(trials).notes,
        level=level,
        estimates=found,
    )


def value_text(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
