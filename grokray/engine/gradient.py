"""Losses and gradient rows of one pass: through autograd where it runs eagerly, as a function for the compiler."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from grokray.engine.attention import Form
from grokray.engine.embedding import look_up, look_up_gradient
from grokray.engine.loss import token_loss
from grokray.engine.model import TOKENS, Batch, forward
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
        embedded = look_up(views[TOKENS].detach(), batch.tokens).requires_grad_()
        losses = slot_losses(shape, views, batch, dropout, input_noise, embedded=embedded)
        wanted = {name: v for name, v in views.items() if name != TOKENS}
        *grads, of_embedded = torch.autograd.grad(losses.sum(), [*wanted.values(), embedded])
        return _rows(shape, dict(zip(wanted, grads, strict=True)), of_embedded, batch), losses.detach()

    return gradient


def functional_gradient(shape: ShapeKey, form: Form) -> GradientFunction:
    """The same as one graph, which the compiler can take whole; `form` is that of attention."""

    def gradient(
        rows: Tensor, batch: Batch, dropout: Tensor | None, input_noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        def total(views: dict[str, Tensor], embedded: Tensor) -> tuple[Tensor, Tensor]:
            losses = slot_losses(shape, views, batch, dropout, input_noise, form=form, embedded=embedded)
            return losses.sum(), losses

        views = shape.layout.views(rows)
        embedded = look_up(views.pop(TOKENS), batch.tokens)
        (grads, of_embedded), losses = torch.func.grad(total, argnums=(0, 1), has_aux=True)(views, embedded)
        return _rows(shape, grads, of_embedded, batch), losses.detach()

    return gradient


def _rows(shape: ShapeKey, grads: dict[str, Tensor], of_embedded: Tensor, batch: Batch) -> Tensor:
    """Gradient rows (slots, row_size) of all parameters."""
    of_tokens = look_up_gradient(of_embedded, batch.tokens, shape.vocabulary_size)
    return shape.layout.rows({TOKENS: of_tokens, **grads})


def slot_losses(
    shape: ShapeKey,
    parameters: dict[str, Tensor],
    batch: Batch,
    dropout: Tensor | None,
    input_noise: Tensor | None = None,
    *,
    form: Form = "products",
    embedded: Tensor | None = None,
) -> Tensor:
    """Training loss of each slot (slots,). No slot's loss depends on another slot's parameters."""
    logits = forward(
        *(shape, parameters, batch.tokens, batch.positions, dropout),
        input_noise=input_noise,
        form=form,
        embedded=embedded,
    )
    return token_loss(logits, batch.targets, batch.weight, shape.loss)
