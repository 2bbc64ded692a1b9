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
    if why := _too_many(values):
        raise ConfigError([Problem(message=f"{argument} is {name}, which {why}", field=argument)])
    boolean = pa.types.is_boolean(trials.schema.field(name).type)
    return Groups(name=name, labels=[_label(name, value, boolean) for value in distinct], group=coded)


def groups_of_parameters(trials: pa.Table) -> tuple[list[Groups], list[str]]:
    """By each of the main parameters; and what to say of those with too many texts for it, which nobody asked for."""
    reasons = {name: _too_many(column(trials, name)) for name in main_parameters(trials)}
    chosen = [groups_by(trials, name) for name, why in reasons.items() if not why]
    return chosen, [f"no groups by {name}: it {why}" for name, why in reasons.items() if why]


def main_parameters(trials: pa.Table) -> list[str]:
    """What varies among the trials and may cause grokking, what sweeps are about first; nothing that another one says
    already, as the task type says whether there is a digit order."""
    there = {axis.name for axis in space_of_trials(trials).axes}
    return [name for name in CAUSES if name in there]


def _too_many(values: np.ndarray) -> str:
    """Why the values (n,) of a column make no groups, or nothing; numbers are cut into quarters."""
    different = len(codes(values)[1]) if values.dtype == object else 0
    return f"has {different} different texts, but at most {MAX_GROUPS} are groups" if different > MAX_GROUPS else ""


def _label(name: str, value: str | float | None, boolean: bool) -> str:
    if value is None:
        return f"no {name}"
    return value_text(bool(value) if boolean else value)
