"""From the journal to Parquet: `trials.parquet`, `curves/`, and the manifest that lists what belongs together."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from grokray.errors import FolderBusy, FolderError
from grokray.records.curves import PART_ROWS, curve_tables, task_curve_tables
from grokray.records.folder import CURVES, MANIFEST, TASK_CURVES, TASKS, TRIALS, SweepFolder
from grokray.records.journal import JOURNAL
from grokray.records.journal_reader import JournalReader
from grokray.records.lock import Lock, hold
from grokray.records.rows import tasks_table, trials_table
from grokray.records.schema import SCHEMA_VERSION
from grokray.records.state import SweepState
from grokray.records.tables import read_manifest, read_trials

WAIT_S, LOOK_S = 600.0, 0.2
_ROW_GROUP_ROWS = 131_072


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
    One process collects at a time: others wait for it, and raise FolderBusy after WAIT_S. Raises FolderError if the
    folder cannot be written, or holds tables that would lose rows (`require_all`).
    """
    with _alone(folder) as lock:
        if state is None or lost(folder, state):
            # What the caller has folded may be older than the tables, where somebody else collected meanwhile.
            state, damaged = folder.folded()
            require_all(folder, state, damaged)
        reader = JournalReader(folder.store)
        # Closed also where a table cannot be written: it holds a temporary folder.
        with closing(curve_tables(reader.chunks(), state, part_rows)) as tables:
            curves = _write_parts(folder, CURVES, tables)
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


@contextmanager
def _alone(folder: SweepFolder) -> Iterator[Lock]:
    until = time.monotonic() + WAIT_S
    with ExitStack() as stack:
        while True:
            try:
                lock = stack.enter_context(hold(folder.store, f"{CURVES}/.lock", what="the manifest"))
                break
            except FolderBusy:
                if time.monotonic() >= until:
                    raise
                time.sleep(LOOK_S)
        yield lock


def write_tables(folder: SweepFolder, trials: pa.Table, curves: Iterable[pa.Table]) -> None:
    """Tables of one's own, TRIALS_SCHEMA and CURVES_SCHEMA by trial_index and step, in place of a journal's: for
    trials that grokray did not run, such as made-up ones in `benchmarks/synthetic.py`. A part of the curves holds all
    measurements of its trials."""
    with hold(folder.store, f"{CURVES}/.lock", what="the manifest"):
        files = [_write_table(folder, TRIALS, trials), *_write_parts(folder, CURVES, curves)]
        _write_manifest(folder, files, damaged_lines=0)
        _remove_stale(folder, keep={file.name for file in files})


def require_all(folder: SweepFolder, state: SweepState, damaged_lines: int = 0) -> None:
    """FolderError if the journal, of which `state` is made, tells of less than the tables: a part of it is gone.

    Lines that cannot be read are counted and said, so that a few of them stop nothing. Where most of the tables would
    be gone with them they are kept all the same.
    """
    written = _rows_written(folder)
    gone = _lacking(written, state)
    if gone <= damaged_lines and 2 * gone <= sum(written):
        return
    missing = gone if gone <= damaged_lines else gone - damaged_lines
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
    return _lacking(_rows_written(folder), state)


def _lacking(written: tuple[int, int], state: SweepState) -> int:
    trials, curves = written
    measured = sum(trial.measurements for trial in state.trials.values())
    return max(trials - len(state.trials), 0) + max(curves - measured, 0)


def tell_all(folder: SweepFolder) -> bool:
    """Whether the tables that there are say of each trial what the journal says of it. FolderError as `read_trials`."""
    made = next((file for file in read_manifest(folder)["files"] if file["name"] == TRIALS), {})
    if hashlib.sha256(folder.store.read_bytes(TRIALS)).hexdigest() != made.get("sha256"):
        return False  # written anew, but not the curves
    there, anew = read_trials(folder), trials_table(folder.state())
    names = [name for name in anew.column_names if name in there.column_names]  # an older version has fewer
    return there.select(names).equals(anew.select(names))


def _rows_written(folder: SweepFolder) -> tuple[int, int]:
    """Of trials and of measurements, in the tables that there are."""
    if not folder.store.exists(MANIFEST):
        return 0, 0
    try:
        files = read_manifest(folder)["files"]
    except FolderError:  # it is damaged, and tells nothing
        return 0, 0
    trials = sum(file["rows"] for file in files if file["name"] == TRIALS)
    return trials, sum(file["rows"] for file in files if file["name"].startswith(f"{CURVES}/"))


def _write_parts(folder: SweepFolder, name: str, tables: Iterable[pa.Table]) -> list[_File]:
    return [
        _write_table(folder, f"{name}/part-{number:05d}-{{}}.parquet", table) for number, table in enumerate(tables)
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
        return [_write_table(folder, TASKS, tasks_table(state)), *_write_parts(folder, TASK_CURVES, curves)]


def _remove_stale(folder: SweepFolder, *, keep: set[str]) -> None:
    for name in [*folder.store.list(CURVES), *folder.store.list(TASK_CURVES)]:
        if name not in keep and name.endswith(".parquet"):
            folder.store.delete(name)
    for name in (TRIALS, CURVES, TASKS, TASK_CURVES, MANIFEST):
        folder.store.delete_unfinished(name)
