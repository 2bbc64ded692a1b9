"""Rows of a table as Arrow has them, and what is said where the journal they come from was edited by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from grokray.errors import FolderError
from grokray.wording import show

# Not ArrowException, which a lack of memory is too.
UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)
_RULES = {
    pa.string(): "must be text",
    pa.int64(): "must be a whole number below 2^63",
    pa.float64(): "must be a number",
    pa.bool_(): "must be true or false",
}


def batch_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """FolderError names the trial and the value that no column of the schema can hold."""
    try:
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
        holds_all = not any(batch[field.name].null_count for field in schema if not field.nullable)
    except UNFIT:
        batch, holds_all = None, False
    if batch is None or not holds_all:
        raise _edited(rows, schema)
    return batch


def _edited(rows: list[dict[str, Any]], schema: pa.Schema) -> FolderError:
    row, field = next((row, field) for row in rows for field in schema if not _holds(field, row.get(field.name)))
    rule = _RULES.get(field.type, f"must be {field.type}")
    return FolderError(
        f"the journal was edited: {field.name} of trial {row['trial_id']} is {show(row.get(field.name))}, but {rule}",
        hint="Put back what it was, or remove the line: `grokray sweep` makes anew what is missing.",
    )


def _holds(field: pa.Field, value: Any) -> bool:
    try:
        return pa.array([value], field.type).null_count == 0 or field.nullable
    except UNFIT:
        return False
