"""Trials that start from the weights of a checkpoint: `initial_checkpoint`.

The weights alone are taken: steps, the optimizer's moments and the order of batches begin anew. So such a trial is a
function of its config as any other is: of what the checkpoint holds, by a hash, and not of where it lies.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from grokray.errors import CheckpointError, ConfigError, GrokrayError, Problem
from grokray.sweep.kept import load_checkpoint
from grokray.tasks.resolve import resolve
from grokray.trial import HASHES, TrialConfig
from grokray.wording import short, show

if TYPE_CHECKING:
    from torch import Tensor

    from grokray.engine.checkpoint import Checkpoint
    from grokray.tasks.dataset import Dataset

FIELD, HASH = "initial_checkpoint", "initial_checkpoint_hash"
# What a model of the same parameters may still differ in.
UNSEEN = ("num_heads", "norm", "activation")
# What decides which rows are held out.
SPLITTING = (
    *("operation", "modulus", "operand_limit", "split_seed", "split", "training_fraction"),
    *("list_rows", *HASHES),
)
AT_HAND = 8  # checkpoints; thousands of trials may start from one

Shapes = dict[str, tuple[int, ...]]


def resolved(parameters: Mapping[str, Any]) -> TrialConfig:
    """As `grokray.tasks.resolve`, with the hash of the weights that the trial starts from. ConfigError where these
    cannot be read, have another hash than is given, or are of another model."""
    config = resolve(parameters)
    if config.initial_checkpoint is None:
        return config
    stated = f"{FIELD} is {show(short(parameters[FIELD]))}"
    try:
        weights = _weights_at(config.initial_checkpoint)
    except GrokrayError as error:
        raise _refused(FIELD, f"{stated}, but {error}") from error
    if config.initial_checkpoint_hash not in (None, weights.hash):
        rule = f"but that of {config.initial_checkpoint} is {weights.hash}: they are not the same weights"
        raise _refused(HASH, f"{HASH} is {config.initial_checkpoint_hash}, {rule}")
    if fault := _misfit(weights.shapes, _shapes_of(config)):
        raise _refused(FIELD, f"{stated}, but {fault}")
    return config.model_copy(update={HASH: weights.hash})


def first_checkpoint(config: TrialConfig) -> Checkpoint:
    """The trial at step 0. CheckpointError where the weights that it starts from have gone, or are others now."""
    from grokray.engine.start import before_training

    if config.initial_checkpoint is None:
        return before_training(config)
    weights = _weights_at(config.initial_checkpoint)
    if weights.hash != config.initial_checkpoint_hash:
        text = f"{config.initial_checkpoint} no longer holds the weights that trial {config.id} starts from"
        raise CheckpointError(f"{text}: their hash is {weights.hash}, not {config.initial_checkpoint_hash}")
    return before_training(config, weights.parameters)


def hash_of(path: str) -> str:
    """Of the weights there. Raises as `load_checkpoint` does."""
    return _weights_at(path).hash


def file_of(path: str) -> bytes:
    """Those weights as a file of their own."""
    from grokray.engine.checkpoint import to_bytes

    return to_bytes(_weights_at(path).checkpoint)[0]


def remarks(trials: Collection[TrialConfig]) -> Iterator[str]:
    """What of trials that start from checkpoints may mean something else than it seems."""
    pairs = [(trial, parent) for trial in trials if (parent := _parent(trial)) is not None]
    for name in UNSEEN:
        values = [(getattr(trial, name), getattr(parent.config, name)) for trial, parent in pairs]
        if other := [value for value in values if value[0] != value[1]]:
            ours, theirs = other[0]
            yield f"{name} is {show(ours)}, but {show(theirs)} in {FIELD}: the same weights compute something else"
    apart = {tuple(getattr(trial, name) for name in SPLITTING): (trial, parent) for trial, parent in pairs}
    found = [_seen_before(trial, parent) for trial, parent in apart.values()]
    seen, held_out = max(found, default=(0, 1), key=lambda one: one[0] / one[1])
    if seen:
        cure = "with the same split_seed, split and training_fraction there would be none"
        yield f"{seen:,} of {held_out:,} held-out rows were trained on in {FIELD} and may be remembered; {cure}"


@dataclass(frozen=True, eq=False)
class _Weights:
    checkpoint: Checkpoint

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.checkpoint.tensors["parameters"]

    @cached_property
    def shapes(self) -> Shapes:
        return {name: tuple(tensor.shape) for name, tensor in self.parameters.items()}

    @cached_property
    def hash(self) -> str:
        from grokray.engine import checkpoint

        return checkpoint.hash_of(self.parameters)

    @cached_property
    def dataset(self) -> Dataset | None:
        """What they were trained on; None where that cannot be had any more."""
        from grokray.engine.restored import config_of
        from grokray.tasks.dataset import build_dataset

        try:
            return build_dataset(config_of(self.checkpoint))
        except GrokrayError:
            return None


def _weights_at(path: str) -> _Weights:
    return _read(path, _state(path))


@lru_cache(maxsize=AT_HAND)
def _read(path: str, state: tuple[int, int] | None) -> _Weights:
    """Again only where the file is another one by now."""
    return _Weights(load_checkpoint(path))


def _state(path: str) -> tuple[int, int] | None:
    """Time and size of a local file."""
    if "://" in path or not os.path.isfile(path):
        return None
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


_SHAPES: dict[tuple[object, ...], Shapes] = {}


def _shapes_of(config: TrialConfig) -> Shapes:
    from grokray.engine.shape import shape_of
    from grokray.tasks.dataset import build_dataset
    from grokray.tasks.tables import table_key

    key = (table_key(config), config.num_layers, config.dim_model, config.norm)
    if key not in _SHAPES:
        _SHAPES[key] = {p.name: p.shape for p in shape_of(build_dataset(config)).layout.parameters}
    return _SHAPES[key]


def _misfit(found: Shapes, wanted: Shapes) -> str | None:
    for name in (*wanted, *found):
        if (there := found.get(name)) != (here := wanted.get(name)):
            return f"{name} is {_size(there)} there and {_size(here)} in this trial"
    return None


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " × ".join(f"{n:,}" for n in shape)


def _parent(trial: TrialConfig) -> Dataset | None:
    """What the weights that it starts from were trained on."""
    return _weights_at(trial.initial_checkpoint).dataset if trial.initial_checkpoint else None


def _seen_before(trial: TrialConfig, parent: Dataset) -> tuple[int, int]:
    """How many of its held-out rows its weights were trained on, and how many there are."""
    from grokray.tasks.dataset import build_dataset

    ours = build_dataset(trial)
    rows = ours.table.tokens[ours.split.heldout].numpy()
    if ours.table.vocabulary.symbols != parent.table.vocabulary.symbols:
        return 0, len(rows)
    seen = {row.tobytes() for row in parent.table.tokens[parent.split.train].numpy()}
    return sum(row.tobytes() in seen for row in rows), len(rows)


def _refused(field: str, message: str) -> ConfigError:
    return ConfigError([Problem(field=field, message=message)])
