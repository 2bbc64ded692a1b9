"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"), everything per slot.

The hidden matrices take steps along an orthogonalised momentum; embeddings, head, norms and biases go by AdamW.

    m ← 0.95 m + 0.05 g        u = 0.05 g + 0.95 m (Nesterov)
    X ← u / |u|, then 5 times  X ← aX + (bA + cA²)X  with A = XXᵀ and (a, b, c) = (3.4445, −4.775, 2.0315)
    W ← (1 − ηλ) W − 0.2 √max(rows, columns) · η X

The last factor (Liu et al. 2025, "Muon is Scalable for LLM Training"; `match_rms_adamw` of torch.optim.Muon) makes an
update about as large as AdamW's, so that one learning rate and one weight decay serve all parameters. Queries, keys and
values are three matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from grokray.engine.optimizer import Update, adamw, column
from grokray.engine.shape import Layout, Parameter
from grokray.engine.sums import norms

MOMENTUM, EPSILON, ITERATIONS = 0.95, 1e-7, 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)
UPDATE_RMS = 0.2


def make_muon(layout: Layout, run: slice | None = None) -> Update:
    """An update like `optimizer.adamw` for rows of this layout, or for a `run` of each. Of `moment2` the hidden
    matrices use nothing."""
    start, stop = (0, layout.row_size) if run is None else (run.start, run.stop)
    matrices = [
        replace(p, offset=p.offset - start) for p in layout.parameters if p.hidden_matrix and start <= p.offset < stop
    ]
    others = list(_runs_between(matrices, stop - start))

    @torch.no_grad()
    def muon(parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, coefficients: Tensor) -> None:
        for run in others:
            adamw(parameters[:, run], gradients[:, run], moment1[:, run], moment2[:, run], coefficients)

        def of_slots(name: str) -> Tensor:
            return column(coefficients, name)[..., None]

        for p in matrices:
            w, g, m = (_matrix(t, p) for t in (parameters, gradients, moment1))
            m.lerp_(g, (1 - MOMENTUM) * of_slots("active"))
            direction = _orthogonal_parts(g.lerp(m, MOMENTUM), parts=3 if p.name.endswith("qkv.weight") else 1)
            w.mul_(of_slots("keep"))
            w.sub_(of_slots("rate") * direction)

    return muon


def orthogonalized(x: Tensor) -> Tensor:
    """x (n, rows, columns) with its singular values brought near 1 (between about 0.7 and 1.2), each matrix alone.

    A tall one is multiplied from the right rather than transposed, and norms are summed in float64: how the compiler
    lays out what is transposed, and how it adds up, depends on how many matrices there are.
    """
    tall = x.shape[1] > x.shape[2]
    x = x / norms(x.flatten(1)).to(x.dtype).clamp(min=EPSILON)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        flipped = x.transpose(1, 2)
        gram = torch.bmm(flipped, x) if tall else torch.bmm(x, flipped)
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, factor, beta=a) if tall else torch.baddbmm(x, factor, x, beta=a)
    return x


def _orthogonal_parts(x: Tensor, parts: int) -> Tensor:
    """Orthogonalise x (slots, rows, columns) in `parts` side by side, and scale to AdamW's size."""
    slots, rows, columns = x.shape
    width = columns // parts
    split = x.unflatten(2, (parts, width)).transpose(1, 2).reshape(slots * parts, rows, width)
    out = orthogonalized(split) * (UPDATE_RMS * math.sqrt(max(rows, width)))
    return out.unflatten(0, (slots, parts)).transpose(1, 2).reshape(slots, rows, columns)


def _runs_between(matrices: list[Parameter], row_size: int) -> Iterator[slice]:
    """The places of a row that are no matrix's, as few slices."""
    start = 0
    for p in matrices:
        if p.offset > start:
            yield slice(start, p.offset)
        start = p.offset + p.size
    if start < row_size:
        yield slice(start, row_size)


def _matrix(rows: Tensor, p: Parameter) -> Tensor:
    return rows[:, p.offset : p.offset + p.size].unflatten(1, p.shape)
