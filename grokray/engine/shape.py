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

from grokray.engine.precision import Precision
from grokray.engine.sharing import Sharing, batch_sharing_of, chunk_rows, sharing_of
from grokray.tasks.dataset import Dataset

ALIGN = 16  # floats
WORTH = 0.6  # of the work at rows: what saves less is not worth a table's detours
HIDDEN_MATRICES = ("qkv.weight", "out.weight", "ffn1.weight", "ffn2.weight")

Init = Literal["normal", "one", "zero", "xavier", "fan_in"]


@dataclass(frozen=True, kw_only=True)
class ShapeKey:
    """Trials of equal ShapeKey sit in one stack. Lengths count tokens; `uniform` says that every row's answer is
    read at the last `answers` positions; `batch_size` counts the rows that there is room for. The fields with defaults
    change what is computed, not the parameters."""

    num_layers: int
    dim_model: int
    num_heads: int
    norm: Literal["pre", "post", "input", "none"]
    vocabulary_size: int
    length: int
    answers: int
    uniform: bool
    batch_size: int
    dtype: Literal["float32", "float64"]
    accumulation_steps: int = 1
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    loss: Literal["cross_entropy", "stablemax", "mse"] = "cross_entropy"
    gradient_filter: Literal["none", "grokfast_ema", "orthograd"] = "none"
    precision: Precision = "float32"
    activation: Literal["gelu", "relu"] = "gelu"
    sharing: Sharing = Sharing()  # of an evaluation
    chunk_rows: int = 1024  # of one pass of an evaluation
    by_token: bool = False  # see `first_layer`
    batch_sharing: Sharing = Sharing()  # of a training batch
    rates_by_part: bool = False  # or one learning rate and one weight decay for all parameters

    @property
    def torch_dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "float64": torch.float64}[self.dtype]

    @property
    def normed_first(self) -> bool:
        """Whether a layer norm precedes attention."""
        return self.norm in ("pre", "input")

    @property
    def averages_gradients(self) -> bool:
        """Whether each slot keeps a moving average of its gradients."""
        return self.gradient_filter == "grokfast_ema"

    @cached_property
    def layout(self) -> Layout:
        return Layout(self)


def shape_of(dataset: Dataset) -> ShapeKey:
    config = dataset.config
    sharing = sharing_of(dataset.table, num_layers=config.num_layers, dim_model=config.dim_model)
    return ShapeKey(
        num_layers=config.num_layers,
        dim_model=config.dim_model,
        num_heads=config.num_heads,
        norm=config.norm,
        vocabulary_size=dataset.vocabulary_size,
        length=dataset.length,
        answers=dataset.answers,
        uniform=dataset.table.uniform,
        batch_size=_batch_rows(dataset),
        dtype=config.dtype,
        accumulation_steps=config.accumulation_steps,
        optimizer=config.optimizer,
        loss=config.loss,
        gradient_filter=config.gradient_filter,
        precision=config.precision,
        activation=config.activation,
        sharing=sharing,
        chunk_rows=chunk_rows(len(dataset.table.tokens), dataset.length - sharing.length, config.dim_model),
        by_token=_by_token(dataset),
        batch_sharing=_batch_sharing(dataset),
        rates_by_part=config.rates_by_part,
    )


def _batch_rows(dataset: Dataset) -> int:
    """How many rows a batch has room for: `batch_size`, and of more than the training rows little more than these.

    Rounded up to 2ⁿ or 3 · 2ⁿ, so that trials of nearly as many training rows still share a stack. Dropout and noise on
    inputs are drawn by the place in the batch, so there its size stays as it is given.
    """
    config, rows = dataset.config, len(dataset.split.train)
    if config.dropout or config.input_noise:
        return config.batch_size
    power = 1 << max(rows - 1, 1).bit_length()
    return min(config.batch_size, power * 3 // 4 if rows <= power * 3 // 4 else power)


def _by_token(dataset: Dataset) -> bool:
    """Whether the first layer's queries, keys and values are computed once for each token and position.

    Counted are multiplications at a position, forward and twice backward, as many for each of the maps that are
    computed there: those of the map, for every row or for every token, and those that add up the rows' gradients for
    each token. With noise on what is embedded every row is another.
    """
    config = dataset.config
    if config.input_noise:
        return False
    rows = _batch_rows(dataset)
    return dataset.vocabulary_size * (3 * config.dim_model + rows) < WORTH * 3 * config.dim_model * rows


def _batch_sharing(dataset: Dataset) -> Sharing:
    """With dropout, or noise on what is embedded, no two rows are computed alike."""
    config = dataset.config
    if config.dropout or config.input_noise:
        return Sharing()
    return batch_sharing_of(
        dataset.table,
        num_layers=config.num_layers,
        dim_model=config.dim_model,
        batch_size=_batch_rows(dataset),
        by_token=_by_token(dataset),
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

    @property
    def hidden_matrix(self) -> bool:
        """Whether it is a matrix between two hidden layers: no embedding, head, norm or bias."""
        return self.name.endswith(HIDDEN_MATRICES)


def part_of(parameter: str) -> str:
    """Which of MODEL_PARTS a parameter of this name belongs to."""
    if parameter.endswith("embedding"):
        return "embeddings"
    return "head" if parameter.startswith("head.") else "blocks"


class Layout:
    """The parameters of a shape and their places in a row of `row_size` numbers."""

    def __init__(self, shape: ShapeKey) -> None:
        self.parameters: list[Parameter] = []
        self.row_size = 0
        for name, dims, init, fan_in in _specification(shape):
            parameter = Parameter(name=name, shape=dims, init=init, fan_in=fan_in, offset=self.row_size)
            self.parameters.append(parameter)
            self.row_size += -(-parameter.size // ALIGN) * ALIGN

    def run(self, part: str) -> slice:
        """Where in a row one of MODEL_PARTS lies; `_specification` has each of them in one piece."""
        offsets = [p.offset for p in self.parameters if part_of(p.name) == part]
        after = [p.offset for p in self.parameters if p.offset > offsets[-1]]
        return slice(offsets[0], after[0] if after else self.row_size)

    def used(self, device: torch.device) -> Tensor:
        """(row_size,) bool: which places of a row hold a parameter, rather than lie between two."""
        used = torch.zeros(self.row_size, dtype=torch.bool)
        for p in self.parameters:
            used[p.offset : p.offset + p.size] = True
        return used.to(device)

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
    spec += [
        ("norm.weight", (d,), "one", 0),
        ("norm.bias", (d,), "zero", 0),
        ("head.weight", (d, s.vocabulary_size), "fan_in", d),
        ("head.bias", (s.vocabulary_size,), "fan_in", d),
    ]
    return spec if s.norm != "none" else [entry for entry in spec if "norm" not in entry[0]]
