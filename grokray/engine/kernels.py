"""The functions that a training step is made of, for one shape and the options in use, eager or compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from grokray.engine.attention import form_of
from grokray.engine.evaluation import row_sums
from grokray.engine.filters import grokfast, orthograd
from grokray.engine.gradient import eager_gradient, functional_gradient
from grokray.engine.model import Batch, dropout_elements
from grokray.engine.muon import make_muon
from grokray.engine.optimizer import (
    PART_RATES,
    RATES,
    Update,
    adam,
    adamw,
    by_part,
    coefficients,
    coefficients_by_part,
    sgd,
)
from grokray.engine.precision import in_precision
from grokray.engine.randomness import NOISE_PURPOSE, dropout_mask, gaussian, stream_of, streams_of
from grokray.engine.shape import ShapeKey
from grokray.engine.threads import has_small_products, of_many_rows, with_one_thread
from grokray.trial import MODEL_PARTS

OPTIONS = ("dropout", "weight_noise", "input_noise", "gradient_noise")
# On a GPU Inductor tries out which of several kernels is the fastest at that moment. Where they round differently it
# must not, or the same bucket, compiled on another machine, would compute another trial.
COMPILER_OPTIONS: dict[str, Any] = {"deterministic": True}
# Of a process: to PyTorch all that is compiled here is one function. All shapes, widths and options are wanted.
GRAPHS = 1 << 20
LIMITS = ("recompile_limit", "accumulated_recompile_limit")

Compile = Callable[[str, Callable[..., Any]], Callable[..., Any]]  # name, function of tensors -> the same, compiled


class Kernels:
    """`options` are those of OPTIONS that any of the slots may use: what nobody uses costs nothing.

    `compile(name, function)` is handed each function by a name of its own; all of them take tensors alone. Where it
    traces them, `functional` is needed: gradients as a function instead of through autograd's graph. `s` are the slots'
    tensors (`Slots.span`).
    """

    def __init__(
        self,
        shape: ShapeKey,
        device: torch.device,
        options: Collection[str] = (),
        *,
        compile: Compile = lambda name, function: function,
        functional: bool = False,
    ) -> None:
        self.shape, self.options = shape, frozenset(options)
        form = form_of(shape, device, compiled=functional)
        gradient = (functional_gradient if functional else eager_gradient)(shape, form)
        self._gradient = in_precision(
            shape.precision,
            device,
            compile("gradient", partial(_gradient_of, gradient, shape, self.options)),
        )
        self._update = _whole_update(shape, device, compile)
        self._grokfast = compile("grokfast", _grokfast_of)
        self._orthograd = compile("orthograd", partial(orthograd, shape.layout))
        self._stream = compile("stream", stream_of)
        self._mask = compile("mask", partial(dropout_mask, dropout_elements(shape), shape.torch_dtype))
        self._streams: dict[str, Callable[..., Tensor]] = {}
        self._normal: dict[str, Callable[..., Tensor]] = {}
        for name, elements in _noise_elements(shape).items():
            self._streams[name] = compile(f"{name}_streams", partial(streams_of, NOISE_PURPOSE[name]))
            self._normal[name] = compile(name, partial(_noise_of, elements, shape.torch_dtype))
        self._used = shape.layout.used(device)
        self.row_sums = in_precision(shape.precision, device, compile("row_sums", partial(row_sums, shape, form=form)))
        if device.type == "cpu":
            self._share_among_threads()

    def _share_among_threads(self) -> None:
        """What small products make depends on their number, so one thread computes it."""
        if has_small_products(self.shape):
            self._gradient, self._update = with_one_thread(self._gradient), with_one_thread(self._update)
            self.row_sums = with_one_thread(self.row_sums)
        else:
            self.row_sums = of_many_rows(self.row_sums)

    def one_pass(self, s: dict[str, Tensor], batch: Batch, count: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient rows (slots, row_size) and losses (slots,) of one batch; `count` (slots,) int32 numbers a trial's
        batches from 0."""
        stream = self._stream(s["key"], count) if self.options else None
        rows, more = s["parameters"], []
        if "dropout" in self.options:
            more.append(self._mask(stream, s["dropout"]))
        if "input_noise" in self.options:
            more.append(self._noise("input_noise", s, stream))
        if "weight_noise" in self.options:
            rows = rows + self._noise("weight_noise", s, stream)
        given = [t for t in (batch.positions, batch.prefixes, batch.at) if t is not None]
        return self._gradient(rows, batch.tokens, batch.targets, batch.weight, *given, *more)

    def step(self, s: dict[str, Tensor], gradients: Tensor) -> None:
        """Change the parameters by gradient rows: noise, then the filter, then the optimiser."""
        if "gradient_noise" in self.options:
            # Nothing between the parameters, where it would add up.
            noise = self._noise("gradient_noise", s, self._stream(s["key"], s["step"]))
            gradients = gradients + noise.mul_(self._used)
        if self.shape.averages_gradients:
            alpha, strength = s["grokfast_alpha"], s["grokfast_lambda"]
            done = s["step"] + s["steps_before"]
            gradients = self._grokfast(gradients, s["average"], done, alpha, strength, s["active"])
        elif self.shape.gradient_filter == "orthograd":
            gradients = self._orthograd(s["parameters"], gradients)
        rates = (s[name] for name in (*RATES, *(PART_RATES if self.shape.rates_by_part else ())))
        self._update(s["parameters"], gradients, s["moment1"], s["moment2"], *rates)

    def _noise(self, name: str, s: dict[str, Tensor], stream: Tensor | None) -> Tensor:
        """Gaussian noise (slots, elements); its standard deviation is the slots' `name`."""
        return self._normal[name](self._streams[name](stream), s[name])


