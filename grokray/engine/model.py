"""The decoder-only transformer, every tensor with a leading slot dimension.

Learned positions, feed-forward four times the width, dropout on the two residual branches of each layer.
`norm` places the layer norms: `post` (Vaswani et al. 2017, and Power et al.'s replication), `pre` (GPT-2), `input`
(the residual adds the normalised input), each with a final one before the head; or `none` (as in Nanda et al. 2023).

The last layer computes queries, feed-forward and logits only at the answer positions: the rest is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from grokray.engine.attention import Form, answer_mask, attend, attend_unrolled, causal_mask
from grokray.engine.embedding import look_up
from grokray.engine.first_layer import POSITIONS, TOKENS, LookUps
from grokray.engine.layers import activation, linear, linear_part, norm
from grokray.engine.shape import ShapeKey


class Batch(NamedTuple):
    """tokens (slots, batch, length) · positions (slots, batch, answers), or None where the shape is uniform ·
    targets (slots, batch, answers), −1 where not scored · weight (slots, batch), 1 for a row that is there.

    Where the shape has `batch_sharing`, `tokens` are those after the shared ones, which are in prefixes (slots,
    prefixes, shared length) · at (slots, batch) says which of them each row begins with."""

    tokens: Tensor
    positions: Tensor | None
    targets: Tensor
    weight: Tensor
    prefixes: Tensor | None = None
    at: Tensor | None = None


def forward(
    shape: ShapeKey,
    parameters: dict[str, Tensor],
    tokens: Tensor,
    positions: Tensor | None,
    dropout: Tensor | None = None,
    *,
    input_noise: Tensor | None = None,
    form: Form = "products",
    past: Sequence[Tensor] | None = None,
    begin: LookUps | None = None,
) -> Tensor:
    """Logits (slots, batch, answers, vocabulary_size).

    `dropout` (slots, dropout_elements(shape)) multiplies the residual branches; None leaves them whole.
    `input_noise` (slots, batch · length · dim_model) is added to the embedded inputs; None adds nothing.
    `form` is that of attention, see `attention.form_of`; `unrolled` is for uniform shapes.
    `past` are each layer's keys and values (slots, batch, n, 2 · dim_model) of the n tokens before `tokens`, none of
    which is an answer position.
    `begin` is what `first_layer.looked_up` finds, for who has its tables, or wants gradients: there is none through the
    look-up here.
    """
    slots, batch, length = tokens.shape
    before = 0 if past is None else past[0].shape[2]
    drop = _dropper(shape, batch, dropout)
    x, *made = begin or (look_up(parameters[TOKENS].detach(), tokens),)
    if not made:
        x = x + parameters[POSITIONS][:, None, before : before + length]
    if input_noise is not None:
        x = x + input_noise.view_as(x)
    length += before
    causal = causal_mask(length, x)[:, :, before:]
    for i in range(shape.num_layers):
        layer = _Layer(shape, parameters, i, drop, form, None if past is None else past[i])
        if i < shape.num_layers - 1:
            x = layer.first(x, made, causal) if i == 0 and made else layer(x, x, causal)
        else:
            at = None if positions is None else positions - before
            q, mask = _at(x, at, shape.answers), answer_mask(length, positions, shape.answers, x)
            if i == 0 and made:  # an only layer, by token
                queries, others = made
                x = layer.first(q, [_at(queries, at, shape.answers), others], mask)
            else:
                x = layer(x, q, mask)
    return linear(norm(shape, x, parameters, "norm"), parameters, "head", shape.precision)


def keys_values(
    shape: ShapeKey, parameters: dict[str, Tensor], begin: LookUps, *, form: Form = "products"
) -> list[Tensor]:
    """Each layer's keys and values (slots, batch, length, 2 · dim_model) of rows' first tokens, `forward`'s `past`;
    `begin` is what `first_layer.looked_up` finds of them."""
    x, *made = begin
    length = x.shape[2]
    if not made:
        x = x + parameters[POSITIONS][:, None, :length]
    causal = causal_mask(length, x)
    found = []
    for i in range(shape.num_layers):
        layer = _Layer(shape, parameters, i, lambda site, x: x, form)
        by_token = i == 0 and len(made) > 0  # bool() of a tuple is not traced by every version of the compiler
        found.append(made[-1][..., -2 * shape.dim_model :] if by_token else layer.keys_values(x))
        if i < shape.num_layers - 1:
            x = layer.first(x, made, causal) if by_token else layer(x, x, causal)
    return found


def early_parameters(shape: ShapeKey, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of the parameters that `keys_values` reads."""
    last = shape.num_layers - 1
    read = [f"{i}." for i in range(last)] + [f"{last}.qkv.", POSITIONS]
    read += [f"{last}.norm1."] if shape.normed_first else []
    return {name: p for name, p in parameters.items() if name.startswith(tuple(read))}


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
        form: Form,
        past: Tensor | None = None,
    ) -> None:
        self.shape, self.p, self.i, self.drop, self.past = shape, parameters, index, drop, past
        self.form: Form = form

    def __call__(self, x: Tensor, q: Tensor, mask: Tensor | None) -> Tensor:
        if self.shape.norm == "post":
            return self._behind(q, self._attention(x, q, mask))
        same = q is x
        h = self._norm1(x)
        hq = h if same else self._norm1(q)
        return self._behind(hq if self.shape.norm == "input" else q, self._attention(h, hq, mask))

    def first(self, x: Tensor, made: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Of what is added to, and queries, keys and values, as `_attended` takes them."""
        return self._behind(x, self._mix(made, x, mask))

    def _behind(self, x: Tensor, attended: Tensor) -> Tensor:
        """What comes behind attention, which is added to x."""
        r = x + attended
        if self.shape.norm == "post":
            r = self._norm1(r)
            return self._norm2(r + self._ffn(r))
        return r + self._ffn(self._norm2(r))

    def keys_values(self, x: Tensor) -> Tensor:
        h, d = x if self.shape.norm == "post" else self._norm1(x), self.shape.dim_model
        return linear_part(h, self.p, f"{self.i}.qkv", self.shape.precision, slice(d, None))

    def _norm1(self, x: Tensor) -> Tensor:
        return norm(self.shape, x, self.p, f"{self.i}.norm1")

    def _norm2(self, x: Tensor) -> Tensor:
        return norm(self.shape, x, self.p, f"{self.i}.norm2")

    def _attention(self, x: Tensor, q: Tensor, mask: Tensor | None) -> Tensor:
        d, name, precision = self.shape.dim_model, f"{self.i}.qkv", self.shape.precision
        if q is x:
            made = [linear(x, self.p, name, precision)]
        else:
            made = [linear_part(q, self.p, name, precision, slice(d))]
            made.append(linear_part(x, self.p, name, precision, slice(d, None)))
        return self._mix(made, q, mask)

    def _mix(self, made: Sequence[Tensor], q: Tensor, mask: Tensor | None) -> Tensor:
        mixed = self._unrolled(made) if self.form == "unrolled" else self._attended(made, mask)
        return self.drop(2 * self.i, linear(mixed.reshape_as(q), self.p, f"{self.i}.out", self.shape.precision))

    def _attended(self, made: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Of queries, keys and values (slots, batch, n, 3 · width), or queries and the others of other positions."""
        query, key, value = (part for t in made for part in self._by_head(t))
        seen = [(key, value)]
        if self.past is not None:
            key, value = self._by_head(self.past)
            seen.insert(0, (key, value))
        return attend(query, seen, mask, self.form, self.shape.precision).transpose(1, 2)

    def _unrolled(self, made: Sequence[Tensor]) -> Tensor:
        """Of the same. Everything is taken apart at once, so that the gradients are put together at once."""
        heads, d = self.shape.num_heads, self.shape.dim_model
        parts = [t.reshape(-1, t.shape[2] * t.shape[3] // d, heads, d // heads).unbind(1) for t in made]
        if len(parts) == 1:
            (whole,) = parts
            queries, keys, values = (whole[i::3] for i in range(3))
        else:
            queries, others = parts
            keys, values = others[::2], others[1::2]
        if self.past is not None:
            before = self.past.reshape(-1, 2 * self.past.shape[2], heads, d // heads).unbind(1)
            keys, values = (*before[::2], *keys), (*before[1::2], *values)
        return attend_unrolled(queries, keys, values, self.shape.precision)

    def _by_head(self, t: Tensor) -> list[Tensor]:
        """(slots, batch, n, k · width) -> k times (slots · batch, heads, n, e)"""
        d, heads = self.shape.dim_model, self.shape.num_heads
        if self.form == "sums" and t.device.type == "cpu" and t.shape[3] > d:
            # Put together by heads the gradient is computed in vectors. Put together in rows, the head is a quotient of
            # the place in the row, and the compiler computes one number after the other. To a GPU it is all the same.
            parts = t.reshape(-1, t.shape[2], t.shape[3] // d, heads, d // heads).unbind(2)
        else:
            parts = [part.reshape(-1, t.shape[2], heads, d // heads) for part in t.split(d, -1)]
        return [part.transpose(1, 2) for part in parts]

    def _ffn(self, x: Tensor) -> Tensor:
        precision = self.shape.precision
        hidden = activation(self.shape, linear(x, self.p, f"{self.i}.ffn1", precision))
        return self.drop(2 * self.i + 1, linear(hidden, self.p, f"{self.i}.ffn2", precision))


def _at(x: Tensor, positions: Tensor | None, answers: int) -> Tensor:
    """x (slots, batch, length, width) at the answer positions: (slots, batch, answers, width)."""
    if positions is None:
        return x[:, :, -answers:]
    return x.gather(2, positions[..., None].expand(*positions.shape, x.shape[-1]))


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
