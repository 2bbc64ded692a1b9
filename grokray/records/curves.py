"""The curves of all trials, sorted, in parts of bounded size; memory is bounded by one part.

Measurements lie in the journal in the order in which processes wrote them. One pass puts each into the range of
trials it belongs to, on disk; then each range is sorted in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.records.batch import batch_of
from grokray.records.journal import Event
from grokray.records.rows import number
from grokray.records.schema import TASK_CURVES_SCHEMA, curves_schema
from grokray.records.state import SweepState
from grokray.records.store import as_folder_error

PART_ROWS = 1_000_000
_SPILL_ROWS = 2_048


def curve_tables(
    chunks: Iterable[list[Event]], state: SweepState, part_rows: int = PART_ROWS
) -> Generator[pa.Table, None, None]:
    """Tables of up to about `part_rows` measurements, by trial_index and step; at least one, perhaps empty.

    Of several attempts at one step the latest counts: a trial that lost its engine trained the steps since its
    checkpoint again. What `state` does not know yet is left out, so that both tables tell of one moment.
    """
    yield from _parts(chunks, state, part_rows, curves_schema(state.metric_names), _curve_rows)


def task_curve_tables(
    chunks: Iterable[list[Event]], state: SweepState, part_rows: int = PART_ROWS
) -> Generator[pa.Table, None, None]:
    """The same for the single tasks of multitask trials, in long form (TASK_CURVES_SCHEMA)."""
    yield from _parts(chunks, state, part_rows, TASK_CURVES_SCHEMA, _task_curve_rows)


Rows = Callable[[Event, int], Iterator[dict[str, Any]]]


def _parts(
    chunks: Iterable[list[Event]], state: SweepState, part_rows: int, schema: pa.Schema, rows: Rows
) -> Iterator[pa.Table]:
    part_of = _part_of_trial(state, part_rows)
    with _temporary_folder() as folder:
        parts = [_Spill(folder / f"{n}.arrow", schema, rows) for n in range(max(part_of.values(), default=0) + 1)]
        with as_folder_error("write", str(folder)):
            for chunk in chunks:
                for event in chunk:
                    if event["event"] == "measurement" and (place := part_of.get(event["trial_id"])) is not None:
                        trial = state.trials[event["trial_id"]]
                        if event["step"] <= trial.last_step and trial.index is not None:
                            parts[place].add(event, trial.index)
        for part in parts:
            with as_folder_error("read", str(folder)):
                table = part.read()
            yield _latest_attempts(table)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with as_folder_error("write", "temporary files"):
        folder = tempfile.TemporaryDirectory(prefix="grokray-curves-")
    with folder as name:
        yield Path(name)


def _part_of_trial(state: SweepState, part_rows: int) -> dict[str, int]:
    """Trial id to part. A trial is never split, so a part may be larger by one trial."""
    part, rows, places = 0, 0, {}
    for trial in state.trials.values():
        if rows and rows + trial.measurements > part_rows:
            part, rows = part + 1, 0
        places[trial.trial_id] = part
        rows += trial.measurements
    return places


class _Spill:
    """Rows on their way into one part: the last few in memory, the others in an Arrow stream on disk."""

    def __init__(self, path: Path, schema: pa.Schema, rows: Rows) -> None:
        self._path, self._schema, self._rows_of = path, schema, rows
        self._rows: list[dict[str, Any]] = []
        self._batches: pa.RecordBatchStreamWriter | None = None

    def add(self, event: Event, trial_index: int) -> None:
        self._rows.extend(self._rows_of(event, trial_index))
        if len(self._rows) >= _SPILL_ROWS:
            if self._batches is None:
                self._batches = pa.ipc.new_stream(self._path, self._schema)
            self._batches.write_batch(self._take())

    def read(self) -> pa.Table:
        batches = [self._take()]
        if self._batches is not None:
            self._batches.close()
            with pa.ipc.open_stream(self._path) as stream:
                batches = [*stream, *batches]
        return pa.Table.from_batches(batches, schema=self._schema)

    def _take(self) -> pa.RecordBatch:
        rows, self._rows = self._rows, []
        return batch_of(rows, self._schema)


def _curve_rows(event: Event, trial_index: int) -> Iterator[dict[str, Any]]:
    row = {name: number(value) for name, value in event["metrics"].items()}
    yield row | _keys(event, trial_index) | {"wall_time_s": number(event.get("wall_time_s"))}


def _task_curve_rows(event: Event, trial_index: int) -> Iterator[dict[str, Any]]:
    for task, metrics in (event.get("tasks") or {}).items():
        for name, value in metrics.items():
            yield _keys(event, trial_index) | {"task": task, "metric": name, "value": number(value)}


def _keys(event: Event, trial_index: int) -> dict[str, Any]:
    keys = {"trial_id": event["trial_id"], "trial_index": trial_index}
    return keys | {"attempt": event["attempt"], "step": event["step"]}


def _latest_attempts(table: pa.Table) -> pa.Table:
    """By trial_index and step (then task and metric, where there are such columns), one row for each."""
    names = [name for name in ("trial_index", "step", "task", "metric") if name in table.column_names]
    columns = [_sortable(table[name]) for name in names]
    order = np.lexsort((-table["attempt"].to_numpy(), *reversed(columns)))
    first = np.zeros(len(order), dtype=bool)
    first[:1] = True
    for column in columns:
        first[1:] |= column[order][1:] != column[order][:-1]
    return table.take(pa.array(order[first])).combine_chunks()


def _sortable(column: pa.ChunkedArray) -> np.ndarray:
    """Integers that sort as the column does; its texts are few and repeat."""
    if not pa.types.is_string(column.type):
        return column.to_numpy()
    coded = column.combine_chunks().dictionary_encode()
    rank = np.argsort(np.argsort(np.array(coded.dictionary.to_pylist())))
    return rank[coded.indices.to_numpy()]
