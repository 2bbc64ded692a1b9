"""Products of matrices on a CPU, each slot's by itself, by the library that is faster there.

PyTorch multiplies float32 matrices by MKL, which keeps to AVX2 on AMD's processors. oneDNN, which PyTorch brings too,
uses the AVX-512 that newer ones have, and multiplies two and a half times as fast on Zen 5 (docs/log.md). What PyTorch
shows of it is `mkldnn._linear_pointwise`, x wᵀ + b of matrices x and w. It rounds a product in one way, however many
threads there are and wherever memory is aligned. Elsewhere, of small matrices and of other dtypes, PyTorch chooses.

Which of them it is, is a function of processor, dtype and shape alone: a trial must come out the same each time.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LEAST = 1 << 21  # multiplications of one slot's product: below, what a call takes is not won back
VARIABLE = "GROKRAY_ONEDNN"


@cache
def by_onednn() -> bool:
    """Whether oneDNN computes large products: on AMD's processors with AVX-512, always with $GROKRAY_ONEDNN set to 1,
    never with 0."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    wanted = os.environ.get(VARIABLE, "").strip()
    if wanted in ("0", "1"):
        return wanted == "1"
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _processor()


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
    if torch.compiler.is_dynamo_compiling():  # by torch.compile, for a GPU: it would trace all of this
        return False
    floats = a.device.type == "cpu" and a.dtype == torch.float32
    return floats and a.shape[1] * a.shape[2] * b.shape[2] >= LEAST and by_onednn()


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
