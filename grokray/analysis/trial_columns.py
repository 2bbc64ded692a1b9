"""Columns of trials.parquet as numpy arrays, out of an Arrow table or a pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grokray.errors import ConfigError, Problem
from grokray.records.schema import CONFIG_FIELDS, TRIALS_SCHEMA

if TYPE_CHECKING:
    import pandas as pd

_VERSIONS = tuple(name for name in TRIALS_SCHEMA.names if name.endswith("_version"))
_BEFORE = ("trial_id", "trial_index", "configuration", "seed", "compiled", *_VERSIONS, *CONFIG_FIELDS)
# What is known of a trial once it has trained: nothing to choose trials by, or to take for a cause.
CAME_OF_TRIALS = frozenset(TRIALS_SCHEMA.names) - {*_BEFORE}
HIDDEN = "folder_number"  # of several folders, by which `sweeps` finds curves


def table_of(trials: pa.Table | pd.DataFrame) -> pa.Table:
    """As an Arrow table; NaN of a pandas frame, which is what it makes of a null, is null again."""
    return trials if isinstance(trials, pa.Table) else pa.Table.from_pandas(trials, preserve_index=False)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """(n,) float64, NaN where null. ConfigError if there is no such column."""
    return pc.cast(_column(table, name), pa.float64()).to_numpy(zero_copy_only=False)


def texts(table: pa.Table, name: str) -> np.ndarray:
    """(n,) of str, or None where null. ConfigError if there is no such column."""
    return np.array(_column(table, name).to_pylist(), dtype=object)


def flags(table: pa.Table, name: str) -> np.ndarray:
    """(n,) bool, False where null. ConfigError if there is no such column."""
    return pc.fill_null(pc.cast(_column(table, name), pa.bool_()), False).to_numpy(zero_copy_only=False)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise ConfigError([Problem(field=name, message=f"the table of trials has no column {name}, which is needed")])
    # One chunk, since an empty table has none, which numpy does not get.
    return pa.chunked_array([table[name].combine_chunks()], type=table.schema.field(name).type)
