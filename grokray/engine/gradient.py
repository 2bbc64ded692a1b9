"""Losses and gradient rows of one step: eager through autograd, or compiled as one graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from grokray.engine.model import SMALL_LENGTH, Batch, dropout_elements, forward, token_loss
from grokray.engine.optimizer import adamw
from grokray.engine.randomness import dropout_mask
from grokray.engine.shape import ShapeKey

GradientFunction = Callable[[Tensor, Batch, Tensor | None], tuple[Tensor, Tensor]]


def eager_gradient(shape: ShapeKey) -> GradientFunction:
    """(rows, batch, dropout mask) -> gradient rows (slots, row_size), losses (slots,)."""

    def gradient(rows: Tensor, batch: Batch, dropout: Tensor | None) -> tuple[Tensor, Tensor]:
        views = {name: v.detach().requires_grad_() for name, v in shape.layout.views(rows).items()}
        losses = slot_losses(shape, views, batch, dropout)
        grads = torch.autograd.grad(losses.sum(), list(views.values()))
        return shape.layout.rows(dict(zip(views, grads, strict=True))), losses.detach()

    return gradient


def slot_losses(
    shape: ShapeKey, parameters: dict[str, Tensor], batch: Batch, dropout: Tensor | None, *, small: bool = False
) -> Tensor:
    """Training loss of each slot (slots,). No slot's loss depends on another slot's parameters."""
    logits = forward(shape, parameters, batch.tokens, batch.positions, dropout, small=small)
    return token_loss(logits, batch.targets, batch.weight)


class Kernels:
    """The three functions of a step for one shape, eager or compiled; compiled ones are shared by equal shapes."""

    def __init__(self, shape: ShapeKey, *, compiled: bool) -> None:
        self.compiled = compiled
        self.gradient: GradientFunction = _compiled_gradient(shape) if compiled else eager_gradient(shape)
        self.adamw: Callable[..., None] = _compiled(adamw) if compiled else adamw
        mask = _compiled(dropout_mask) if compiled else dropout_mask
        elements = dropout_elements(shape)

        def masks(key: Tensor, step: Tensor, rate: Tensor) -> Tensor:
            return mask(elements, key, step, rate, shape.torch_dtype)

        self.dropout_mask: Callable[[Tensor, Tensor, Tensor], Tensor] = masks


@cache
def _compiled_gradient(shape: ShapeKey) -> GradientFunction:
    small = shape.length <= SMALL_LENGTH

    def gradient(rows: Tensor, batch: Batch, dropout: Tensor | None) -> tuple[Tensor, Tensor]:
        def total(views: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            losses = slot_losses(shape, views, batch, dropout, small=small)
            return losses.sum(), losses

        grads, losses = torch.func.grad(total, has_aux=True)(shape.layout.views(rows))
        return shape.layout.rows(grads), losses.detach()

    return torch.compile(gradient, dynamic=False)


@cache
def _compiled(function: Callable) -> Callable:
    # The dropout hash is a graph of its own: inlined into the model's, it makes the compiler crawl.
    return torch.compile(function, dynamic=False)
