"""AdamW with decoupled weight decay (Loshchilov & Hutter 2019), Adam with coupled decay, and gradient descent with
momentum, everything per slot.

The learning rate warms up linearly from 0.1 to 1 over `warmup_steps` steps, and may fall after them. Formulas as in
torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD and torch.optim.lr_scheduler.LinearLR and CosineAnnealingLR. Muon
has a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from grokray.trial import MODEL_PARTS

WARMUP_START = 0.1

# Of parameters, gradients, moment1, moment2 (slots, row_size) and coefficients; changes the first and the moments.
Update = Callable[..., None]
# What `coefficients` makes them of, by the slots' names, in its order.
RATES = (
    *("step", "steps_before", "active", "learning_rate", "weight_decay", "beta1", "beta2", "epsilon"),
    *("warmup_steps", "num_steps", "learning_rate_fall", "cosine"),
)
# And, where parts of a model have rates of their own, after them, the two of each part.
PART_RATES = tuple(f"{part}_{rate}" for part in MODEL_PARTS for rate in ("learning_rate", "weight_decay"))
COEFFICIENTS = ("mix1", "mix2", "keep", "size", "correction", "rate", "weight_decay", "epsilon", "active")


@torch.no_grad()
def coefficients(
    step: Tensor,
    steps_before: Tensor,
    active: Tensor,
    learning_rate: Tensor,
    weight_decay: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    epsilon: Tensor,
    warmup_steps: Tensor,
    num_steps: Tensor,
    learning_rate_fall: Tensor,
    cosine: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """COEFFICIENTS of each slot's update (slots, 9), computed in float64 and rounded to `dtype`.

    step (slots,) int32 counts the trial's steps done before this one, and steps_before those of the moments before its
    first; the others (slots,) are float64. The moments' correction counts both, the learning rate the trial's alone. An
    inactive slot has such ones that it is left exactly as it is.
    """
    t = step.to(torch.float64)
    left = 1 - learning_rate_fall * fallen(t, warmup_steps, num_steps, cosine)
    rate = learning_rate * warmed_up(t, warmup_steps) * left * active
    counted = t + steps_before + 1
    size = rate / (1 - beta1**counted)
    correction = (1 - beta2**counted).sqrt()
    columns = ((1 - beta1) * active, (1 - beta2) * active, 1 - rate * weight_decay, size, correction, rate)
    never_zero = epsilon * active + (1 - active)  # a free slot has no epsilon, and no moments to divide
    return torch.stack([*columns, weight_decay, never_zero, active], 1).to(dtype)


def coefficients_by_part(*rates: Tensor, dtype: torch.dtype) -> Tensor:
    """`coefficients` of each of MODEL_PARTS (slots, parts, 9), of the slots' RATES and then PART_RATES."""
    shared, own = dict(zip(RATES, rates, strict=False)), rates[len(RATES) :]
    found = [
        coefficients(**{**shared, "learning_rate": rate, "weight_decay": decay}, dtype=dtype)
        for rate, decay in zip(own[::2], own[1::2], strict=True)
    ]
    return torch.stack(found, 1)


def by_part(updates: Sequence[tuple[slice, Update]]) -> Update:
    """An update of whole rows, by `coefficients_by_part`, of one for each part and where in a row that lies."""

    @torch.no_grad()
    def update(parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, coefficients: Tensor) -> None:
        for (run, of_part), c in zip(updates, coefficients.unbind(1), strict=True):
            of_part(*(rows[:, run] for rows in (parameters, gradients, moment1, moment2)), c)

    return update


def column(coefficients: Tensor, name: str) -> Tensor:
    """(slots, 1)"""
    at = COEFFICIENTS.index(name)
    return coefficients[:, at : at + 1]


@torch.no_grad()
def adamw(parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, coefficients: Tensor) -> None:
    """Decay of its own, apart from the moments."""
    _adam(parameters, gradients, moment1, moment2, coefficients, keep=column(coefficients, "keep"))


@torch.no_grad()
def adam(parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, coefficients: Tensor) -> None:
    """As `adamw`, but the decay is added to the gradient, so that the moments see it too."""
    coupled = gradients + column(coefficients, "weight_decay") * parameters
    _adam(parameters, coupled, moment1, moment2, coefficients, keep=None)


@torch.no_grad()
def sgd(parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, coefficients: Tensor) -> None:
    """m ← β₁ m + g, then W ← (1 − ηλ) W − η m: torch.optim.SGD with momentum β₁, but for the decay, which is apart.
    Of `moment2` it uses nothing."""
    c = coefficients
    moment1.mul_(1 - column(c, "mix1")).add_(column(c, "active") * gradients)
    parameters.mul_(column(c, "keep")).sub_(column(c, "rate") * moment1)


def _adam(
    parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, c: Tensor, keep: Tensor | None
) -> None:
    moment1.lerp_(gradients, column(c, "mix1"))
    moment2.add_(column(c, "mix2") * (gradients * gradients - moment2))
    if keep is not None:
        parameters.mul_(keep)
    parameters.sub_(column(c, "size") * moment1 / (moment2.sqrt() / column(c, "correction") + column(c, "epsilon")))


def warmed_up(step: Tensor, warmup_steps: Tensor) -> Tensor:
    """The share (slots,) float64 of the learning rate that holds after so many steps; all of it without warm-up."""
    warm = WARMUP_START + (1 - WARMUP_START) * (step / warmup_steps.clamp(min=1)).clamp(max=1)
    return torch.where(warmup_steps > 0, warm, 1.0)


def fallen(step: Tensor, warmup_steps: Tensor, num_steps: Tensor, cosine: Tensor) -> Tensor:
    """The share (slots,) float64 of the learning rate's fall that lies behind: 0 until the end of the warm-up, 1 at
    `num_steps`, in between along a straight line, or half a cosine where that is 1."""
    share = ((step - warmup_steps) / (num_steps - warmup_steps).clamp(min=1)).clamp(0, 1)
    return torch.where(cosine > 0, (1 - torch.cos(math.pi * share)) / 2, share)
