"""Reading the journal, again and again: each time what was appended since."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from grokray.errors import FolderError
from grokray.records.journal import JOURNAL, Event, fault_of
from grokray.records.remote_append import Batch, batch_of
from grokray.records.store import Store

READING_SHARE = 0.1  # of the time, for those who read again and again
_CHUNK_BYTES = 4 << 20
_LISTINGS = 3
_END: Any = object()


class JournalReader:
    """Reads what was appended since it last looked. `damaged` counts the lines that could not be read."""

    def __init__(self, store: Store) -> None:
        self.damaged = 0
        self._store = store
        self._offsets: dict[str, int] = {}
        self._batches: dict[str, int] = {}  # of a block of an object store, read before it was one object
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether reading again now keeps it below a tenth of the time. A store far away takes long to look at."""
        return time.monotonic() >= self._due

    def poll(self) -> list[Event]:
        """The events appended since the last poll: each part in its order, the parts in that of their names."""
        return [event for chunk in self.chunks() for event in chunk]

    def chunks(self) -> Iterator[list[Event]]:
        """As `poll`, some thousand events at a time: for journals larger than memory."""
        reading, spent, chunk = self._chunks(), 0.0, None
        while chunk is not _END:
            began = time.monotonic()
            chunk = next(reading, _END)
            spent += time.monotonic() - began
            if chunk is not _END:
                yield chunk
        self._due = time.monotonic() + spent * (1 / READING_SHARE - 1)

    def _chunks(self) -> Iterator[list[Event]]:
        for attempt in range(_LISTINGS):
            sizes = {name: size for name, size in self._store.sizes(JOURNAL).items() if name.endswith(".jsonl")}
            batches = {name: batch for name in sizes if (batch := batch_of(name)) and batch.number}
            for name in sorted(sizes.keys() - batches.keys()):
                yield from self._read_part(name, sizes[name])
            gone = False
            for name, batch in sorted(batches.items(), key=lambda item: item[1]):
                if batch.block not in sizes and batch.number > self._batches.get(batch.block, 0):
                    chunks = self._read_batch(name, batch, skip=attempt == _LISTINGS - 1)
                    gone |= chunks is None
                    yield from chunks or ()
            if not gone:
                return

    def _read_batch(self, name: str, batch: Batch, *, skip: bool) -> list[list[Event]] | None:
        """A batch, whole. None if it, or one before it, is gone: its block has become one object since the listing.

        `skip` passes over what is missing all the same, and counts it as a damaged line.
        """
        missing = batch.number - self._batches.get(batch.block, 0) - 1
        if missing and not skip:
            return None
        try:
            data = self._store.read_bytes(name)
        except FolderError:
            if skip or self._store.exists(name):
                raise
            return None
        self.damaged += missing
        self._batches[batch.block] = batch.number
        self._offsets[batch.block] = self._offsets.get(batch.block, 0) + len(data)
        return [self._decode(data)]

    def _read_part(self, name: str, size: int) -> Iterator[list[Event]]:
        length = _CHUNK_BYTES
        while (offset := self._offsets.get(name, 0)) < size:
            data = self._store.read_range(name, offset, min(length, size - offset))
            end = data.rfind(b"\n") + 1
            if end:
                self._offsets[name] = offset + end
                yield self._decode(data[:end])
            elif len(data) < length:
                return  # a line still being written, or cut short by a crash
            else:
                length *= 2

    def _decode(self, data: bytes) -> list[Event]:
        lines = [line for line in data.split(b"\n") if line]
        values = _parse_together(lines)
        if values is None:
            values = [_parse(line) for line in lines]
        events = [value for value in values if fault_of(value) is None and isinstance(value.get("t"), int | float)]
        self.damaged += len(lines) - len(events)
        return events


def _parse_together(lines: list[bytes]) -> list[Any] | None:
    """One call for all lines: faster, and equal keys share one string. None where some line is damaged."""
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        return None
    return values if len(values) == len(lines) else None


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
