"""What trials must share to be stacked, and how one trial's parameters lie in its row.

Every parameter of every trial starts on a 64-byte boundary of one flat row, so that the optimiser is a handful of
operations on three matrices `(slots, row)`, whatever the model's depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from grokray.tasks.dataset import Dataset

ALIGN = 16  # floats

Init = Literal["normal", "one", "zero", "xavier", "fan_in"]


@dataclass(frozen=True, kw_only=True)
class ShapeKey:
    """Trials of equal ShapeKey sit in one stack. Lengths count tokens; `uniform` says that every row's answer is
    read at the last `answers` positions."""

    num_layers: int
    dim_model: int
    num_heads: int
    norm: Literal["pre", "post", "input"]
    vocabulary_size: int
    length: int
    answers: int
    uniform: bool
    batch_size: int
    warmup_steps: int
    dtype: Literal["float32", "float64"]

    @property
    def torch_dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "float64": torch.float64}[self.dtype]

    @cached_property
    def layout(self) -> Layout:
        return Layout(self)


def shape_of(dataset: Dataset) -> ShapeKey:
    config = dataset.config
    return ShapeKey(
        num_layers=config.num_layers,
        dim_model=config.dim_model,
        num_heads=config.num_heads,
        norm=config.norm,
        vocabulary_size=dataset.vocabulary_size,
        length=dataset.length,
        answers=dataset.answers,
        uniform=dataset.table.uniform,
        batch_size=config.batch_size,
        warmup_steps=config.warmup_steps,
        dtype=config.dtype,
    )


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One tensor of the model. Weights are stored `(in, out)`; `fan_in` bounds a uniform initial value."""

    name: str
    shape: tuple[int, ...]
    init: Init
    fan_in: int = 0
    offset: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Layout:
    """The parameters of a shape and their places in a row of `row_size` numbers."""

    def __init__(self, shape: ShapeKey) -> None:
        self.parameters: list[Parameter] = []
        self.row_size = 0
        for name, dims, init, fan_in in _specification(shape):
            parameter = Parameter(name=name, shape=dims, init=init, fan_in=fan_in, offset=self.row_size)
            self.parameters.append(parameter)
            self.row_size += -(-parameter.size // ALIGN) * ALIGN

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """rows (slots, row_size) -> each parameter as a view (slots, *shape)."""
        return {p.name: rows[:, p.offset : p.offset + p.size].unflatten(1, p.shape) for p in self.parameters}

    def rows(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Each parameter (slots, *shape) -> rows (slots, row_size), zeros between them."""
        parts = []
        for p in self.parameters:
            flat = parameters[p.name].reshape(-1, p.size)
            parts.append(flat)
            if p.size % ALIGN:
                parts.append(flat.new_zeros(flat.shape[0], -p.size % ALIGN))
        return torch.cat(parts, 1)


def _specification(s: ShapeKey) -> list[tuple[str, tuple[int, ...], Init, int]]:
    d, ff = s.dim_model, 4 * s.dim_model
    spec: list[tuple[str, tuple[int, ...], Init, int]] = [
        ("token_embedding", (s.vocabulary_size, d), "normal", 0),
        ("position_embedding", (s.length, d), "normal", 0),
    ]
    for i in range(s.num_layers):
        spec += [
            (f"{i}.norm1.weight", (d,), "one", 0),
            (f"{i}.norm1.bias", (d,), "zero", 0),
            (f"{i}.qkv.weight", (d, 3 * d), "xavier", 0),
            (f"{i}.qkv.bias", (3 * d,), "zero", 0),
            (f"{i}.out.weight", (d, d), "fan_in", d),
            (f"{i}.out.bias", (d,), "zero", 0),
            (f"{i}.norm2.weight", (d,), "one", 0),
            (f"{i}.norm2.bias", (d,), "zero", 0),
            (f"{i}.ffn1.weight", (d, ff), "fan_in", d),
            (f"{i}.ffn1.bias", (ff,), "fan_in", d),
            (f"{i}.ffn2.weight", (ff, d), "fan_in", ff),
            (f"{i}.ffn2.bias", (d,), "fan_in", ff),
        ]
    return [
        *spec,
        ("norm.weight", (d,), "one", 0),
        ("norm.bias", (d,), "zero", 0),
        ("head.weight", (d, s.vocabulary_size), "fan_in", d),
        ("head.bias", (s.vocabulary_size,), "fan_in", d),
    ]
