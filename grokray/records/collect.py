"""From the journal to Parquet: `trials.parquet`, `curves/`, and the manifest that lists what belongs together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from grokray.errors import FolderError
from grokray.records.curves import PART_ROWS, curve_tables, task_curve_tables
from grokray.records.folder import CURVES, MANIFEST, TASK_CURVES, TASKS, TRIALS, SweepFolder
from grokray.records.journal import JOURNAL
from grokray.records.journal_reader import JournalReader
from grokray.records.lock import hold
from grokray.records.rows import tasks_table, trials_table
from grokray.records.schema import (
    CURVES_SCHEMA,
    SCHEMA_VERSION,
    TASK_CURVES_SCHEMA,
    TASKS_SCHEMA,
    TRIALS_SCHEMA,
)
from grokray.records.state import SweepState
from grokray.wording import first_line

_ROW_GROUP_ROWS = 131_072
_READ_ATTEMPTS = 3

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was written. Paths are whole paths or URIs; `damaged_lines` of the journal could not be read, and it
    lacks the last measurements of `cut_short` trials."""

    trials_rows: int
    curve_rows: int
    trials_path: str
    curve_paths: tuple[str, ...]
    damaged_lines: int
    cut_short: int


@dataclass(frozen=True, kw_only=True)
class _File:
    name: str
    rows: int
    bytes: int
    sha256: str


def collect(folder: SweepFolder, state: SweepState | None = None, *, part_rows: int = PART_ROWS) -> Collected:
    """Write the tables anew from the journal; also while the sweep runs. Doing it twice gives equal tables.

    `state` spares reading the journal twice where the caller has folded it already. A part of the curves bears the
    start of its hash in its name, so that a reader, or a crash at any moment, finds the old set or the new one.
    Raises FolderBusy while another process collects, FolderError if the folder cannot be written, or holds tables
    that would lose rows (`require_all`).
    """
    with hold(folder.store, f"{CURVES}/.lock", what="the manifest") as lock:
        if state is None or lost(folder, state):
            # What the caller has folded may be older than the tables, where somebody else collected meanwhile.
            state, damaged = folder.folded()
            require_all(folder, state, damaged)
        reader = JournalReader(folder.store)
        # Closed also where a table cannot be written: it holds a temporary folder.
        with closing(curve_tables(reader.chunks(), state, part_rows)) as tables:
            curves = _write_curves(folder, tables)
        trials = _write_table(folder, TRIALS, trials_table(state))
        tasks = _write_tasks(folder, state, part_rows)
        lock.require()
        _write_manifest(folder, [trials, *curves, *tasks], damaged_lines=reader.damaged)
        _remove_stale(folder, keep={file.name for file in (*curves, *tasks)})
    return Collected(
        trials_rows=trials.rows,
        curve_rows=sum(file.rows for file in curves),
        trials_path=folder.store.shown(TRIALS),
        curve_paths=tuple(folder.store.shown(file.name) for file in curves),
        damaged_lines=reader.damaged,
        cut_short=sum(trial.cut_short for trial in state.trials.values()),
    )


def write_tables(folder: SweepFolder, trials: pa.Table, curves: Iterable[pa.Table]) -> None:
    """Tables of one's own, TRIALS_SCHEMA and CURVES_SCHEMA by trial_index and step, in place of a journal's: for
    trials that grokray did not run. A part of the curves holds all measurements of its trials."""
    with hold(folder.store, f"{CURVES}/.lock", what="the manifest"):
        files = [_write_table(folder, TRIALS, trials), *_write_curves(folder, curves)]
        _write_manifest(folder, files, damaged_lines=0)
        _remove_stale(folder, keep={file.name for file in files})


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


def require_all(folder: SweepFolder, state: SweepState, damaged_lines: int = 0) -> None:
    """FolderError if the journal, of which `state` is made, tells of less than the tables: a part of it is gone.

    Lines that cannot be read are counted and said, so that one of them stops nothing.
    """
    missing = lost(folder, state) - damaged_lines
    if missing <= 0:
        return
    if not folder.begun():
        text = f"{folder.store} holds tables but no journal, so they cannot be made anew"
        raise FolderError(text, hint="read them as they are")
    raise FolderError(
        f"{folder.store.shown(JOURNAL)} has lost a part: the tables hold {missing:,} rows more than it tells of, so "
        "they are not made anew",
        hint=f"bring the part back, or remove {folder.store.shown(MANIFEST)} to go on with what is left",
    )


def lost(folder: SweepFolder, state: SweepState) -> int:
    """How many rows of the tables the journal does not tell of, at least. A trial that repeated steps hides some."""
    if not folder.store.exists(MANIFEST):
        return 0
    try:
        files = read_manifest(folder)["files"]
    except FolderError:  # it is damaged, and tells nothing
        return 0
    trials = sum(file["rows"] for file in files if file["name"] == TRIALS)
    curves = sum(file["rows"] for file in files if file["name"].startswith(f"{CURVES}/"))
    measured = sum(trial.measurements for trial in state.trials.values())
    return max(trials - len(state.trials), 0) + max(curves - measured, 0)


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


def _write_curves(folder: SweepFolder, tables: Iterable[pa.Table]) -> list[_File]:
    return [
        _write_table(folder, f"{CURVES}/part-{number:05d}-{{}}.parquet", table) for number, table in enumerate(tables)
    ]


def _write_table(folder: SweepFolder, name: str, table: pa.Table) -> _File:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=_ROW_GROUP_ROWS, write_page_checksum=True)
    data = memoryview(sink.getvalue())
    digest = hashlib.sha256(data).hexdigest()
    name = name.format(digest[:8])
    folder.store.write_atomic(name, data)
    return _File(name=name, rows=table.num_rows, bytes=len(data), sha256=digest)


def _write_manifest(folder: SweepFolder, files: list[_File], *, damaged_lines: int) -> None:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "damaged_lines": damaged_lines,
        "files": [asdict(file) for file in files],
    }
    folder.store.write_atomic(MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def _write_tasks(folder: SweepFolder, state: SweepState, part_rows: int) -> list[_File]:
    """The tables of single tasks, if any trial has several."""
    if not any(trial.task_metrics for trial in state.trials.values()):
        return []
    with closing(task_curve_tables(JournalReader(folder.store).chunks(), state, part_rows)) as curves:
        return [
            _write_table(folder, TASKS, tasks_table(state)),
            *(
                _write_table(folder, f"{TASK_CURVES}/part-{number:05d}-{{}}.parquet", table)
                for number, table in enumerate(curves)
            ),
        ]


def _remove_stale(folder: SweepFolder, *, keep: set[str]) -> None:
    for name in [*folder.store.list(CURVES), *folder.store.list(TASK_CURVES)]:
        if name not in keep and name.endswith(".parquet"):
            folder.store.delete(name)
    for name in (TRIALS, CURVES, TASKS, TASK_CURVES, MANIFEST):
        folder.store.delete_unfinished(name)
