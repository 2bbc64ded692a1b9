"""Losses and gradient rows of one pass: through autograd where it runs eagerly, as a function for the compiler.

What is looked up is computed before the rows that look it up, stage by stage: tables of the first layer, then, where
batches share prefixes, keys and values of these, then the rows. Gradients come back the same way; between two stages
they are added up by `look_up_gradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from grokray.engine.attention import Form
from grokray.engine.embedding import look_up, look_up_gradient
from grokray.engine.first_layer import LookUps, gradients_of, looked_up, parted, tables_of
from grokray.engine.loss import token_loss
from grokray.engine.model import Batch, early_parameters, forward, keys_values
from grokray.engine.shape import ShapeKey

# function, arguments -> its results, and what takes their gradients to those of the arguments, as torch.func.vjp
Vjp = Callable[..., tuple[Any, Callable[[Any], tuple[Any, ...]]]]


class GradientFunction(Protocol):
    def __call__(
        self, rows: Tensor, batch: Batch, dropout: Tensor | None, input_noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """rows (slots, row_size) -> gradient rows (slots, row_size), losses (slots,); for dropout and noise see
        `model.forward`."""
        ...


def eager_gradient(shape: ShapeKey, form: Form = "products") -> GradientFunction:
    """`form` is that of attention."""
    return partial(_gradient, shape, autograd_vjp, form)


def functional_gradient(shape: ShapeKey, form: Form) -> GradientFunction:
    """The same as one graph, which the compiler can take whole."""
    return partial(_gradient, shape, functional_vjp, form)


def _gradient(
    shape: ShapeKey,
    vjp: Vjp,
    form: Form,
    rows: Tensor,
    batch: Batch,
    dropout: Tensor | None,
    input_noise: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    first, rest = parted(shape, shape.layout.views(rows))
    tables, back_to_first = vjp(partial(tables_of, shape), first)

    def losses_of(rest: dict[str, Tensor], begin: LookUps, past: Sequence[Tensor]) -> Tensor:
        return slot_losses(shape, rest, batch, dropout, input_noise, form=form, begin=begin, past=past)

    begin = looked_up(shape, tables, batch.tokens, shape.batch_sharing.length)
    if batch.prefixes is None or batch.at is None:
        losses, back = vjp(losses_of, rest, begin, [])
        of_rest, of_begin, _ = back(torch.ones_like(losses))
        looked = [(of_begin, batch.tokens)]
    else:
        begin_early, at = looked_up(shape, tables, batch.prefixes), batch.at
        kept, back_to_early = vjp(partial(keys_values, shape, form=form), early_parameters(shape, rest), begin_early)
        losses, back = vjp(losses_of, rest, begin, [look_up(of_layer, at) for of_layer in kept])
        of_rest, of_begin, of_past = back(torch.ones_like(losses))
        of_kept = [look_up_gradient(of_layer, at, batch.prefixes.shape[1]) for of_layer in of_past]
        of_early, of_begin_early = back_to_early(of_kept)
        of_rest = of_rest | {name: of_rest[name] + gradient for name, gradient in of_early.items()}
        looked = [(of_begin_early, batch.prefixes), (of_begin, batch.tokens)]
    (of_first,) = back_to_first(gradients_of(shape, looked))
    return shape.layout.rows({**of_rest, **of_first}), losses.detach()


def functional_vjp(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    results, back, *_ = torch.func.vjp(function, *arguments)
    return results, back


def autograd_vjp(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """torch.func.vjp, of which each operation is done at once."""
    leaves, structure = tree_flatten(arguments)
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    with torch.enable_grad():
        results = function(*tree_unflatten(leaves, structure))

    def back(gradients: Any) -> tuple[Any, ...]:
        found = torch.autograd.grad(tree_leaves(results), leaves, tree_leaves(gradients), materialize_grads=True)
        return tree_unflatten(list(found), structure)

    return tree_map(Tensor.detach, results), back


def slot_losses(
    shape: ShapeKey,
    parameters: dict[str, Tensor],
    batch: Batch,
    dropout: Tensor | None,
    input_noise: Tensor | None = None,
    *,
    form: Form = "products",
    begin: LookUps | None = None,
    past: Sequence[Tensor] = (),
) -> Tensor:
    """Training loss of each slot (slots,). No slot's loss depends on another slot's parameters."""
    logits = forward(
        *(shape, parameters, batch.tokens, batch.positions, dropout),
        input_noise=input_noise,
        form=form,
        begin=begin,
        past=past or None,
    )
    return token_loss(logits, batch.targets, batch.weight, shape.loss)
