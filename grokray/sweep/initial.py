"""Trials that start from the weights of a checkpoint: `initial_checkpoint`, or some of them: `initial_parts`; and from
its moments: `initial_optimizer`.

Nothing else is taken: steps, warm-up and the order of batches begin anew. So such a trial is a function of its config
as any other is: of the checkpoint's weights and moments, by a hash, and not of where that lies.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from grokray.errors import CheckpointError, ConfigError, GrokrayError, Problem
from grokray.sweep.kept import load_checkpoint
from grokray.tasks.draft import DEFAULTS
from grokray.tasks.resolve import resolve
from grokray.trial import HASHES, TrialConfig
from grokray.wording import short, show

if TYPE_CHECKING:
    from torch import Tensor

    from grokray.engine.checkpoint import Checkpoint
    from grokray.sweep.parameters import Parameter
    from grokray.tasks.dataset import Dataset

FIELD, HASH, OPTIMIZER = "initial_checkpoint", "initial_checkpoint_hash", "initial_optimizer"
AVERAGING = "grokfast_ema"  # gradient_filter
ZERO, STATE = "zero", "checkpoint"  # values of OPTIMIZER
# What blocks of the same parameters may still differ in.
UNSEEN = ("num_heads", "norm", "activation")
# What decides which rows are held out.
SPLITTING = (
    *("operation", "modulus", "operand_limit", "split_seed", "split", "training_fraction"),
    *("list_rows", *HASHES),
)
AT_HAND = 8  # checkpoints; thousands of trials may start from one

Shapes = dict[str, tuple[int, ...]]


def resolved(parameters: Mapping[str, Any]) -> TrialConfig:
    """As `grokray.tasks.resolve`, with the hash of what the trial starts from. ConfigError where that cannot be read,
    has another hash than is given, or is of another model or optimizer."""
    config = resolve(parameters)
    if config.initial_checkpoint is None:
        return config
    stated = f"{FIELD} is {show(short(parameters[FIELD]))}"
    try:
        weights = _weights_at(config.initial_checkpoint)
    except GrokrayError as error:
        raise _refused(FIELD, f"{stated}, but {error}") from error
    found = weights.hash_of(config.initial_optimizer)
    if config.initial_checkpoint_hash not in (None, found):
        rule = f"but that of {config.initial_checkpoint} is {found}: they are not the same {_what(config)}"
        raise _refused(HASH, f"{HASH} is {config.initial_checkpoint_hash}, {rule}")
    if fault := _misfit(weights.shapes, _shapes_of(config), str(config.initial_parts)):
        raise _refused(FIELD, f"{stated}, but {fault}")
    if config.initial_optimizer == STATE and (fault := _other_optimizer(weights, config, parameters[FIELD])):
        raise _refused(OPTIMIZER, f"{OPTIMIZER} is {show(STATE)}, but {fault}")
    return config.model_copy(update={HASH: found})


def first_checkpoint(config: TrialConfig) -> Checkpoint:
    """The trial at step 0. CheckpointError where what it starts from has gone, or is another now."""
    from grokray.engine.start import before_training

    if config.initial_checkpoint is None:
        return before_training(config)
    weights = _weights_at(config.initial_checkpoint)
    found = weights.hash_of(config.initial_optimizer)
    if found != config.initial_checkpoint_hash:
        text = f"{config.initial_checkpoint} no longer holds the {_what(config)} that trial {config.id} starts from"
        raise CheckpointError(f"{text}: their hash is {found}, not {config.initial_checkpoint_hash}")
    return before_training(config, weights.checkpoint)


def hash_of(path: str, optimizer: str = ZERO) -> str:
    """Of what is taken of the checkpoint there. Raises as `load_checkpoint` does."""
    return _weights_at(path).hash_of(optimizer)


def file_of(path: str) -> bytes:
    """The checkpoint as a file of its own, moments included."""
    from grokray.engine.checkpoint import to_bytes

    return to_bytes(_weights_at(path).checkpoint)[0]


def optimizers(parameters: Mapping[str, Parameter]) -> list[str]:
    """Which values of `initial_optimizer` a search space's trials may have, the one that takes the most first."""
    parameter = parameters.get(OPTIMIZER)
    values = {ZERO} if parameter is None else {*parameter.values, *((ZERO,) if parameter.when else ())}
    return [value for value in (STATE, ZERO) if value in values]


def remarks(trials: Collection[TrialConfig]) -> Iterator[str]:
    """What of trials that start from checkpoints may mean something else than it seems."""
    pairs = [(trial, parent) for trial in trials if (parent := _parent(trial)) is not None]
    with_blocks = [(trial, parent) for trial, parent in pairs if "blocks" in str(trial.initial_parts)]
    for name in UNSEEN:
        values = [(getattr(trial, name), getattr(parent.config, name)) for trial, parent in with_blocks]
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
    def averages(self) -> bool:
        """Whether it has a gradient filter's moving average."""
        return "average" in self.checkpoint.tensors

    def value(self, name: str) -> object:
        """What the trial of the checkpoint had for a parameter; a file of before it was there, its default."""
        return self.checkpoint.config.get(name, DEFAULTS[name])

    def hash_of(self, optimizer: str) -> str:
        return self._hash_of_state if optimizer == STATE else self._hash_of_weights

    @cached_property
    def _hash_of_weights(self) -> str:
        from grokray.engine import checkpoint

        return checkpoint.hash_of(self.parameters)

    @cached_property
    def _hash_of_state(self) -> str:
        from grokray.engine import checkpoint

        return checkpoint.hash_of_state(self.checkpoint)

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


def _misfit(found: Shapes, wanted: Shapes, parts: str) -> str | None:
    from grokray.engine.shape import part_of

    for name in (*wanted, *found):
        if part_of(name) in parts.split(",") and (there := found.get(name)) != (here := wanted.get(name)):
            return f"{name} is {_size(there)} there and {_size(here)} in this trial"
    return None


def _other_optimizer(weights: _Weights, config: TrialConfig, path: str) -> str | None:
    """Why the moments there are of no use to the trial; None where they are."""
    if weights.value("optimizer") != config.optimizer:
        name, rule = "optimizer", "they have moments of different kinds"
    elif weights.averages != (config.gradient_filter == AVERAGING):
        name, rule = "gradient_filter", "a moving average of gradients must be in both or in neither"
    else:
        return None
    ours, theirs = show(getattr(config, name)), show(weights.value(name))
    return f"{name} is {theirs} in {show(short(path))} and {ours} in this trial: {rule}"


def _what(config: TrialConfig) -> str:
    return "weights and moments" if config.initial_optimizer == STATE else "weights"


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
