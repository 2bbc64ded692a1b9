"""The decoder-only transformer, every tensor with a leading slot dimension.

Learned positions, GELU, feed-forward four times the width, dropout on the two residual branches of each layer.
`norm` places the layer norms: `post` (Vaswani et al. 2017, and Power et al.'s replication), `pre` (GPT-2), `input`
(the residual adds the normalised input). A final layer norm precedes the head in each.

The last layer computes queries, feed-forward and logits only at the answer positions: the rest is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.precision import Precision, product
from grokray.engine.shape import ShapeKey

SMALL_LENGTH = 8  # up to here, attention as plain products and sums is the faster one when compiled


class Batch(NamedTuple):
    """tokens (slots, batch, length) · positions (slots, batch, answers), or None where the shape is uniform ·
    targets (slots, batch, answers), −1 where not scored · weight (slots, batch), 1 for a row that is there."""

    tokens: Tensor
    positions: Tensor | None
    targets: Tensor
    weight: Tensor


def forward(
    shape: ShapeKey,
    parameters: dict[str, Tensor],
    tokens: Tensor,
    positions: Tensor | None,
    dropout: Tensor | None = None,
    *,
    input_noise: Tensor | None = None,
    small: bool = False,
    past: Sequence[Tensor] | None = None,
) -> Tensor:
    """Logits (slots, batch, answers, vocabulary_size).

    `dropout` (slots, dropout_elements(shape)) multiplies the residual branches; None leaves them whole.
    `input_noise` (slots, batch · length · dim_model) is added to the embedded inputs; None adds nothing.
    `small` computes attention as products and sums instead of matrix products; not in bf16, which they would not round.
    `past` are each layer's keys and values (slots, batch, n, 2 · dim_model) of the n tokens before `tokens`, none of
    which is an answer position.
    """
    small = small and shape.precision != "bf16"
    slots, batch, length = tokens.shape
    before = 0 if past is None else past[0].shape[2]
    drop = _dropper(shape, batch, dropout)
    x = _embedded(parameters, tokens, before)
    if input_noise is not None:
        x = x + input_noise.view_as(x)
    length += before
    causal = _causal_mask(length, x)[:, :, before:]
    for i in range(shape.num_layers):
        layer = _Layer(shape, parameters, i, drop, small, None if past is None else past[i])
        if i < shape.num_layers - 1:
            x = layer(x, x, causal)
        else:
            q = _at(x, None if positions is None else positions - before, shape.answers)
            x = layer(x, q, _answer_mask(length, positions, shape.answers, x))
    return _linear(_norm(x, parameters, "norm"), parameters, "head", shape.precision)


def keys_values(shape: ShapeKey, parameters: dict[str, Tensor], tokens: Tensor, *, small: bool = False) -> list[Tensor]:
    """Each layer's keys and values (slots, batch, length, 2 · dim_model) of rows' first tokens, `forward`'s `past`."""
    small = small and shape.precision != "bf16"
    x = _embedded(parameters, tokens, 0)
    causal = _causal_mask(tokens.shape[2], x)
    found = []
    for i in range(shape.num_layers):
        layer = _Layer(shape, parameters, i, lambda site, x: x, small)
        found.append(layer.keys_values(x))
        x = layer(x, x, causal) if i < shape.num_layers - 1 else x
    return found


def dropout_elements(shape: ShapeKey) -> int:
    """Elements per slot over all dropout sites of a training step."""
    return sum(_dropout_sites(shape, shape.batch_size))


