"""The door of `operation: file`: where its rows come from, and that they can be learned."""

from __future__ import annotations

import os

from grokray.tasks.checks import check_split, refuse
from grokray.tasks.draft import DEFAULTS, Draft
from grokray.tasks.file_rows import FileRows, rows_of
from grokray.tasks.list_door import FIELDS as LIST_FIELDS
from grokray.tasks.malformed import Malformed
from grokray.tasks.sizes import VOCABULARY_LIMIT

# What other operations have no use for.
FIELDS = ("data_file", "data_file_hash")
_UNUSED = ("base", "digit_order", "modulus", "operand_limit_out", *LIST_FIELDS)


def resolve(draft: Draft) -> None:
    refuse(draft, "split", "commutative", "but the rows of a file are no pairs (x, y) and (y, x)")
    draft.values |= {**dict.fromkeys(_UNUSED), "operand_limit": DEFAULTS["operand_limit"]}
    if not draft.sound("data_file"):
        return
    path = draft.values.get("data_file")
    if path is None:
        draft.add("data_file", "operation is file, but has none: give data_file, a CSV, TSV or Parquet file of rows")
        return
    draft.values["data_file"] = path = os.path.abspath(os.path.expanduser(path))
    try:
        rows = rows_of(path)
    except Malformed as error:
        draft.object_to("data_file", error.rule)
        return
    _take_hash(draft, rows)
    _take_type(draft, rows)
    check_split(draft, *rows.units)
    if rows.num_tokens > VOCABULARY_LIMIT:
        rule = f"which has {rows.num_tokens:,} different tokens, but may have at most {VOCABULARY_LIMIT:,}"
        draft.object_to("data_file", rule)


def _take_hash(draft: Draft, rows: FileRows) -> None:
    known = draft.given.get("data_file_hash")
    if known not in (None, rows.hash):
        draft.add("data_file_hash", f"data_file_hash is {known}, but the rows' is {rows.hash}: they are not the same")
    draft.values["data_file_hash"] = rows.hash


def _take_type(draft: Draft, rows: FileRows) -> None:
    """Answers of one token each are a classification, unless that is said otherwise."""
    lengths = rows.answer_lengths
    single = lengths == {1}
    if not single:
        longest = max(lengths)
        refuse(draft, "task_type", "classification", f"but an answer in data_file has {longest} tokens")
    draft.values["task_type"] = draft.given.get("task_type", "classification" if single else "sequence")
    if draft.values["task_type"] == "classification":
        draft.values["fixed_sequence_length"] = False
    elif len(lengths) > 1:
        rule = f"but the answers in data_file have {min(lengths)} to {max(lengths)} tokens"
        refuse(draft, "fixed_sequence_length", True, rule)
