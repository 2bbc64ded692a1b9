"""What a trial starts from: its first weights, and nothing learned yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.randomness import initial_parameters
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.slots import states_of
from grokray.events import EventTracker
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig


def drawn_parameters(shape: ShapeKey, config: TrialConfig) -> dict[str, Tensor]:
    """The weights that follow from the config alone, each (*shape)."""
    return initial_parameters(shape, config.init_seed, config.init_scale, config.embedding_scale)


def before_training(config: TrialConfig, weights: Mapping[str, Tensor] | None = None) -> Checkpoint:
    """The trial at step 0, with the weights given, or else those that its config draws; moments are zero."""
    dataset = build_dataset(config)
    shape = shape_of(dataset)
    parameters = drawn_parameters(shape, config)
    if weights is not None:
        parameters = {name: weights[name].to(drawn.dtype) for name, drawn in parameters.items()}
    events = asdict(EventTracker(threshold=config.threshold, sustain=config.sustain))
    return Checkpoint(
        config=config.model_dump(),
        trial_id=config.id,
        step=0,
        wall_time_s=0.0,
        events=events,
        task_events=dict.fromkeys(dataset.tasks_apart, events),
        tensors={
            kind: parameters if kind == "parameters" else {n: torch.zeros_like(p) for n, p in parameters.items()}
            for kind in states_of(shape)
        },
    )
