"""Losses and gradient rows of one pass: through autograd where it runs eagerly, as a function for the compiler."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from grokray.engine.attention import Form
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
        losses = slot_losses(shape, views, batch, dropout, input_noise)
        grads = torch.autograd.grad(losses.sum(), list(views.values()))
        return shape.layout.rows(dict(zip(views, grads, strict=True))), losses.detach()

    return gradient


def functional_gradient(shape: ShapeKey, form: Form) -> GradientFunction:
    """The same as one graph, which the compiler can take whole; `form` is that of attention."""

    def gradient(
        rows: Tensor, batch: Batch, dropout: Tensor | None, input_noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        def total(views: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            losses = slot_losses(shape, views, batch, dropout, input_noise, form=form)
            return losses.sum(), losses

        grads, losses = torch.func.grad(total, has_aux=True)(shape.layout.views(rows))
        return shape.layout.rows(grads), losses.detach()

    return gradient


def slot_losses(
    shape: ShapeKey,
    parameters: dict[str, Tensor],
    batch: Batch,
    dropout: Tensor | None,
    input_noise: Tensor | None = None,
    *,
    form: Form = "products",
) -> Tensor:
    """Training loss of each slot (slots,). No slot's loss depends on another slot's parameters."""
    logits = forward(shape, parameters, batch.tokens, batch.positions, dropout, input_noise=input_noise, form=form)
    return token_loss(logits, batch.targets, batch.weight, shape.loss)
