"""What every peer trains: a model's sizes, the task's rows, and the rule of its optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve

BETA1, BETA2, EPSILON = 0.9, 0.98, 1e-8
WARMUP_START = 0.1

# Row numbers (trials, batch) of each next step's batches; None draws them at random.
Rows = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Case:
    """tokens (rows, length) · positions (rows, answers): the columns whose outputs are scored · targets (rows,
    answers), −1 where not scored · train (n,): the rows to learn from; all int64.

    `uniform`: every row is scored at the last `answers` columns. `pruned`: the last layer computes nothing else.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    width: int
    heads: int
    layers: int
    vocabulary: int
    length: int
    answers: int
    uniform: bool
    batch: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    tokens: Tensor
    positions: Tensor
    targets: Tensor
    train: Tensor
    pruned: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Case:
        """The case of a trial's parameters, as `grokray.tasks.resolve` takes them."""
        config = resolve(parameters)
        dataset = build_dataset(config)
        return cls(
            parameters=parameters,
            width=config.dim_model,
            heads=config.num_heads,
            layers=config.num_layers,
            vocabulary=dataset.vocabulary_size,
            length=dataset.length,
            answers=dataset.answers,
            uniform=dataset.table.uniform,
            batch=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup_steps=config.warmup_steps,
            tokens=dataset.table.tokens.long(),
            positions=dataset.table.positions.long(),
            targets=dataset.table.targets.long(),
            train=dataset.split.train.long(),
        )

    def to(self, device: str) -> Case:
        on = {name: getattr(self, name).to(device) for name in ("tokens", "positions", "targets", "train")}
        return replace(self, **on)

    def rows(self, trials: int) -> Rows:
        """Fresh training rows for every step, drawn with replacement on the device of the tables."""
        size = (trials, self.batch)
        return lambda: self.train[torch.randint(len(self.train), size, device=self.train.device)]

    def rate(self, step: int) -> float:
        """The learning rate of a step, numbered from 0."""
        share = min(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return self.learning_rate * (WARMUP_START + (1 - WARMUP_START) * share)

    @property
    def flops(self) -> float:
        """Floating-point operations of one model's step that are needed: matrix products alone, two operations per
        multiplication, the backward pass twice the forward one, the last layer only where answers are read."""
        d, t, a = self.width, self.length, self.answers
        whole = 12 * t * d * d + 2 * t * t * d
        last = 2 * t * d * d + 10 * a * d * d + 2 * a * t * d
        return 6.0 * self.batch * ((self.layers - 1) * whole + last + a * d * self.vocabulary)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Models in training. A call takes `steps` steps of each of `trials` models and gives their last losses (trials,),
    as the library's own array; the device may still be at work until `wait` returns."""

    call: Callable[[], Any]
    trials: int
    steps: int = 1
    wait: Callable[[], None] = lambda: None

    def __call__(self) -> Any:
        return self.call()

    def work(self) -> float:
        """One call; the trial-steps that it took."""
        self.call()
        return self.trials * self.steps


def compiled(function: Callable) -> Callable:
    """Compiled for each size anew: beyond its limit of sizes, PyTorch would run eagerly in silence."""
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, 256)
    return torch.compile(function, dynamic=False)


def waiting_for(device: str) -> Callable[[], None]:
    return torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
