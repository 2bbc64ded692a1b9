"""The curves of all trials, sorted, in parts of bounded size; memory is bounded by one part.

Measurements lie in the journal in the order in which processes wrote them. One pass puts each into the range of
trials it belongs to, on disk; then each range is sorted in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.records.journal import Event
from grokray.records.rows import number
from grokray.records.schema import curves_schema
from grokray.records.state import SweepState

PART_ROWS = 1_000_000
_SPILL_ROWS = 2_048


def curve_tables(chunks: Iterable[list[Event]], state: SweepState, part_rows: int = PART_ROWS) -> Iterator[pa.Table]:
    """Tables of up to about `part_rows` measurements, by trial_index and step; at least one, perhaps empty.

    Of several attempts at one step the latest counts: a trial that lost its engine trained the steps since its
    checkpoint again. What `state` does not know yet is left out, so that both tables tell of one moment.
    """
    schema = curves_schema(state.metric_names)
    part_of = _part_of_trial(state, part_rows)
    with tempfile.TemporaryDirectory(prefix="grokray-curves-") as folder:
        parts = [_Spill(Path(folder) / f"{n}.arrow", schema) for n in range(max(part_of.values(), default=0) + 1)]
        for chunk in chunks:
            for event in chunk:
                if event["event"] == "measurement" and (place := part_of.get(event["trial_id"])) is not None:
                    trial = state.trials[event["trial_id"]]
                    if event["step"] <= trial.last_step and trial.index is not None:
                        parts[place].add(event, trial.index)
        for part in parts:
            yield _latest_attempts(part.read())


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

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._rows: list[dict[str, Any]] = []
        self._batches: pa.RecordBatchStreamWriter | None = None

    def add(self, event: Event, trial_index: int) -> None:
        row = {name: number(value) for name, value in event["metrics"].items()}
        row |= {"trial_id": event["trial_id"], "trial_index": trial_index}
        row |= {"attempt": event["attempt"], "step": event["step"], "wall_time_s": number(event.get("wall_time_s"))}
        self._rows.append(row)
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
        return pa.RecordBatch.from_pylist(rows, schema=self._schema)


def _latest_attempts(table: pa.Table) -> pa.Table:
    index, step, attempt = (table[name].to_numpy() for name in ("trial_index", "step", "attempt"))
    order = np.lexsort((-attempt, step, index))
    index, step = index[order], step[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (index[1:] != index[:-1]) | (step[1:] != step[:-1])
    return table.take(pa.array(order[first])).combine_chunks()
