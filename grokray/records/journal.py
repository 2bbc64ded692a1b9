"""The journal: everything that happens to a trial, as JSON lines, one part file per writing process.

Every event has `t` (unix seconds) and `event`. A field marked `?` may be missing; numbers that are not finite are
written as null.

| event | written by | fields |
|---|---|---|
| `sweep` | driver | session, versions {package: version}, command, fingerprint {setting: value} |
| `suggest` | driver | configuration, parameters {name: value}, value_of? (an identical earlier configuration) |
| `trial` | driver | trial_id, index, configuration, seed?, config {every field of TrialConfig} |
| `start` | trainer | trial_id, attempt, step (0, or the checkpoint's), engine? |
| `kernels` | trainer | trial_id, compiled: whether it is trained by compiled kernels |
| `measurement` | trainer | trial_id, attempt, step, metrics {name: value}, events? {see EVENT_FIELDS}, wall_time_s?, \
tasks? {task: metrics}, task_events? {task: events} |
| `checkpoint` | trainer | trial_id, attempt, step, name, sha256, bytes? |
| `finish` | trainer | trial_id, attempt, step, outcome: grokked, budget, diverged |
| `failure` | driver | trial_id, attempt, error, fault: trial, engine, node |
| `decision` | driver | trial_id, step, action: stop, audit (to be stopped, but chosen to run on), continue; rung?, \
metric?, value?, cutoff?, reason?, audit_probability?, raw?, fitted_step? {see trial_state.Decision} |
| `end` | driver | trial_id, outcome: grokked, budget, diverged, pruned, failed, stopped; step?, error? |
| `interrupt` | driver | session |

`wall_time_s` is the training time spent in this trial so far. After `end` a trial never runs again.

    {"t":1767268800.25,"event":"finish","trial_id":"5d1c…","attempt":1,"step":2600,"outcome":"grokked"}
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from grokray.records.store import Store

JOURNAL = "journal"
REQUIRED: dict[str, tuple[str, ...]] = {
    "sweep": ("session", "versions", "command", "fingerprint"),
    "suggest": ("configuration", "parameters"),
    "trial": ("trial_id", "index", "configuration", "config"),
    "start": ("trial_id", "attempt", "step"),
    "kernels": ("trial_id", "compiled"),
    "measurement": ("trial_id", "attempt", "step", "metrics"),
    "checkpoint": ("trial_id", "attempt", "step", "name", "sha256"),
    "finish": ("trial_id", "attempt", "step", "outcome"),
    "failure": ("trial_id", "attempt", "error", "fault"),
    "decision": ("trial_id", "step", "action"),
    "end": ("trial_id", "outcome"),
    "interrupt": ("session",),
}
EVENT_FIELDS = (
    "memorization_step",
    "memorization_step_lower",
    "grok_step",
    "grok_step_lower",
    "ungrok_step",
    "train_phase_step",
    "heldout_phase_step",
)
_TYPES: dict[str, type] = {
    "trial_id": str,
    "index": int,
    "configuration": int,
    "attempt": int,
    "step": int,
    "compiled": bool,
    "metrics": dict,
    "config": dict,
    "parameters": dict,
    "versions": dict,
}
_CHUNK_BYTES = 4 << 20

Event = dict[str, Any]


class JournalWriter:
    """Appends events to a part file of its own. Threads may share it; processes may not.

    A local journal survives `kill -9` to the last event whose write returned. On an object store the last two
    seconds may be lost; `flush` saves them.
    """

    def __init__(self, store: Store, role: str) -> None:
        self.name = f"{JOURNAL}/{_part_name(role)}"
        self._stream = store.append_stream(self.name)
        self._lock = threading.Lock()
        self._torn = False

    def write(self, event: str, **fields: Any) -> None:
        """Append one event. ValueError if it is not in the vocabulary, or lacks a field."""
        self.write_many([{"event": event, **fields}])

    def write_many(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events, each a mapping with its `event`, in one write. `t` is now, unless given."""
        now = round(time.time(), 6)
        lines = [_encode({"t": now, **_checked(event)}) for event in events]
        if not lines:
            return
        with self._lock:
            # A full disk may have cut the line before: a line break keeps it from spoiling this one too.
            data = b"\n" * self._torn + b"\n".join(lines) + b"\n"
            self._torn = True
            self._stream.write(data)
            self._torn = False

    def flush(self) -> None:
        """Bring everything to the disk or to the object store now."""
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JournalReader:
    """Reads what was appended since it last looked. `damaged` counts the lines that could not be read."""

    def __init__(self, store: Store) -> None:
        self.damaged = 0
        self._store = store
        self._offsets: dict[str, int] = {}

    def poll(self) -> list[Event]:
        """The events appended since the last poll: each part in its order, the parts in that of their names."""
        return [event for chunk in self.chunks() for event in chunk]

    def chunks(self) -> Iterator[list[Event]]:
        """As `poll`, some thousand events at a time: for journals larger than memory."""
        for name, size in sorted(self._store.sizes(JOURNAL).items()):
            if name.endswith(".jsonl"):
                yield from self._read_part(name, size)

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
        events = [value for value in values if _fault(value) is None and isinstance(value.get("t"), int | float)]
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


def _fault(event: Any) -> str | None:
    """What is wrong with an event. An event of a kind that only a later version knows is sound."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it is no event"
    for field in REQUIRED.get(event["event"], ()):
        value = event.get(field)
        expected = _TYPES.get(field)
        if expected is not None and not isinstance(value, expected):
            return f"{field} is {value!r}, but must be {expected.__name__}"
        if field not in event:
            return f"{field} is missing"
    return None


def _checked(event: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = event.get("event")
    if kind not in REQUIRED:
        raise ValueError(f"event is {kind!r}, but must be one of {', '.join(REQUIRED)}")
    if fault := _fault(event):
        raise ValueError(f"event {kind!r}: {fault}")
    return event


def _encode(event: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(event, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:
        text = json.dumps(_finite(event), separators=(",", ":"), allow_nan=False)
    return text.encode()


def _finite(value: Any) -> Any:
    """The same with null for every number that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # a scalar of numpy or torch
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to the journal")


def _part_name(role: str) -> str:
    """`driver-20260101T120000.000000-node7-4711-9f3a.jsonl`: no two writers share one."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    host = re.sub(r"[^A-Za-z0-9.]+", "_", socket.gethostname()) or "host"
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', role)}-{now}-{host}-{os.getpid()}-{secrets.token_hex(2)}.jsonl"