def update_of(shape: ShapeKey) -> Update:
    layout, muon = shape.layout, shape.optimizer == "muon"
    simple = {"adamw": adamw, "adam": adam, "sgd": sgd, "muon": adamw}[shape.optimizer]
    if not shape.rates_by_part:
        return make_muon(layout) if muon else simple
    runs = {part: layout.run(part) for part in MODEL_PARTS}
    # Outside the blocks there is no hidden matrix.
    return by_part(
        [(run, make_muon(layout, run) if muon and part == "blocks" else simple) for part, run in runs.items()]
    )


def _whole_update(shape: ShapeKey, device: torch.device, compile: Compile) -> Callable[..., None]:
    """With the coefficients, as one function for a CPU, where a library more takes seconds to build and the compiler
    keeps what is stacked. For a GPU it would work them out anew for every parameter."""
    of_rates = partial(coefficients_by_part if shape.rates_by_part else coefficients, dtype=shape.torch_dtype)
    update = update_of(shape)
    if device.type == "cpu":
        return compile("update", partial(_update_at_rates, update, of_rates))
    return partial(_update_at_rates, compile("update", update), compile("coefficients", of_rates))


def _update_at_rates(
    update: Update,
    coefficients_of: Callable[..., Tensor],
    parameters: Tensor,
    gradients: Tensor,
    moment1: Tensor,
    moment2: Tensor,
    *rates: Tensor,
) -> None:
    update(parameters, gradients, moment1, moment2, coefficients_of(*rates))


@cache
def inductor_kernels(shape: ShapeKey, device: torch.device, options: frozenset[str]) -> Kernels:
    """Kernels that torch.compile compiles when they are first called, anew for each width; equal ones are shared."""
    from torch._dynamo import config

    for limit in LIMITS:
        setattr(config, limit, max(getattr(config, limit), GRAPHS))
    # Advice to whoever writes a model, such as to let go of float32.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\._inductor\.")
    # Whole, or what the compiler cannot trace would be computed eagerly, without a word.
    compiled = partial(torch.compile, dynamic=False, fullgraph=True, options=COMPILER_OPTIONS)
    return Kernels(shape, device, options, compile=lambda _, function: compiled(function), functional=True)


def _gradient_of(
    gradient: Callable[..., tuple[Tensor, Tensor]],
    shape: ShapeKey,
    options: Collection[str],
    rows: Tensor,
    tokens: Tensor,
    targets: Tensor,
    weight: Tensor,
    *more: Tensor,
) -> tuple[Tensor, Tensor]:
    rest = iter(more)
    positions = None if shape.uniform else next(rest)
    prefixes, at = (next(rest), next(rest)) if shape.batch_sharing.length else (None, None)
    batch = Batch(tokens, positions, targets, weight, prefixes, at)
    mask = next(rest) if "dropout" in options else None
    return gradient(rows, batch, mask, next(rest) if "input_noise" in options else None)


def _grokfast_of(
    gradients: Tensor, average: Tensor, step: Tensor, alpha: Tensor, strength: Tensor, active: Tensor
) -> Tensor:
    return grokfast(gradients, average, step=step, alpha=alpha, strength=strength, active=active)


def _noise_elements(shape: ShapeKey) -> dict[str, int]:
    row = shape.layout.row_size
    inputs = shape.batch_size * shape.length * shape.dim_model
    return {"weight_noise": row, "input_noise": inputs, "gradient_noise": row}


def _noise_of(elements: int, dtype: torch.dtype, streams: Tensor, deviation: Tensor) -> Tensor:
    return gaussian(elements, dtype, streams) * deviation.to(dtype)[:, None]
