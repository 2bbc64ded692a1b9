"""The journal: everything that happens to a trial, as JSON lines, one part file per writing process.

Every event has `t` (unix seconds) and `event`. A field marked `?` may be missing; numbers that are not finite are
written as null.

| event | written by | fields |
|---|---|---|
| `sweep` | driver | session, versions {package: version}, command, fingerprint {setting: value}, number? (from 1) |
| `suggest` | driver | configuration, parameters {name: value}, value_of? (an identical earlier configuration) |
| `trial` | driver | trial_id, index, configuration, seed?, config {every field of TrialConfig} |
| `start` | trainer | trial_id, attempt, step (0, or the checkpoint's), engine?, session? |
| `kernels` | trainer | trial_id, compiled: whether it is trained by compiled kernels |
| `measurement` | trainer | trial_id, attempt, step, metrics {name: value}, events? {see EVENT_FIELDS}, wall_time_s?, \
tasks? {task: metrics}, task_events? {task: events}, faults? {measure: what it raised} |
| `checkpoint` | trainer | trial_id, attempt, step, name, sha256, bytes? |
| `finish` | trainer | trial_id, attempt, step, outcome: grokked, budget, diverged |
| `failure` | driver | trial_id, attempt, error, fault: trial, engine, node, folder |
| `decision` | driver | trial_id, step, action: stop, audit (to be stopped, but chosen to run on), continue; rung?, \
metric?, value?, cutoff?, reason?, audit_probability?, raw?, fitted_step? {see trial_state.Decision} |
| `end` | driver | trial_id, outcome: grokked, budget, diverged, pruned, failed, stopped; step?, error? |
| `again` | driver | trial_id: it had ended as failed, and is tried again |
| `engine` | driver | engine, state: silent (it does not answer), answers (again), ended (it was given up); session? |
| `interrupt` | driver | session |

Clocks of two machines may be hours apart: `t` is not compared between processes, unless an older journal tells no more.
`wall_time_s` is the training time spent in this trial so far. After `end` a trial does not run again but for `again`.

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
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import UnionType
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
    "again": ("trial_id",),
    "engine": ("engine", "state"),
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
# Of other fields: they may be missing or null, but nothing else than these.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "sweep": ("number",),
    "suggest": ("value_of",),
    "measurement": ("events", "wall_time_s", "tasks", "task_events", "faults"),
    "end": ("step", "round"),
    "again": ("round",),
}
_TYPES: dict[str, type | UnionType] = {
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
    "outcome": str,
    "fault": str,
    "action": str,
    "state": str,
    "number": int,
    "round": int,
    "value_of": int,
    "events": dict,
    "tasks": dict,
    "task_events": dict,
    "faults": dict,
    "wall_time_s": int | float,
}
OF_EACH_TASK = ("tasks", "task_events")
# What `fault_of` goes through for each line: field, type, whether it must be there.
_RULES = {
    kind: tuple(
        (field, _TYPES.get(field), fields is REQUIRED)
        for fields in (REQUIRED, OPTIONAL)
        for field in fields.get(kind, ())
    )
    for kind in REQUIRED
}
UNHURRIED = ("measurement",)  # there are many, and nobody acts on one

Event = dict[str, Any]


class JournalWriter:
    """Appends events to a part file of its own. Threads may share it; processes may not.

    A local journal survives `kill -9` to the last event whose write returned. On an object store the measurements of
    the last five seconds may be lost, and what else was written in the last second; `flush` saves them.
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
        events = list(events)
        lines = [_encode({"t": now, **_checked(event)}) for event in events]
        if not lines:
            return
        with self._lock:
            # A full disk may have cut the line before: a line break keeps it from spoiling this one too.
            data = b"\n" * self._torn + b"\n".join(lines) + b"\n"
            self._torn = True
            self._stream.write(data)
            self._torn = False
        if any(event["event"] not in UNHURRIED for event in events):
            self._stream.hurry()

    def flush(self) -> None:
        """Bring everything to the disk or to the object store now."""
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fault_of(event: Any) -> str | None:
    """What is wrong with an event. An event of a kind that only a later version knows is sound."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it is no event"
    for field, expected, required in _RULES.get(event["event"], ()):
        value = event.get(field)
        if expected is not None and not isinstance(value, expected) and (required or value is not None):
            return f"{field} is {value!r}, but must be {_named(expected)}" if field in event else f"{field} is missing"
        if value is None and required and field not in event:
            return f"{field} is missing"
        if value and field in OF_EACH_TASK and not all(isinstance(of_task, dict) for of_task in value.values()):
            return f"{field} is {value!r}, but must have a dict for each task"
    return None


def _named(expected: type | UnionType) -> str:
    return getattr(expected, "__name__", str(expected))


def _checked(event: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = event.get("event")
    if kind not in REQUIRED:
        raise ValueError(f"event is {kind!r}, but must be one of {', '.join(REQUIRED)}")
    if fault := fault_of(event):
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
