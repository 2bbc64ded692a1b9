"""AdamW with decoupled weight decay (Loshchilov & Hutter 2019), everything per slot.

β = (0.9, 0.98), ε = 1e-8; the learning rate warms up linearly from 0.1 to 1 over `warmup_steps` steps. Formulas as in
torch.optim.AdamW and torch.optim.lr_scheduler.LinearLR.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.98, 1e-8
WARMUP_START = 0.1


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
    warmup_steps: int,
) -> None:
    """Update rows (slots, row_size) in place. step (slots,) int32 counts the steps done before this one;
    learning_rate, weight_decay, active (slots,) are float64. An inactive slot is left exactly as it is."""
    t = step.to(torch.float64)
    warm = WARMUP_START + (1 - WARMUP_START) * (t / max(warmup_steps, 1)).clamp(max=1)
    if warmup_steps == 0:
        warm = torch.ones_like(t)
    rate = learning_rate * warm * active

    def column(x: Tensor) -> Tensor:
        return x.to(parameters.dtype)[:, None]

    size = column(rate / (1 - BETA1 ** (t + 1)))
    correction = column((1 - BETA2 ** (t + 1)).sqrt())
    moment1.lerp_(gradients, column((1 - BETA1) * active))
    moment2.add_(column((1 - BETA2) * active) * (gradients * gradients - moment2))
    parameters.mul_(column(1 - rate * weight_decay))
    parameters.sub_(size * moment1 / (moment2.sqrt() / correction + EPSILON))
