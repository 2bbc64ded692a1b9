"""The training fraction above which a trial groks more often than not, and whether groups differ in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.critical import Critical, critical_fractions
from grokray.analysis.critical_differences import Difference, differences
from grokray.analysis.findings.finding import Finding, interval, missing, nothing_in, unique, without_silence
from grokray.analysis.findings.groups import MOST_PAIRS, Groups, groups_by_each
from grokray.analysis.findings.words import number
from grokray.analysis.outcomes import outcomes
from grokray.analysis.shares import Estimate
from grokray.analysis.wording import value_text

NAME, TITLE = "critical", "Critical training fraction"
DIFFERENCES = "differences"
FEW = 3  # groups whose reasons are told where none has a fraction
LEARNED = (
    "tpe chose configurations by what came of others: groups differ in more than their parameter, and so may their "
    "critical fractions"
)


def critical_fraction(
    trials: pa.Table, by: str | Sequence[str] | None = None, level: float = 0.95, *, learned: bool = False
) -> Finding:
    """In each group of one column or several, or of operation, task type and base as far as they vary, and in what
    each two of them differ. `learned`: see `Sweeps.learned`."""
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
    tables, compared = {"critical_fraction": without_silence(table, "note")}, _compared(found, level)
    if compared:
        tables[DIFFERENCES] = without_silence(pd.DataFrame(map(_row, compared)), "note")
    return Finding(
        name=NAME,
        title=TITLE,
        tables=tables,
        summary=" ".join(filter(None, [_summary(found), _surest(compared, level)])),
        notes=unique([*outcomes(trials).notes, *_too_many(found), LEARNED if learned and len(found) > 1 else None]),
        level=level,
        estimates=found,
    )


def _compared(found: Sequence[Critical], level: float) -> list[Difference]:
    return [] if list(_too_many(found)) else differences(found, level)


def _too_many(found: Sequence[Critical]) -> Iterator[str]:
    known = sum(one.is_known for one in found)
    if known > MOST_PAIRS:
        few = f"differences are told of {MOST_PAIRS} at most, so choose some with where"
        yield f"{known} groups have a critical fraction: {few}"


def _row(one: Difference) -> dict[str, Any]:
    return {
        "comparison": _against(one),
        **interval("fraction_difference", one.difference),
        "p_value": one.p_value,
        "adjusted_p": one.adjusted,
        "note": "; ".join(_remarks(one)),
    }


def _against(one: Difference) -> str:
    """`base 10 against base 2`"""
    return f"{group_name(one.b)} against {group_name(one.a)}"


def _remarks(one: Difference) -> Iterator[str]:
    """Why there is no p."""
    if any(unsure := [side.crossing is None for side in (one.b, one.a)]):
        yield f"no interval is known of {_which(unsure)}, so there is no p"


def _which(are: Sequence[bool]) -> str:
    first, second = are
    return "both" if first and second else "the first" if first else "the second"


def _surest(found: Sequence[Difference], level: float) -> str:
    """The largest difference that can be told from none among so many, by Holm's correction as in `effects.py`."""
    tested = [one for one in found if not math.isnan(one.p_value)]
    if not tested:
        return ""
    certain = [one for one in tested if one.adjusted < 1 - level]
    if not certain:
        rest = (
            f"; of {len(found) - len(tested)} of {len(found)} nothing can be tested" if len(tested) < len(found) else ""
        )
        return f"No difference between groups can be told from none{rest}."
    top = max(certain, key=lambda one: abs(one.difference.value))
    more, less = (top.b, top.a) if top.difference.value > 0 else (top.a, top.b)
    value, lower, upper = (number(abs(x), "") for x in (top.difference.value, *_nearest_first(top.difference)))
    return (
        f"The largest difference: {group_name(more)} needs {value} ({lower} to {upper}) more than {group_name(less)}."
    )


def _nearest_first(estimate: Estimate) -> list[float]:
    return sorted((estimate.lower, estimate.upper), key=abs)


def _why_none(found: Sequence[Critical]) -> str:
    """Of several groups, why none of those with the most trials has one."""
    if len(found) == 1:
        return found[0].reason
    largest = sorted(found, key=lambda one: -one.trials)[:FEW]
    named = "; ".join(f"{group_name(one)}: {one.reason}" for one in largest)
    return f"it can be estimated for none of {len(found)} groups; {named}"


def _summary(found: Sequence[Critical]) -> str:
    """Of the only group, or of those that need the least and the most; not of one of which nothing is sure."""
    known = [one for one in found if one.is_known and (one.lower > 0 or one.upper < 1)]
    texts = [_text(one) for one in sorted(known, key=lambda one: one.fraction)]
    if len(texts) > 1:
        return f"The training fraction at which half of the trials grok is from {texts[0]} to {texts[-1]}."
    return f"Half of the trials grok at a training fraction of {texts[0]}." if texts else ""


def _text(one: Critical) -> str:
    """`0.78 (0.61 or more) for task_type classification`, where larger ones are few"""
    value, lower, upper = (number(x, "") for x in (one.fraction, one.lower, one.upper))
    within = f"{lower} or more" if one.upper >= 1 else f"{upper} or less" if one.lower <= 0 else f"{lower} to {upper}"
    group = group_name(one)
    return f"{value} ({within})" + (f" for {group}" if group else "")


def group_name(one: Critical) -> str:
    """`task_type sequence, base 10`; what a trial does not have is told only where nothing else tells it. Empty where
    all trials are one group."""
    there = [f"{name} {value_text(value)}" for name, value in one.group.items() if value is not None]
    return ", ".join(there or [f"no {name}" for name in one.group])


def _values(groups: Groups) -> tuple[np.ndarray, list[str | None]]:
    """Each trial's number, and what it stands for; the last of them for a trial in no group."""
    labels = [None if label == f"no {groups.name}" else label for label in groups.labels]
    return groups.group, [*labels, None]
