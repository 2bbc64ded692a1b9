"""Attention among the few tokens of a row, in four forms that compute the same.

Tensors have rows of all slots in their first dimension, n. `seen` positions are those that a query attends to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor

from grokray.engine.precision import Precision, product, rounded
from grokray.engine.shape import ShapeKey

Form = Literal["products", "eager", "sums", "unrolled"]
SMALL_LENGTH = 8  # up to here, `sums` is faster than `products` when compiled
FEW = 16  # below, PyTorch's softmax takes several times as long: less than a vector's numbers
UNROLLED_LENGTH = 5  # the length of "x ∘ y =", and one more: pairs of positions grow with its square


def form_of(shape: ShapeKey, device: torch.device, *, compiled: bool) -> Form:
    """`products` of matrices, which are tiny here; `eager`, the same with a softmax that a CPU computes faster; `sums`
    over products of elements, which a compiler makes one with what comes before and after; or `unrolled`: each pair of
    positions by itself, so that a GPU reads queries, keys and values once and writes their gradients once, in a kernel
    forward and one backward, and an uncompiled CPU has long vectors to compute with."""
    of_cpu, few = device.type == "cpu", shape.uniform and shape.length <= UNROLLED_LENGTH
    # On a CPU nothing is gained by sums that are rounded as bf16's products are.
    if shape.precision == "bf16" if of_cpu else not compiled:
        return "products"
    if few and of_cpu != compiled:
        return "unrolled"
    if not compiled:
        return "eager"
    return "sums" if shape.length <= SMALL_LENGTH else "products"


def attend(
    q: Tensor, seen: Sequence[tuple[Tensor, Tensor]], mask: Tensor | None, form: Form, precision: Precision
) -> Tensor:
    """q (n, heads, answers, e), additive mask (…, answers, length) -> (n, heads, answers, e).

    `seen` are keys and values (n, heads, part, e) of the length, whole or in two parts, which are not put together, as
    that would copy them.
    """
    scores = [_scores(q, k, form, precision) for k, _ in seen]
    a = scores[0] if len(seen) == 1 else torch.cat(scores, -1)
    a = a if mask is None else a + mask
    a = _Softmax.apply(a) if form == "eager" else a.softmax(-1)
    if len(seen) == 1:
        return _mixed(a, seen[0][1], form, precision)
    parts = a.split([k.shape[2] for k, _ in seen], -1)
    early, late = (_mixed(part, v, form, precision) for part, (_, v) in zip(parts, seen, strict=True))
    return early + late


def _scores(q: Tensor, k: Tensor, form: Form, precision: Precision) -> Tensor:
    scale = q.shape[-1] ** -0.5
    if form in ("products", "eager"):
        return product(precision, torch.matmul, q * scale, k.transpose(-1, -2))
    q, k = rounded(precision, q), rounded(precision, k)
    return rounded(precision, (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(-1) * scale)


def _mixed(a: Tensor, v: Tensor, form: Form, precision: Precision) -> Tensor:
    if form in ("products", "eager"):
        return product(precision, torch.matmul, a, v)
    a, v = rounded(precision, a), rounded(precision, v)
    return rounded(precision, (a.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2))


class _Softmax(torch.autograd.Function):
    """Over the last dimension; of few numbers with that in front, as vectors are as long as all others then. PyTorch's
    own gradient of more than 16 is rounded by the number of threads."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        if x.shape[-1] >= FEW or x.shape[-1] == 1:  # of one number the sum below would be the number itself
            return x.softmax(-1)
        x = x.movedim(-1, 0).contiguous()
        shares = (x - x.amax(0)).exp_()
        return shares.div_(_sum(shares.unbind())).movedim(0, -1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (shares,) = ctx.saved_tensors
        weighed = shares * gradient
        few = shares.shape[-1] < FEW
        total = _sum(weighed.unbind(-1)).unsqueeze(-1) if few else weighed.sum(-1, keepdim=True)
        return weighed - shares * total


def attend_unrolled(
    queries: Sequence[Tensor], keys: Sequence[Tensor], values: Sequence[Tensor], precision: Precision
) -> Tensor:
    """Queries of the last positions, keys and values of all, each (n, heads, e) -> (n, queries, heads, e). A position
    sees itself and those before it."""
    keys, values = ([rounded(precision, t) for t in found] for found in (keys, values))
    first = len(keys) - len(queries)
    return torch.stack([_one(q, keys[: first + i + 1], values, precision) for i, q in enumerate(queries)], 1)


def _one(q: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], precision: Precision) -> Tensor:
    """One query's softmax over its keys, and the values mixed: (n, heads, e)."""
    if len(keys) == 1:
        return values[0]
    q = rounded(precision, q * q.shape[-1] ** -0.5)
    scores = [rounded(precision, (q * k).sum(-1, keepdim=True)) for k in keys]
    most = reduce(torch.maximum, [score.detach() for score in scores])  # it cancels, so it has no gradient
    shares = [(score - most).exp() for score in scores]
    total = _sum(shares)
    mixed = [rounded(precision, share / total) * v for share, v in zip(shares, values, strict=False)]
    return rounded(precision, _sum(mixed))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def causal_mask(length: int, like: Tensor) -> Tensor:
    at = torch.arange(length, device=like.device)
    return torch.where(at[None] > at[:, None], float("-inf"), 0.0).to(like.dtype)[None, None]


def answer_mask(length: int, positions: Tensor | None, answers: int, like: Tensor) -> Tensor | None:
    """The causal mask's rows at the answer positions; None where nothing is masked (one answer, read last)."""
    at = torch.arange(length, device=like.device)
    if positions is None:
        if answers == 1:
            return None
        return causal_mask(length, like)[:, :, -answers:]
    mask = torch.where(at > positions[..., None], float("-inf"), 0.0).to(like.dtype)
    return mask.reshape(-1, 1, answers, length)
