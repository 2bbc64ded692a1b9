"""Randomness as a function of (trial seed, purpose, step, element), never of a slot or a neighbour.

Initial weights and the order of batches come from CPU generators, so they are the same on every device. Dropout and
noise come from an integer hash computed in tensor operations, so they need no state and run on any device: element e
of the trial with key k at step t is kept or not whatever else is in the stack.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from grokray.engine.shape import ShapeKey

_GOLDEN = 0x9E3779B97F4A7C15
_PURPOSE = {"init": 1, "order": 2, "dropout": 3, "evaluation": 4}
NOISE_PURPOSE = {"weight_noise": 0x3C6EF372, "input_noise": 0x1BF58476, "gradient_noise": 0x54D049BB}


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator for one purpose of one trial; `index` numbers the epochs or whatever repeats."""
    state = _splitmix64(_splitmix64(_splitmix64(seed) ^ _PURPOSE[purpose]) ^ index)
    return torch.Generator().manual_seed(state % 2**63)


def initial_parameters(
    shape: ShapeKey, seed: int, scale: float = 1.0, embedding_scale: float = 1.0
) -> dict[str, Tensor]:
    """One trial's parameters, each (*shape) of the shape's dtype, as PyTorch's own modules would draw them.

    Embeddings are N(0, 1); linear layers uniform in ±1/√fan_in; the attention's input projection Xavier-uniform over
    its (3d, d) matrix, its biases zero (torch.nn.Embedding, Linear, MultiheadAttention). Always drawn in float32.
    All of them are multiplied by `scale` (Liu et al. 2022, "Omnigrok"); layer norms begin at one whatever it is.
    The two embeddings are multiplied by `embedding_scale` besides.
    """
    g = generator(seed, "init")
    drawn: Any = {"dtype": torch.float32, "device": "cpu"}  # whatever the program's defaults are
    out = {}
    for p in shape.layout.parameters:
        if p.init == "normal":
            value = torch.randn(p.shape, generator=g, **drawn) * (scale * embedding_scale)
        elif p.init == "one":
            value = torch.ones(p.shape, **drawn)
        elif p.init == "zero":
            value = torch.zeros(p.shape, **drawn)
        else:
            bound = math.sqrt(6 / sum(p.shape)) if p.init == "xavier" else 1 / math.sqrt(p.fan_in)
            value = (torch.rand(p.shape, generator=g, **drawn) * 2 - 1) * bound * scale
        out[p.name] = value.to(shape.torch_dtype)
    return out


def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """A permutation (rows,) for one epoch of one trial."""
    return torch.randperm(rows, generator=generator(seed, "order", epoch))


def dropout_key(seed: int) -> Tensor:
    """Two int32 numbers (2,) that key a trial's dropout and noise."""
    return torch.randint(-(2**31), 2**31, (2,), generator=generator(seed, "dropout")).to(torch.int32)


# A step's dropout and noise, in parts. Each is a graph of its own when compiled: the compiler writes out anew whatever
# a shift uses twice, so a chain of hashes in one graph grows by a factor of eight with each.


def stream_of(key: Tensor, step: Tensor) -> Tensor:
    """What sets a trial's hashes of one step apart (slots,) int32, of key (slots, 2) int32 and step (slots,) int32."""
    return _mix(_mix(step * -1640531527 + key[:, 0]) + key[:, 1])


def streams_of(purpose: int, stream: Tensor) -> Tensor:
    """Two of them (slots, 2) int32, for one of NOISE_PURPOSE."""
    first = _mix(stream + purpose)
    return torch.stack([first, _mix(first + purpose)], 1)


def dropout_mask(elements: int, dtype: torch.dtype, stream: Tensor, rate: Tensor) -> Tensor:
    """Multipliers (slots, elements), 0 or 1/(1 − rate), for all dropout sites of one step end to end.

    stream (slots,) int32, rate (slots,) float64 in [0, 1). An element is kept where hash(stream, element) ≥ rate · 2³².
    """
    threshold = (rate * 2.0**32 - 2.0**31).clamp(-(2.0**31), 2.0**31 - 1).to(torch.int32)[:, None]
    scale = (1 / (1 - rate)).to(dtype)[:, None]
    return torch.where(_mix(_counters(elements, stream.device)[None] + stream[:, None]) >= threshold, scale, 0.0)


def gaussian(elements: int, dtype: torch.dtype, streams: Tensor) -> Tensor:
    """Standard normal numbers (slots, elements), in ±5.9, by Box and Muller's transform of two 24-bit uniform numbers.

    streams (slots, 2) int32. One pair of hashes gives two elements. float32 and float64 differ by rounding alone.
    """
    first = _mix(_counters(-(-elements // 2), streams.device)[None] + streams[:, :1])
    second = _mix(first + streams[:, 1:])
    radius = (_uniform(first, dtype).log() * -2).sqrt()
    angle = _uniform(second, dtype) * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :elements]


def _counters(elements: int, device: torch.device) -> Tensor:
    """Where the hashes of so many elements begin (elements,) int32."""
    return torch.arange(elements, device=device, dtype=torch.int32) * -1640531527


def _uniform(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """int32 to (0, 1], by the upper 24 bits: all that float32 can tell apart."""
    return (((bits >> 8) & 0xFFFFFF).to(dtype) + 0.5) * 2.0**-24


def _mix(x: Tensor) -> Tensor:
    """On int32, the form of lowbias32 (Wellons, "Prospecting for hash functions"); logical shifts spelled as shift and
    mask. The second factor was to be his 0x846CA68B: this one's avalanche bias is 0.84 thousandths, his 0.17, and no
    dropout or noise shows it (docs/log.md). It stays, as with another one all trials with either would change."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -2073319317  # 0x846BA86B as a signed number
    return x ^ ((x >> 16) & 0xFFFF)


def _splitmix64(x: int) -> int:
    """SplitMix64's output function: near seeds give unrelated numbers."""
    x = (x + _GOLDEN) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)
