"""The functions that a stack's step is made of, eager or compiled."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

import torch
from torch import Tensor

from grokray.engine.filters import grokfast
from grokray.engine.gradient import GradientFunction, eager_gradient, functional_gradient
from grokray.engine.model import Batch, dropout_elements
from grokray.engine.muon import make_muon
from grokray.engine.optimizer import Update, adam, adamw
from grokray.engine.randomness import NOISE_PURPOSE, counters, mask_of, normal_of, stream_of, streams_of
from grokray.engine.shape import ShapeKey

OPTIONS = ("dropout", "weight_noise", "input_noise", "gradient_noise")
GRAPHS = 256  # of one function, over all shapes, widths and options; beyond, PyTorch would run it eagerly in silence


class Kernels:
    """The functions of one shape; compiled ones are shared by equal shapes.

    `s` are the slots' tensors (`Slots.prefix`), `options` those of OPTIONS that any of the slots uses: what nobody uses
    costs nothing.
    """

    def __init__(self, shape: ShapeKey, device: torch.device, *, compiled: bool) -> None:
        self.shape, self.compiled = shape, compiled
        self.gradient: GradientFunction = _compiled_gradient(shape) if compiled else eager_gradient(shape)
        self.update: Update = _compiled_update(shape) if compiled else update_of(shape)
        self.grokfast: Callable[..., Tensor] = _compiled(grokfast) if compiled else grokfast
        self.mask_of = _compiled(mask_of) if compiled else mask_of
        self.normal_of = _compiled(normal_of) if compiled else normal_of
        self.stream_of = _compiled(stream_of) if compiled else stream_of
        self.streams_of = _compiled(streams_of) if compiled else streams_of
        self.used = shape.layout.used(device)

    def one_pass(
        self, s: dict[str, Tensor], batch: Batch, count: Tensor, options: Collection[str]
    ) -> tuple[Tensor, Tensor]:
        """Gradient rows (slots, row_size) and losses (slots,) of one batch; `count` (slots,) int32 numbers a trial's
        batches from 0."""
        shape, rows = self.shape, s["parameters"]
        mask = noise = None
        if "dropout" in options:
            counter = counters(dropout_elements(shape), rows.device)
            mask = self.mask_of(counter, self.stream_of(s["key"], count), s["dropout"], shape.torch_dtype)
        if "input_noise" in options:
            noise = self._noise("input_noise", shape.batch_size * shape.length * shape.dim_model, s, count)
        if "weight_noise" in options:
            rows = rows + self._noise("weight_noise", rows.shape[1], s, count)
        return self.gradient(rows, batch, mask, noise)

    def step(self, s: dict[str, Tensor], gradients: Tensor, options: Collection[str]) -> None:
        """Change the parameters by gradient rows: noise, then the filter, then the optimiser."""
        if "gradient_noise" in options:
            # Nothing between the parameters, where it would add up.
            gradients = gradients + self._noise("gradient_noise", gradients.shape[1], s, s["step"]).mul_(self.used)
        if self.shape.gradient_filter == "grokfast_ema":
            alpha, strength = s["grokfast_alpha"], s["grokfast_lambda"]
            state = {name: s[name] for name in ("step", "active")}
            gradients = self.grokfast(gradients, s["average"], alpha=alpha, strength=strength, **state)
        rates = {name: s[name] for name in ("step", "learning_rate", "weight_decay", "active", "warmup_steps")}
        self.update(s["parameters"], gradients, s["moment1"], s["moment2"], **rates)

    def _noise(self, name: str, elements: int, s: dict[str, Tensor], count: Tensor) -> Tensor:
        """Gaussian noise (slots, elements); its standard deviation is the slots' `name`."""
        streams = self.streams_of(self.stream_of(s["key"], count), NOISE_PURPOSE[name])
        normal = self.normal_of(counters(-(-elements // 2), streams.device), streams, self.shape.torch_dtype)
        return normal[:, :elements] * s[name].to(normal.dtype)[:, None]


def update_of(shape: ShapeKey) -> Update:
    if shape.optimizer == "muon":
        return make_muon(shape.layout)
    return {"adamw": adamw, "adam": adam}[shape.optimizer]


@cache
def _compiled_gradient(shape: ShapeKey) -> GradientFunction:
    return _compiled(functional_gradient(shape))


@cache
def _compiled_update(shape: ShapeKey) -> Update:
    return _compiled(update_of(shape))


@cache
def _compiled(function: Callable) -> Callable:
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    return torch.compile(function, dynamic=False)