class _Layer:
    """One block; `x` (slots, batch, length, width) is attended to, and so is what comes before it, of which `past`
    holds the keys and values. `q` holds the positions that go on."""

    def __init__(
        self,
        shape: ShapeKey,
        parameters: dict[str, Tensor],
        index: int,
        drop: Callable,
        small: bool,
        past: Tensor | None = None,
    ) -> None:
        self.shape, self.p, self.i, self.drop, self.small, self.past = shape, parameters, index, drop, small, past

    def __call__(self, x: Tensor, q: Tensor, mask: Tensor | None) -> Tensor:
        norm = self.shape.norm
        if norm == "post":
            r = self._norm1(q + self._attention(x, q, mask))
            return self._norm2(r + self._ffn(r))
        same = q is x
        h = self._norm1(x)
        hq = h if same else self._norm1(q)
        r = (q if norm == "pre" else hq) + self._attention(h, hq, mask)
        return r + self._ffn(self._norm2(r))

    def keys_values(self, x: Tensor) -> Tensor:
        h, d = x if self.shape.norm == "post" else self._norm1(x), self.shape.dim_model
        weight, bias = self.p[f"{self.i}.qkv.weight"][..., d:], self.p[f"{self.i}.qkv.bias"][:, d:]
        return _affine(h, weight, bias, self.shape.precision)

    def _norm1(self, x: Tensor) -> Tensor:
        return _norm(x, self.p, f"{self.i}.norm1")

    def _norm2(self, x: Tensor) -> Tensor:
        return _norm(x, self.p, f"{self.i}.norm2")

    def _attention(self, x: Tensor, q: Tensor, mask: Tensor | None) -> Tensor:
        slots, batch = x.shape[:2]
        d, heads = self.shape.dim_model, self.shape.num_heads
        weight, bias = self.p[f"{self.i}.qkv.weight"], self.p[f"{self.i}.qkv.bias"]
        precision = self.shape.precision
        if q is x:
            query, key, value = _affine(x, weight, bias, precision).split(d, -1)
        else:
            query = _affine(q, weight[..., :d], bias[:, :d], precision)
            key, value = _affine(x, weight[..., d:], bias[:, d:], precision).split(d, -1)

        def by_head(t: Tensor) -> Tensor:
            return t.reshape(slots * batch, -1, heads, d // heads).transpose(1, 2)

        seen = [(by_head(key), by_head(value))]
        if self.past is not None:
            key, value = self.past.split(d, -1)
            seen.insert(0, (by_head(key), by_head(value)))
        attended = _attend(by_head(query), seen, mask, self.small, precision)
        mixed = attended.transpose(1, 2).reshape(slots, batch, -1, d)
        return self.drop(2 * self.i, _linear(mixed, self.p, f"{self.i}.out", precision))

    def _ffn(self, x: Tensor) -> Tensor:
        precision = self.shape.precision
        hidden = F.gelu(_linear(x, self.p, f"{self.i}.ffn1", precision))
        return self.drop(2 * self.i + 1, _linear(hidden, self.p, f"{self.i}.ffn2", precision))


class _Embedding(torch.autograd.Function):
    """Per-slot embedding: weights (slots, vocabulary, width), ids (slots, n) -> (slots, n, width).

    Its gradient is a product with one-hot rows: no atomic additions, so it repeats bit by bit on every device.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, ids: Tensor) -> Tensor:
        slots, vocabulary, width = weight.shape
        offset = torch.arange(slots, device=weight.device)[:, None] * vocabulary
        return F.embedding(ids + offset, weight.reshape(slots * vocabulary, width))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[1])
        ctx.vocabulary = inputs[0].shape[1]

    @staticmethod
    def backward(ctx, *grads):
        (ids,) = ctx.saved_tensors
        (grad,) = grads
        rows = torch.arange(ctx.vocabulary, device=grad.device)[None, :, None]
        return torch.bmm((rows == ids[:, None]).to(grad.dtype), grad), None


def _embedded(parameters: dict[str, Tensor], tokens: Tensor, first: int) -> Tensor:
    """tokens (slots, batch, length), the first of them at position `first` -> (slots, batch, length, width)."""
    slots, batch, length = tokens.shape
    ids = tokens.reshape(slots, batch * length)
    x = _Embedding.apply(parameters["token_embedding"], ids).view(slots, batch, length, -1)  # type: ignore[union-attr]
    return x + parameters["position_embedding"][:, None, first : first + length]


def _attend(
    q: Tensor, seen: Sequence[tuple[Tensor, Tensor]], mask: Tensor | None, small: bool, precision: Precision
) -> Tensor:
    """q (n, heads, answers, e), additive mask (…, answers, length) -> (n, heads, answers, e).

    `seen` are keys and values (n, heads, part, e) of the length, whole or in two parts, which are not put together, as
    that would copy them.
    """
    scores = [_scores(q, k, small, precision) for k, _ in seen]
    a = scores[0] if len(seen) == 1 else torch.cat(scores, -1)
    a = (a if mask is None else a + mask).softmax(-1)
    if len(seen) == 1:
        return _mixed(a, seen[0][1], small, precision)
    parts = a.split([k.shape[2] for k, _ in seen], -1)
    early, late = (_mixed(part, v, small, precision) for part, (_, v) in zip(parts, seen, strict=True))
    return early + late


def _scores(q: Tensor, k: Tensor, small: bool, precision: Precision) -> Tensor:
    scale = q.shape[-1] ** -0.5
    if small:
        return (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(-1) * scale
    return product(precision, torch.matmul, q * scale, k.transpose(-1, -2))


def _mixed(a: Tensor, v: Tensor, small: bool, precision: Precision) -> Tensor:
    return (a.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2) if small else product(precision, torch.matmul, a, v)


def _causal_mask(length: int, like: Tensor) -> Tensor:
    at = torch.arange(length, device=like.device)
    return torch.where(at[None] > at[:, None], float("-inf"), 0.0).to(like.dtype)[None, None]


def _answer_mask(length: int, positions: Tensor | None, answers: int, like: Tensor) -> Tensor | None:
    """The causal mask's rows at the answer positions; None where nothing is masked (one answer, read last)."""
    at = torch.arange(length, device=like.device)
    if positions is None:
        if answers == 1:
            return None
        return _causal_mask(length, like)[:, :, -answers:]
    mask = torch.where(at > positions[..., None], float("-inf"), 0.0).to(like.dtype)
    return mask.reshape(-1, 1, answers, length)


def _at(x: Tensor, positions: Tensor | None, answers: int) -> Tensor:
    """x (slots, batch, length, width) at the answer positions: (slots, batch, answers, width)."""
    if positions is None:
        return x[:, :, -answers:]
    return x.gather(2, positions[..., None].expand(*positions.shape, x.shape[-1]))


def _norm(x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    scaled = F.layer_norm(x, x.shape[-1:])
    return torch.addcmul(p[f"{name}.bias"][:, None, None], scaled, p[f"{name}.weight"][:, None, None])


def _linear(x: Tensor, p: dict[str, Tensor], name: str, precision: Precision) -> Tensor:
    return _affine(x, p[f"{name}.weight"], p[f"{name}.bias"], precision)


def _affine(x: Tensor, weight: Tensor, bias: Tensor, precision: Precision) -> Tensor:
    """x (slots, batch, n, in), weight (slots, in, out), bias (slots, out) -> (slots, batch, n, out)."""
    slots, batch, n, width = x.shape
    rows = x.reshape(slots, batch * n, width)
    if precision == "bf16":
        y = product(precision, torch.bmm, rows, weight) + bias[:, None]
    else:
        y = torch.baddbmm(bias[:, None], rows, weight)
    return y.view(slots, batch, n, -1)


def _dropout_sites(shape: ShapeKey, batch: int) -> list[int]:
    """Elements of each site: (attention, feed-forward) of every layer, the last one only at the answers."""
    full, last = batch * shape.length * shape.dim_model, batch * shape.answers * shape.dim_model
    return [full] * (2 * (shape.num_layers - 1)) + [last, last]


def _dropper(shape: ShapeKey, batch: int, dropout: Tensor | None) -> Callable[[int, Tensor], Tensor]:
    if dropout is None:
        return lambda site, x: x
    starts = [0]
    for n in _dropout_sites(shape, batch):
        starts.append(starts[-1] + n)
    return lambda site, x: x * dropout[:, starts[site] : starts[site + 1]].view_as(x)
