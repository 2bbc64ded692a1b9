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
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import Tensor

from grokray.errors import CheckpointError
from grokray.events import EventTracker
from grokray.tasks.problems import rule_of
from grokray.wording import show

FORMAT = 1
KINDS = ("parameters", "moment1", "moment2", "average")
# What torch.load and the look-ups after it raise for bytes that are something else.
_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, EOFError),
    *(RuntimeError, LookupError, TypeError, ValueError, AttributeError),
)


_STRICT = ConfigDict(strict=True, extra="forbid")
_HINTS = get_type_hints(EventTracker)
_EVENTS: dict[str, Any] = {f.name: (_HINTS[f.name], f.default) for f in fields(EventTracker)}
_Events: Any = create_model("_Events", __config__=_STRICT, **_EVENTS)


class _Head(BaseModel):
    """The types that a file's head must have: nobody who uses a checkpoint asks again."""

    model_config = ConfigDict(strict=True)

    config: dict[str, Any]
    trial_id: str
    step: int = Field(ge=0, le=10**18)
    steps_before: int = Field(default=0, ge=0, le=10**18)
    wall_time_s: float
    events: _Events  # pyright: ignore[reportInvalidTypeForm]
    metrics: dict[str, float | None] = {}
    task_events: dict[str, _Events] = {}  # pyright: ignore[reportInvalidTypeForm]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`tensors` holds `parameters`, `moment1`, `moment2` (and `average` where gradients are filtered), each name ->
    tensor (*shape) on the CPU; `config`, `events` over all rows, and `task_events` of several tasks are plain values.
    Batch order, dropout and noise need no state: they are functions of seed and step. `metrics` are those measured at
    this step, empty where the trial was saved between two measurements. `steps_before` are those of the optimizer with
    the trials that this one took its moments from."""

    config: dict[str, Any]
    trial_id: str
    step: int
    wall_time_s: float
    events: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    metrics: dict[str, float] = field(default_factory=dict)
    task_events: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps_before: int = 0

    def __repr__(self) -> str:
        return f"<checkpoint of trial {self.trial_id} at step {self.step:,}>"

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
        "steps_before": checkpoint.steps_before,
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
        _Head.model_validate(head)
        tensors = {kind: content[kind] for kind in KINDS if kind in content or kind != "average"}
        _check_tensors(tensors)
        # Who made the file of modules may have left parameters of them in it.
        tensors = {kind: {n: t.detach() for n, t in by_name.items()} for kind, by_name in tensors.items()}
    except ValidationError as e:
        raise CheckpointError(f"{name} is not a checkpoint of grokray: {_first_fault(e)}") from e
    except _UNREADABLE as e:
        raise CheckpointError(f"{name} is not a checkpoint of grokray") from e
    known = {field.name for field in fields(Checkpoint)} - {"tensors"}
    return Checkpoint(tensors=tensors, **{key: value for key, value in head.items() if key in known})


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits, of names, types, shapes and values, in whichever file they lie."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def hash_of_state(checkpoint: Checkpoint) -> str:
    """Likewise of all its tensors and the steps that its moments are of."""
    every = {f"{kind} {name}": t for kind, by_name in checkpoint.tensors.items() for name, t in by_name.items()}
    steps = torch.tensor(checkpoint.steps_before + checkpoint.step, dtype=torch.int64)
    return hash_of({**every, "steps": steps})


def _check_tensors(tensors: dict[str, Any]) -> None:
    """TypeError unless all kinds hold numbers for the same parameters."""
    for kind, by_name in tensors.items():
        if not all(_is_plain(tensor) for tensor in by_name.values()):
            raise TypeError(f"{kind} holds what is no tensor of numbers")
        if {n: t.shape for n, t in by_name.items()} != {n: t.shape for n, t in tensors["parameters"].items()}:
            raise TypeError(f"{kind} has others than the parameters")


def _is_plain(tensor: Any) -> bool:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
        return False
    return tensor.dtype in (torch.float32, torch.float64)


def _first_fault(error: ValidationError) -> str:
    """`step is '12', but must be a whole number`."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(word) for word in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"it knows no {where}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    return f"{where or 'its head'} is {show(fault['input'])}, but {rule_of(fault)}"
