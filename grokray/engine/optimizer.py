"""AdamW with decoupled weight decay (Loshchilov & Hutter 2019), and Adam with coupled decay, everything per slot.

β = (0.9, 0.98), ε = 1e-8; the learning rate warms up linearly from 0.1 to 1 over `warmup_steps` steps. Formulas as in
torch.optim.AdamW, torch.optim.Adam and torch.optim.lr_scheduler.LinearLR. Muon has a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.98, 1e-8
WARMUP_START = 0.1

Update = Callable[..., None]  # with the arguments of `adamw`


@torch.no_grad()
def adamw(
    parameters: Tensor,
    gradients: Tensor,
    moment1: Tensor,
    moment2: Tensor,
    *,
    step: Tensor,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    warmup_steps: Tensor,
) -> None:
    """Update rows (slots, row_size) in place; an inactive slot is left exactly as it is. step (slots,) int32 counts the
    steps done before this one; learning_rate, weight_decay, active, warmup_steps (slots,) are float64."""
    t = step.to(torch.float64)
    rate = learning_rate * warmed_up(step, warmup_steps) * active

    def column(x: Tensor) -> Tensor:
        return x.to(parameters.dtype)[:, None]

    size = column(rate / (1 - BETA1 ** (t + 1)))
    correction = column((1 - BETA2 ** (t + 1)).sqrt())
    moment1.lerp_(gradients, column((1 - BETA1) * active))
    moment2.add_(column((1 - BETA2) * active) * (gradients * gradients - moment2))
    parameters.mul_(column(1 - rate * weight_decay))
    parameters.sub_(size * moment1 / (moment2.sqrt() / correction + EPSILON))


@torch.no_grad()
def adam(
    parameters: Tensor, gradients: Tensor, moment1: Tensor, moment2: Tensor, *, weight_decay: Tensor, **rest: Tensor
) -> None:
    """As `adamw`, but the decay is added to the gradient, so that the moments see it too."""
    coupled = gradients + weight_decay.to(parameters.dtype)[:, None] * parameters
    adamw(parameters, coupled, moment1, moment2, weight_decay=torch.zeros_like(weight_decay), **rest)


def warmed_up(step: Tensor, warmup_steps: Tensor) -> Tensor:
    """The share (slots,) float64 of the learning rate that holds after so many steps; all of it without warm-up."""
    warm = WARMUP_START + (1 - WARMUP_START) * (step.to(torch.float64) / warmup_steps.clamp(min=1)).clamp(max=1)
    return torch.where(warmup_steps > 0, warm, 1.0)
