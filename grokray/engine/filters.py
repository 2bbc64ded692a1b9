"""What is done to a gradient on its way to the optimiser."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def grokfast(
    gradients: Tensor, average: Tensor, *, step: Tensor, alpha: Tensor, strength: Tensor, active: Tensor
) -> Tensor:
    """Amplify what is slow in the gradients (slots, row_size): g + λh, where h ← αh + (1 − α)g starts as the first g.

    Grokfast-EMA (Lee et al. 2024, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients"), its start as in the
    authors' code. `average` (slots, row_size) is h and is updated in place, but for inactive slots; step (slots,)
    int32 counts the steps done before this one; alpha, strength (λ), active (slots,) are float64.
    """
    weight = torch.where(step == 0, 1.0, 1 - alpha) * active
    average.lerp_(gradients, weight.to(average.dtype)[:, None])
    return gradients + strength.to(average.dtype)[:, None] * average
