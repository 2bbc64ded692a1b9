"""The training fraction above which a trial groks more often than not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.critical import EXTRAPOLATED, NO_LEVEL, Critical, critical_fractions
from grokray.analysis.findings.finding import Finding, missing, nothing_in, without_silence
from grokray.analysis.findings.groups import Groups, groups_by_each
from grokray.analysis.findings.words import cell, number
from grokray.analysis.outcomes import outcomes
from grokray.analysis.wording import value_text

NAME, TITLE = "critical", "Critical training fraction"


def critical_fraction(trials: pa.Table, by: str | Sequence[str] | None = None, level: float = 0.95) -> Finding:
    """In each group of one column or several, or of operation, task type and base as far as they vary."""
    chosen = None if by is None else groups_by_each(trials, by)
    if len(trials["training_fraction"].unique()) < 2:
        fraction = trials["training_fraction"][0].as_py()
        return missing(NAME, TITLE, f"training_fraction is always {fraction:.3g}")
    found = critical_fractions(trials, None if chosen is None else {one.name: _values(one) for one in chosen}, level)
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
        return missing(NAME, TITLE, _why_none(found))
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"critical_fraction": without_silence(table, "note")},
        summary=_summary(found),
        notes=outcomes(trials).notes,
        level=level,
        estimates=found,
    )


def _why_none(found: Sequence[Critical]) -> str:
    """Of several groups, why the one with the most trials has none."""
    largest = max(found, key=lambda one: one.trials)
    if len(found) == 1:
        return largest.reason
    return f"it can be estimated for none of {len(found)} groups; {_named(largest) or 'the largest'}: {largest.reason}"


def _summary(found: Sequence[Critical]) -> str:
    """Of the only group, or of those that need the least and the most; not of one of which nothing is sure."""
    known = [one for one in found if not math.isnan(one.fraction) and (one.lower > 0 or one.upper < 1)]
    texts = [_text(one) for one in sorted(known, key=lambda one: one.fraction)]
    if len(texts) > 1:
        return f"The training fraction at which half of the trials grok is from {texts[0]} to {texts[-1]}."
    return f"Half of the trials grok at a training fraction of {texts[0]}." if texts else ""


def _text(one: Critical) -> str:
    """0.78 (0.61 to 1) for task_type classification; 0.6 (somewhere from 0.5 to 0.7, without a level of confidence)"""
    ends = {"fraction_lower": one.lower, "fraction_upper": one.upper}
    fraction = cell("fraction", {"fraction": one.fraction, **ends})
    if one.method == "separation":
        value, lower, upper = (number(x, "") for x in (one.fraction, one.lower, one.upper))
        fraction = f"{value} (somewhere from {lower} to {upper}, {NO_LEVEL})"
    group = _named(one)
    text = f"{fraction} for {group}" if group else fraction
    return f"{text}, {EXTRAPOLATED}" if one.is_extrapolated else text


def _named(one: Critical) -> str:
    """task_type sequence, base 10"""
    return ", ".join(f"{name} {value_text(value)}" for name, value in one.group.items() if value is not None)


def _values(groups: Groups) -> tuple[np.ndarray, list[str | None]]:
    """Each trial's number, and what it stands for; the last of them for a trial in no group."""
    labels = [None if label == f"no {groups.name}" else label for label in groups.labels]
    return groups.group, [*labels, None]
