"""What a trial starts from: its first weights, and nothing learned yet, or what another trial has left."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.randomness import initial_parameters
from grokray.engine.shape import ShapeKey, part_of, shape_of
from grokray.engine.slots import states_of
from grokray.events import EventTracker
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig


def drawn_parameters(shape: ShapeKey, config: TrialConfig) -> dict[str, Tensor]:
    """The weights that follow from the config alone, each (*shape)."""
    return initial_parameters(shape, config.init_seed, config.init_scale, config.embedding_scale)


def before_training(config: TrialConfig, origin: Checkpoint | None = None) -> Checkpoint:
    """The trial at step 0: with those weights of `origin`, its `initial_checkpoint`, that its config takes, others
    drawn, and with moments that are zero, or those of `origin` where its config says so."""
    dataset = build_dataset(config)
    shape = shape_of(dataset)
    kinds, steps_before = _taken(config, origin)
    drawn = drawn_parameters(shape, config)
    zeros = {name: torch.zeros_like(p) for name, p in drawn.items()}
    kinds["parameters"] = {**drawn, **kinds.get("parameters", {})}
    events = asdict(EventTracker(threshold=config.threshold, sustain=config.sustain))
    return Checkpoint(
        config=config.model_dump(),
        trial_id=config.id,
        step=0,
        steps_before=steps_before,
        wall_time_s=0.0,
        events=events,
        task_events=dict.fromkeys(dataset.tasks_apart, events),
        tensors={kind: _of_dtype(kinds.get(kind, zeros), shape.torch_dtype) for kind in states_of(shape)},
    )


def _taken(config: TrialConfig, origin: Checkpoint | None) -> tuple[dict[str, dict[str, Tensor]], int]:
    """Tensors by kind, and how many steps the moments are of."""
    if origin is None:
        return {}, 0
    if config.initial_optimizer == "zero":
        taken = str(config.initial_parts).split(",")
        return {"parameters": {n: p for n, p in origin.tensors["parameters"].items() if part_of(n) in taken}}, 0
    return {**origin.tensors}, origin.steps_before + origin.step


def _of_dtype(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}
