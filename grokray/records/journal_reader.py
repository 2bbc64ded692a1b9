"""Reading the journal, again and again: each time what was appended since."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any, TypeVar

from grokray.errors import FolderError
from grokray.records.journal import JOURNAL, Event, fault_of
from grokray.records.remote_append import Batch, batch_of
from grokray.records.store import Store

READING_SHARE = 0.1  # of the time, for those who read again and again
_CHUNK_BYTES = 4 << 20
_LISTINGS = 3
_AHEAD = 8
_LATEST = 1e11  # unix seconds, which dates can have
_END: Any = object()

Data = TypeVar("Data")


class JournalReader:
    """Reads what was appended since it last looked. `damaged` counts the lines that could not be read."""

    def __init__(self, store: Store) -> None:
        self.damaged = 0
        self._store = store
        self._offsets: dict[str, int] = {}
        self._batches: dict[str, int] = {}  # of a block of an object store, read before it was one object
        self._gone, self._due, self._last = False, 0.0, 0.0

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
        # Of two in a row the shorter: neither the first reading of a long journal nor an outage is what it costs.
        self._due = time.monotonic() + min(spent, self._last) * (1 / READING_SHARE - 1)
        self._last = spent

    def _chunks(self) -> Iterator[list[Event]]:
        for attempt in range(_LISTINGS):
            sizes = {name: size for name, size in self._store.sizes(JOURNAL).items() if name.endswith(".jsonl")}
            batches = {name: batch for name in sorted(sizes) if (batch := batch_of(name))}
            for name in sorted(sizes.keys() - batches.keys()):
                yield from self._read_part(name, sizes[name])
            yield from self._read_blocks({name: sizes[name] for name, batch in batches.items() if not batch.number})
            self._gone = False
            loose = {name: batch for name, batch in batches.items() if batch.block not in sizes}
            yield from self._read_batches(loose, skip=attempt == _LISTINGS - 1)
            if not self._gone:
                return

    def _read_blocks(self, sizes: dict[str, int]) -> Iterator[list[Event]]:
        """Blocks of batches in their order, each from where the batches end that were read before."""
        news = {name: size - self._offsets.get(name, 0) for name, size in sizes.items()}
        for large, names in groupby(news, lambda name: news[name] > _CHUNK_BYTES):
            if large:
                for name in names:
                    yield from self._read_part(name, sizes[name])
                continue
            small = [name for name in names if news[name] > 0]
            for name, data in _ahead(small, lambda n: self._store.read_range(n, self._offsets.get(n, 0), news[n])):
                self._offsets[name] = self._offsets.get(name, 0) + len(data)
                yield self._decode(data)

    def _read_batches(self, batches: dict[str, Batch], *, skip: bool) -> Iterator[list[Event]]:
        """Whole batches in their order. `_gone` is set if one is missing: its block has become one object since the
        listing. `skip` passes over what is missing all the same, and counts it as a damaged line."""
        news = [name for name, batch in batches.items() if batch.number > self._batches.get(batch.block, 0)]
        for name, data in _ahead(news, self._bytes_or_none):
            block, number = batches[name]
            missing = number - self._batches.get(block, 0) - 1
            if data is None or (missing and not skip):
                self._gone = True
                continue
            self.damaged += missing
            self._batches[block] = number
            self._offsets[block] = self._offsets.get(block, 0) + len(data)
            yield self._decode(data)

    def _bytes_or_none(self, name: str) -> bytes | None:
        try:
            return self._store.read_bytes(name)
        except FolderError:
            if self._store.exists(name):
                raise
            return None

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
        events = [value for value in values if fault_of(value) is None and _is_time(value.get("t"))]
        self.damaged += len(lines) - len(events)
        return events


def _is_time(t: Any) -> bool:
    return isinstance(t, int | float) and 0 <= t < _LATEST


def _ahead(names: list[str], read: Callable[[str], Data]) -> Iterator[tuple[str, Data]]:
    """Each name and what `read` gives for it, in order, some of them read ahead: a store far away takes long to answer,
    but may be asked several things at once."""
    if not names:
        return
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="journal") as pool:
        waiting: deque[tuple[str, Future[Data]]] = deque()
        for name in names:
            waiting.append((name, pool.submit(read, name)))
            if len(waiting) == 2 * _AHEAD:
                first, data = waiting.popleft()
                yield first, data.result()
        for name, data in waiting:
            yield name, data.result()


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
