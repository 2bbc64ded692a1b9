"""A trial out of its checkpoint, to be asked, decoded and measured, without training on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from pydantic import ValidationError
from torch import Tensor

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.evaluation import Evaluation
from grokray.engine.plain import Transformer, plain
from grokray.engine.seat import Seat
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.stack import Stack
from grokray.errors import CheckpointError, GrokrayError
from grokray.events import EventTracker
from grokray.tasks.dataset import Dataset, build_dataset
from grokray.tasks.expressions import ExpressionError
from grokray.tasks.families import FAMILIES
from grokray.tasks.operations import operations_of
from grokray.tasks.problems import names_in
from grokray.trial import TrialConfig


@dataclass(frozen=True, eq=False)
class Restored:
    """`model` is what was trained, as a torch module, and `dataset` what it was trained on: `dataset.table.tokens`
    (rows, length), `dataset.split.train`, `.heldout` and `.out_of_domain` (row numbers). `parameters` by the engine's
    names, each (*shape), on `device`; `step` and `metrics` are those of the checkpoint."""

    checkpoint: Checkpoint
    config: TrialConfig
    dataset: Dataset
    shape: ShapeKey
    parameters: dict[str, Tensor]
    device: torch.device

    def __repr__(self) -> str:
        return f"<trial {self.checkpoint.trial_id}, {self.config.operation}, at step {self.step:,}>"

    @property
    def step(self) -> int:
        return self.checkpoint.step

    @property
    def metrics(self) -> dict[str, float]:
        """As measured at that step; empty at step 0, and where the trial was stopped between two measurements."""
        return self.checkpoint.metrics

    @cached_property
    def model(self) -> Transformer:
        """Plain PyTorch modules with a copy of the parameters, in evaluation mode; see `grokray.engine.plain`."""
        return plain(self.shape, self.parameters, self.config.dropout).to(self.device)


def restored(checkpoint: Checkpoint, device: str = "cpu") -> Restored:
    """Raises CheckpointError if it is of a trial that this version does not know, or its tensors do not fit."""
    config = config_of(checkpoint)
    dataset = _dataset_of(checkpoint, config)
    shape = shape_of(dataset)
    found = {name: tuple(t.shape) for name, t in checkpoint.tensors["parameters"].items()}
    if found != {p.name: p.shape for p in shape.layout.parameters}:
        raise CheckpointError(f"the checkpoint of trial {checkpoint.trial_id} holds parameters of another model")
    parameters = {name: t.to(device) for name, t in checkpoint.tensors["parameters"].items()}
    return Restored(checkpoint, config, dataset, shape, parameters, torch.device(device))


def config_of(checkpoint: Checkpoint) -> TrialConfig:
    text = _unreadable(checkpoint)
    try:
        config = TrialConfig.model_validate(checkpoint.config)
    except ValidationError as error:
        raise CheckpointError(f"{text}: {names_in(error.errors())}") from error
    if config.operation not in FAMILIES:
        try:
            operations_of(config.operation)
        except ExpressionError as error:  # whatever is no known name is taken for an expression
            raise CheckpointError(f"{text}: operation {config.operation}") from error
    return config


def _dataset_of(checkpoint: Checkpoint, config: TrialConfig) -> Dataset:
    """Its values are sound each by itself, but may not go together where somebody has edited them."""
    text = f"{_unreadable(checkpoint)}: no table is made of operation {config.operation} with the other values"
    try:
        dataset = build_dataset(config)
    except GrokrayError:
        raise
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(text) from error
    if max(int(dataset.table.tokens.max()), int(dataset.table.targets.max())) >= dataset.vocabulary_size:
        raise CheckpointError(text)
    return dataset


def _unreadable(checkpoint: Checkpoint) -> str:
    return f"the checkpoint of trial {checkpoint.trial_id} cannot be read by this version"


def measure(trial: Restored) -> Evaluation:
    """Its losses and accuracies, computed just as while it trained: those of the measurement at the checkpoint's step.

    What is measured of the step itself (norms of the gradient and the update) is not to be had again.
    """
    stack = Stack(trial.shape, device=trial.device)
    seat = Seat(trial=trial.config.id, dataset=trial.dataset, tracker=EventTracker(), step=trial.checkpoint.step)
    stack.join(seat)
    stack.write(seat.trial, trial.checkpoint.tensors)
    return stack.measure([seat])[0]
