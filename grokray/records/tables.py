"""The tables of a sweep, as they were last collected: what `grokray.records.collect` wrote, read again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from grokray.errors import FolderError
from grokray.records.folder import CURVES, MANIFEST, TASK_CURVES, TASKS, TRIALS, SweepFolder
from grokray.records.schema import CURVES_SCHEMA, SCHEMA_VERSION, TASK_CURVES_SCHEMA, TASKS_SCHEMA, TRIALS_SCHEMA
from grokray.wording import first_line

_READ_ATTEMPTS = 3

Result = TypeVar("Result")


def require_journal(folder: SweepFolder, what: str) -> None:
    """FolderError if the folder holds tables alone; `what` is what only the journal tells. Tables without a row may
    have been made before the sweep wrote anything."""
    if folder.begun() or not folder.store.exists(MANIFEST):
        return
    if any(file["rows"] for file in read_manifest(folder)["files"]):
        text = f"{folder.store} holds tables but no journal, which alone tells {what}"
        raise FolderError(text, hint="`grokray analyze` and `grokray report` read the tables")


def read_trials(folder: SweepFolder) -> pa.Table:
    """The trials as last collected, TRIALS_SCHEMA. FolderError if nothing was collected, or a file is damaged
    or cannot be read."""
    return _read(folder, TRIALS, TRIALS_SCHEMA)


def read_curves(
    folder: SweepFolder, trial_ids: list[str] | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The curves as last collected, of all trials or of some, by trial_index and step.

    CURVES_SCHEMA, with a column for each other metric that appeared, or these columns only. Errors as `read_trials`.
    """
    chosen = None
    if trial_ids is not None:
        trials = read_trials(folder)
        ids = pa.array(trial_ids, pa.string())
        indices = trials.filter(pc.field("trial_id").isin(ids))["trial_index"].combine_chunks()
        # The index too: the files are sorted by it, so most of them need not be read.
        chosen = pc.field("trial_index").isin(indices) & pc.field("trial_id").isin(ids)
    return _read(folder, f"{CURVES}/", CURVES_SCHEMA, chosen, columns)


def curve_parts(folder: SweepFolder, columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of the curves, file by file, so that memory holds one: about a million rows, whole trials each."""
    for file in read_manifest(folder)["files"]:
        if file["name"].startswith(f"{CURVES}/"):
            table = _read(folder, file["name"], CURVES_SCHEMA, columns=columns)
            if table.num_rows != file["rows"]:
                raise FolderError(f"the tables of {folder.store} were made anew while they were read", hint="try again")
            yield table


def curve_columns(folder: SweepFolder) -> list[str]:
    """The names of the curves' columns."""
    found = _of_files(folder, f"{CURVES}/", lambda files: files.schema.names)
    return CURVES_SCHEMA.names if found is None else found


def read_tasks(folder: SweepFolder) -> pa.Table:
    """One row for each task of each multitask trial, TASKS_SCHEMA; no rows where there are none."""
    return _read(folder, TASKS, TASKS_SCHEMA)


def read_task_curves(folder: SweepFolder) -> pa.Table:
    """The measurements of single tasks of multitask trials in long form, TASK_CURVES_SCHEMA."""
    return _read(folder, f"{TASK_CURVES}/", TASK_CURVES_SCHEMA)


def read_manifest(folder: SweepFolder) -> dict:
    """What was collected last: schema_version, created, damaged_lines, files with name, rows, bytes, sha256."""
    if not folder.store.exists(MANIFEST):
        raise FolderError(f"{folder.store} holds no tables yet", hint="grokray collect makes them")
    try:
        manifest = json.loads(folder.store.read_bytes(MANIFEST))
        version, _ = manifest["schema_version"], [file["name"] for file in manifest["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{folder.store.shown(MANIFEST)} is damaged", hint="grokray collect makes it anew") from error
    if version > SCHEMA_VERSION:
        raise FolderError(f"the tables' schema version is {version}, but this grokray reads up to {SCHEMA_VERSION}")
    return manifest


def _read(
    folder: SweepFolder,
    prefix: str,
    schema: pa.Schema,
    chosen: pc.Expression | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    named = None if columns is None else list(columns)
    table = _of_files(folder, prefix, lambda files: files.to_table(columns=named, filter=chosen))
    if table is None:
        return schema.empty_table() if named is None else schema.empty_table().select(named)
    return table.replace_schema_metadata(schema.metadata)


def _of_files(folder: SweepFolder, prefix: str, look: Callable[[ds.Dataset], Result]) -> Result | None:
    """What `look` finds in the files whose names begin so; None where there are none. Errors as `read_trials`."""
    for attempt in range(_READ_ATTEMPTS):
        names = [file["name"] for file in read_manifest(folder)["files"] if file["name"].startswith(prefix)]
        if not names:
            return None
        try:
            return folder.store.patiently(partial(_look, folder, names, look))
        except FileNotFoundError as error:
            # A collect may have replaced the files since the manifest was read.
            if attempt == _READ_ATTEMPTS - 1:
                raise FolderError(f"a table of {folder.store} is missing: {error}") from error
        except (OSError, pa.ArrowException) as error:
            for name in names:  # what may not be read is not damaged: the store says why
                folder.store.read_range(name, 0, 1)
            text = f"a table of {folder.store} is damaged: {first_line(error)}"
            raise FolderError(text, hint="grokray collect makes it anew") from error
    raise AssertionError("unreachable")


def _look(folder: SweepFolder, names: list[str], look: Callable[[ds.Dataset], Result]) -> Result:
    return look(_dataset(folder, names))


def _dataset(folder: SweepFolder, names: list[str]) -> ds.Dataset:
    # A flipped bit raises instead of being read as a number.
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    paths = [folder.store.path(name) for name in names]
    return ds.dataset(paths, filesystem=folder.store.filesystem, format=parquet)
