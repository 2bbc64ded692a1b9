"""Trials in groups by any column: its values where they are few, quarters of the trials where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.analysis.design import CAUSES
from grokray.analysis.diagram import cut
from grokray.analysis.made_columns import made_of
from grokray.analysis.outcomes import codes, column
from grokray.analysis.space import space_of_trials
from grokray.analysis.sweeps import unknown_column
from grokray.analysis.wording import value_text
from grokray.arguments import refused
from grokray.errors import ConfigError, Problem

MAX_VALUES, QUARTERS, MAX_GROUPS = 6, 4, 20
MOST_PAIRS = 8  # groups that are compared pair by pair


@dataclass(frozen=True, kw_only=True)
class Groups:
    """`group` (n,) int64: 0 … len(labels) − 1, or −1 for a trial in none."""

    name: str
    labels: list[str]
    group: np.ndarray


def groups_by(trials: pa.Table, by: str | Sequence[str], argument: str = "by") -> Groups:
    """By a column, or by what there is of several together: `97, 10` of modulus and base.

    ConfigError for a column that there is not, nearest one named, or one of too many different texts, and for too many
    groups of several.
    """
    parts = groups_by_each(trials, by, argument)
    return parts[0] if len(parts) == 1 else _together(parts, argument)


def name_of(by: str | Sequence[str]) -> str:
    """Of the groups that `by` makes."""
    return by if isinstance(by, str) else ", ".join(by)


def groups_by_each(trials: pa.Table, by: str | Sequence[str], argument: str = "by") -> list[Groups]:
    """By each of the columns."""
    names: list[Any] = list(by) if isinstance(by, list | tuple) and by else [by]
    if len({*map(str, names)}) < len(names):
        raise refused(argument, by, "must name each column once")
    return [_by_one(trials, name, argument) for name in names]


def _together(parts: Sequence[Groups], argument: str) -> Groups:
    """A trial that one of the columns puts in no group is in none."""
    name, coded = name_of([part.name for part in parts]), np.stack([part.group for part in parts], axis=1)
    inside = (coded >= 0).all(axis=1)
    found, number = np.unique(coded[inside], axis=0, return_inverse=True)
    if len(found) > MAX_GROUPS:
        message = f"{argument} is {name}, which make {len(found)} groups, but at most {MAX_GROUPS} are shown"
        raise ConfigError([Problem(message=message, field=argument)])
    group = np.full(len(coded), -1, dtype=np.int64)
    group[inside] = number.ravel()
    labels = [", ".join(part.labels[at] for part, at in zip(parts, row, strict=True)) for row in found.tolist()]
    return Groups(name=name, labels=labels, group=group)


def _by_one(trials: pa.Table, name: str, argument: str) -> Groups:
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
    """What varies among the trials and may cause grokking, columns made of others and what sweeps are about first;
    nothing that another one says already, as the task type says whether there is a digit order."""
    there = {axis.name for axis in space_of_trials(trials).axes}
    made = [name for name in made_of(trials) if len(trials[name].unique()) > 1]
    return [*made, *(name for name in CAUSES if name in there)]


def _too_many(values: np.ndarray) -> str:
    """Why the values (n,) of a column make no groups, or nothing; numbers are cut into quarters."""
    different = len(codes(values)[1]) if values.dtype == object else 0
    return f"has {different} different texts, but at most {MAX_GROUPS} are groups" if different > MAX_GROUPS else ""


def _label(name: str, value: str | float | None, boolean: bool) -> str:
    if value is None:
        return f"no {name}"
    return value_text(bool(value) if boolean else value)
