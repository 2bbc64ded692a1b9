"""One trial's state in one safe file.

The file is a `torch.save` archive of tensors, numbers and strings only, so it loads with `weights_only=True` and runs
no code. A bit-flipped archive can load without a word: the sha256 of the bytes is kept (in the file's name, and in
the journal) and compared before anything is believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grokray.errors import CheckpointError

FORMAT = 1
KINDS = ("parameters", "moment1", "moment2", "average")
# What torch.load and the look-ups after it raise for bytes that are something else.
_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, EOFError),
    *(RuntimeError, LookupError, TypeError, ValueError, AttributeError),
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`tensors` holds `parameters`, `moment1`, `moment2` (and `average` where gradients are filtered), each name ->
    tensor (*shape) on the CPU; `config`, `events` over all rows, and `task_events` of several tasks are plain values.
    Batch order, dropout and noise need no state: they are functions of seed and step. `metrics` are those measured at
    this step, empty where the trial was saved between two measurements."""

    config: dict[str, Any]
    trial_id: str
    step: int
    wall_time_s: float
    events: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    metrics: dict[str, float] = field(default_factory=dict)
    task_events: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return sum(t.nbytes for by_name in self.tensors.values() for t in by_name.values())


def to_bytes(checkpoint: Checkpoint) -> tuple[bytes, str]:
    """The file's bytes and their sha256 in hexadecimal."""
    buffer = io.BytesIO()
    head = {
        "format": FORMAT,
        "config": checkpoint.config,
        "trial_id": checkpoint.trial_id,
        "step": checkpoint.step,
        "wall_time_s": checkpoint.wall_time_s,
        "events": checkpoint.events,
        "metrics": checkpoint.metrics,
        "task_events": checkpoint.task_events,
    }
    torch.save({"head": json.dumps(head), **checkpoint.tensors}, buffer)
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def from_bytes(data: bytes, sha256: str | None = None, *, name: str = "checkpoint") -> Checkpoint:
    """Read what `to_bytes` wrote. CheckpointError if the bytes are not those, or not of this format."""
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise CheckpointError(f"{name} is damaged: its sha256 is {found}, but {sha256} was written")
    try:
        content = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        if not isinstance(content, dict):
            raise TypeError(f"holds a {type(content).__name__}")
        head = json.loads(content["head"])
        if head["format"] != FORMAT:
            raise CheckpointError(f"{name} has format {head['format']}, but this version reads format {FORMAT}")
        return Checkpoint(
            config=head["config"],
            trial_id=head["trial_id"],
            step=head["step"],
            wall_time_s=head["wall_time_s"],
            events=head["events"],
            tensors={kind: content[kind] for kind in KINDS if kind in content or kind != "average"},
            metrics=head.get("metrics", {}),
            task_events=head.get("task_events", {}),
        )
    except _UNREADABLE as e:
        raise CheckpointError(f"{name} is not a checkpoint of grokray") from e
