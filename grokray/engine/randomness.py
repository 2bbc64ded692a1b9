"""Randomness as a function of (trial seed, purpose, step, element), never of a slot or a neighbour.

Initial weights and the order of batches come from CPU generators, so they are the same on every device. Dropout comes
from an integer hash computed in tensor operations, so it needs no state and runs on any device: element e of the
trial with key k at step t is kept or not whatever else is in the stack.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grokray.engine.shape import ShapeKey

_GOLDEN = 0x9E3779B97F4A7C15
_PURPOSE = {"init": 1, "order": 2, "dropout": 3}


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator for one purpose of one trial; `index` numbers the epochs or whatever repeats."""
    state = _splitmix64(_splitmix64(_splitmix64(seed) ^ _PURPOSE[purpose]) ^ index)
    return torch.Generator().manual_seed(state % 2**63)


def initial_parameters(shape: ShapeKey, seed: int) -> dict[str, Tensor]:
    """One trial's parameters, each (*shape) of the shape's dtype, as PyTorch's own modules would draw them.

    Embeddings are N(0, 1); linear layers uniform in ±1/√fan_in; the attention's input projection Xavier-uniform over
    its (3d, d) matrix, its biases zero (torch.nn.Embedding, Linear, MultiheadAttention). Always drawn in float32.
    """
    g = generator(seed, "init")
    out = {}
    for p in shape.layout.parameters:
        if p.init == "normal":
            value = torch.randn(p.shape, generator=g)
        elif p.init == "one":
            value = torch.ones(p.shape)
        elif p.init == "zero":
            value = torch.zeros(p.shape)
        else:
            bound = math.sqrt(6 / sum(p.shape)) if p.init == "xavier" else 1 / math.sqrt(p.fan_in)
            value = (torch.rand(p.shape, generator=g) * 2 - 1) * bound
        out[p.name] = value.to(shape.torch_dtype)
    return out


def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """A permutation (rows,) for one epoch of one trial."""
    return torch.randperm(rows, generator=generator(seed, "order", epoch))


def dropout_key(seed: int) -> Tensor:
    """Two int32 numbers (2,) that key a trial's dropout."""
    return torch.randint(-(2**31), 2**31, (2,), generator=generator(seed, "dropout")).to(torch.int32)


def dropout_mask(elements: int, key: Tensor, step: Tensor, rate: Tensor, dtype: torch.dtype) -> Tensor:
    """Multipliers (slots, elements), 0 or 1/(1 − rate), for all dropout sites of one step end to end.

    key (slots, 2) int32, step (slots,) int32, rate (slots,) float64 in [0, 1). An element is kept where
    hash(key, step, element) ≥ rate · 2³².
    """
    threshold = (rate * 2.0**32 - 2.0**31).clamp(-(2.0**31), 2.0**31 - 1).to(torch.int32)[:, None]
    scale = (1 / (1 - rate)).to(dtype)[:, None]
    stream = _mix(_mix(step * -1640531527 + key[:, 0]) + key[:, 1])[:, None]
    counter = torch.arange(elements, device=key.device, dtype=torch.int32) * -1640531527
    return torch.where(_mix(counter[None] + stream) >= threshold, scale, 0.0)


def _mix(x: Tensor) -> Tensor:
    """lowbias32 (Wellons, "Prospecting for hash functions") on int32; logical shifts spelled as shift and mask."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -2073319317  # 0x846ca68b as a signed number
    return x ^ ((x >> 16) & 0xFFFF)


def _splitmix64(x: int) -> int:
    """SplitMix64's output function: near seeds give unrelated numbers."""
    x = (x + _GOLDEN) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)
