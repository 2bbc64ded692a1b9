"""Trials in groups by any column: its values where they are few, quarters of the trials where they are many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from grokray.analysis.design import CAUSES
from grokray.analysis.diagram import cut
from grokray.analysis.outcomes import codes, column
from grokray.analysis.space import space_of_trials
from grokray.analysis.sweeps import unknown_column
from grokray.analysis.wording import value_text
from grokray.errors import ConfigError, Problem

MAX_VALUES, QUARTERS, MAX_GROUPS = 6, 4, 20


@dataclass(frozen=True, kw_only=True)
class Groups:
    """`group` (n,) int64: 0 … len(labels) − 1, or −1 for a trial in none."""

    name: str
    labels: list[str]
    group: np.ndarray


def groups_by(trials: pa.Table, name: str, argument: str = "by") -> Groups:
    """ConfigError for a column that there is not, nearest one named, or one of too many different texts."""
    if name not in trials.column_names:
        raise unknown_column(argument, name, trials.column_names, "the trials have", main_parameters(trials))
    values = column(trials, name)
    coded, distinct = codes(values)
    if len(distinct) > MAX_VALUES and values.dtype != object:
        bins = cut(trials, name, QUARTERS, "quantiles")
        labels, group = list(bins.labels), bins.bin.copy()
        if None in distinct:
            group[np.isnan(values)] = len(labels)
            labels.append(f"no {name}")
        return Groups(name=name, labels=labels, group=group)
    if len(distinct) > MAX_GROUPS:
        message = (
            f"{argument} is {name}, which has {len(distinct)} different texts, but at most {MAX_GROUPS} are groups"
        )
        raise ConfigError([Problem(message=message, field=argument)])
    boolean = pa.types.is_boolean(trials.schema.field(name).type)
    return Groups(name=name, labels=[_label(name, value, boolean) for value in distinct], group=coded)


def main_parameters(trials: pa.Table) -> list[str]:
    """What varies among the trials and may cause grokking, what sweeps are about first; nothing that another one says
    already, as the task type says whether there is a digit order."""
    there = {axis.name for axis in space_of_trials(trials).axes}
    return [name for name in CAUSES if name in there]


def _label(name: str, value: str | float | None, boolean: bool) -> str:
    if value is None:
        return f"no {name}"
    return value_text(bool(value) if boolean else value)
