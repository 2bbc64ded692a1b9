"""Losses and gradient rows of one pass: through autograd where it runs eagerly, as a function for the compiler."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from grokray.engine.attention import Form
from grokray.engine.first_layer import Tables, gradients_of, looked_up, parted, tables_of
from grokray.engine.loss import token_loss
from grokray.engine.model import Batch, forward
from grokray.engine.shape import ShapeKey


class GradientFunction(Protocol):
    def __call__(
        self, rows: Tensor, batch: Batch, dropout: Tensor | None, input_noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """rows (slots, row_size) -> gradient rows (slots, row_size), losses (slots,); for dropout and noise see
        `model.forward`."""
        ...


def eager_gradient(shape: ShapeKey) -> GradientFunction:
    def gradient(
        rows: Tensor, batch: Batch, dropout: Tensor | None, input_noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        views = {name: v.detach().requires_grad_() for name, v in shape.layout.views(rows).items()}
        first, rest = parted(shape, views)
        tables = tables_of(shape, first)
        begin = tuple(t.detach().requires_grad_() for t in looked_up(shape, tables, batch.tokens))
        losses = slot_losses(shape, rest, batch, dropout, input_noise, begin=begin)
        grads = torch.autograd.grad(losses.sum(), [*rest.values(), *begin])
        of_rest, of_begin = grads[: len(rest)], grads[len(rest) :]
        of_first = torch.autograd.grad(tables, list(first.values()), gradients_of(shape, of_begin, batch.tokens))
        named = zip([*rest, *first], [*of_rest, *of_first], strict=True)
        return shape.layout.rows(dict(named)), losses.detach()

    return gradient


def functional_gradient(shape: ShapeKey, form: Form) -> GradientFunction:
    """The same as one graph, which the compiler can take whole; `form` is that of attention."""

    def gradient(
        rows: Tensor, batch: Batch, dropout: Tensor | None, input_noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        def total(rest: dict[str, Tensor], begin: Tables) -> tuple[Tensor, Tensor]:
            losses = slot_losses(shape, rest, batch, dropout, input_noise, form=form, begin=begin)
            return losses.sum(), losses

        first, rest = parted(shape, shape.layout.views(rows))
        tables, back, *_ = torch.func.vjp(partial(tables_of, shape), first)
        begin = looked_up(shape, tables, batch.tokens)
        (grads, of_begin), losses = torch.func.grad(total, argnums=(0, 1), has_aux=True)(rest, begin)
        (of_first,) = back(gradients_of(shape, of_begin, batch.tokens))
        return shape.layout.rows({**grads, **of_first}), losses.detach()

    return gradient


def slot_losses(
    shape: ShapeKey,
    parameters: dict[str, Tensor],
    batch: Batch,
    dropout: Tensor | None,
    input_noise: Tensor | None = None,
    *,
    form: Form = "products",
    begin: Tables | None = None,
) -> Tensor:
    """Training loss of each slot (slots,). No slot's loss depends on another slot's parameters."""
    logits = forward(
        *(shape, parameters, batch.tokens, batch.positions, dropout),
        input_noise=input_noise,
        form=form,
        begin=begin,
    )
    return token_loss(logits, batch.targets, batch.weight, shape.loss)
