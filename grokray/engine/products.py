"""Products of matrices on a CPU, each slot's by itself, by the library that is faster there.

PyTorch multiplies float32 matrices by MKL, which keeps to AVX2 on AMD's processors. oneDNN, which PyTorch brings too,
uses the AVX-512 that newer ones have, and multiplies two and a half times as fast on Zen 5, and a tenth to a fifth
faster on Zen 4, whose units are half as wide (docs/log.md). What PyTorch shows of it is `mkldnn._linear_pointwise`,
x wᵀ + b of matrices x and w. It rounds a product in one way, however many threads there are and wherever memory is
aligned. Elsewhere, of small matrices and of other dtypes, PyTorch chooses.

Which of them it is, is a function of processor, dtype and shape alone: a trial must come out the same each time.
"""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokray.arguments import ONEDNN, switch


class Share(NamedTuple):
    """Which products are oneDNN's."""

    least: int  # multiplications of one slot's product: below, what a call takes is not won back
    copies: bool  # whether those too whose first factor must be copied, as that of a weight's gradient


ZEN_4 = Share(1 << 24, copies=False)
ZEN_5 = Share(1 << 21, copies=True)
ZEN_4_FAMILY = 25  # Zen 3 is of this family too, but has no AVX-512


@cache
def onednns() -> Share | None:
    """oneDNN's share: on AMD's processors with AVX-512 what pays there, the largest with $GROKRAY_ONEDNN set to 1; None
    elsewhere, and with 0."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return None
    wanted = switch(ONEDNN)
    if wanted is not None:
        return ZEN_5 if wanted else None
    processor = _processor()
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or "AuthenticAMD" not in processor:
        return None
    family = re.search(r"family\s*:?\s*(\d+)", processor, re.IGNORECASE)
    return ZEN_4 if family and int(family[1]) <= ZEN_4_FAMILY else ZEN_5


def is_for_cpu(t: Tensor) -> bool:
    """Whether a CPU will compute with it. What torch.compile traces is for a GPU, wherever its tensors are."""
    return t.device.type == "cpu" and not torch.compiler.is_dynamo_compiling()


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """torch.bmm of a (slots, n, k) and b (slots, k, m), for who takes no gradient through it."""
    if not _is_for_onednn(a, b):
        return torch.bmm(a, b)
    return _stacked([_product(x, y) for x, y in zip(a.unbind(), b.unbind(), strict=True)])


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (slots, rows, in), weight (slots, in, out), bias (slots, out) -> (slots, rows, out)"""
    if not _is_for_onednn(x, weight):
        return torch.baddbmm(bias[:, None], x, weight)
    return _Affine.apply(x, weight, bias)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        slots = zip(x.unbind(), weight.unbind(), bias.unbind(), strict=True)
        return _stacked([_linear(of_slot, w.mT, b) for of_slot, w, b in slots])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return bmm(gradient, weight.mT), bmm(x.mT, gradient), gradient.sum(1)


def _is_for_onednn(a: Tensor, b: Tensor) -> bool:
    if not is_for_cpu(a) or a.dtype != torch.float32 or (share := onednns()) is None:
        return False
    is_large = a.shape[1] * a.shape[2] * b.shape[2] >= share.least
    return is_large and (share.copies or a[0].is_contiguous())


def _stacked(of_slots: list[Tensor]) -> Tensor:
    """torch.stack, which would copy the one that a wide model's tile has."""
    return of_slots[0][None] if len(of_slots) == 1 else torch.stack(of_slots)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a (n, k) times b (k, m)"""
    # A first factor whose rows do not lie one after the other is copied: of two such factors, the smaller one.
    if not a.is_contiguous() and b.shape[1] < a.shape[0]:
        return _linear(b.mT, a).mT.contiguous()
    return _linear(a, b.mT)


def _linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x wᵀ + bias"""
    # Of a few columns of a wider matrix it would compute each element by itself, a hundred times as slowly.
    if not (w.is_contiguous() or w.mT.is_contiguous()):
        w = w.contiguous()
    return torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:  # no Linux
        return platform.processor()
