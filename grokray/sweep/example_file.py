"""Examples of a trial's answers, as JSON lines in the sweep's folder: `examples/<trial>.jsonl`.

    {"step": 200, "part": "heldout", "example": "8 + 5", "prediction": "14", "truth": "13", "match": false, …}

The fields: `grokray.engine.examples.examples`. A trial that goes on from a checkpoint writes again what it computes
again, so each example stands there once a step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from grokray.records.folder import EXAMPLES
from grokray.records.store import Store


class ExampleFile:
    """One trial's file, written by one process at a time; FolderError where the store cannot be written."""

    def __init__(self, store: Store, trial_id: str, *, from_step: int) -> None:
        """What is there of steps after `from_step` is removed, and so is a line that a crash cut short."""
        self._store, self.name = store, f"{EXAMPLES}/{trial_id}.jsonl"
        old = store.read_bytes(self.name) if store.exists(self.name) else b""
        self._content = b"".join(line for line in old.splitlines(keepends=True) if _is_kept(line, from_step))
        if self._content != old:
            store.write_atomic(self.name, self._content)

    def append(self, step: int, records: Iterable[Mapping[str, Any]]) -> None:
        lines = (json.dumps({"step": step, **record}, ensure_ascii=False) for record in records)
        data = "".join(f"{line}\n" for line in lines).encode()
        if self._store.is_local:
            with closing(self._store.append_stream(self.name)) as stream:
                stream.write(data)
        else:  # an object cannot grow
            self._content += data
            self._store.write_atomic(self.name, self._content)


def _is_kept(line: bytes, from_step: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["step"] <= from_step
    except (ValueError, KeyError, TypeError):
        return False
