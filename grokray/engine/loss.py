"""Training losses of each answer token.

`cross_entropy` is softmax's: the negative logarithm of the right token's probability. `stablemax` (Prieto et al. 2025,
"Grokking at the Edge of Numerical Stability") puts s(x) = x + 1 for x ≥ 0, 1 / (1 − x) for x < 0 in the exponential's
place: s(x_i) / Σ s(x_j). It grows linearly, so that large logits neither absorb the small ones nor round the loss to
zero. Since log s(x) = ±log(1 + |x|), stablemax is the softmax of the logits so compressed. `mse` is the mean squared
distance of the logits from 1 at the right token and 0 at all others, as torch.nn.MSELoss has it of one-hot targets.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["cross_entropy", "stablemax", "mse"]


def answer_losses(logits: Tensor, wanted: Tensor, loss: Loss) -> Tensor:
    """logits (…, vocabulary_size), the right tokens (…) to the loss of each (…)."""
    if loss == "mse":
        one_hot = torch.arange(logits.shape[-1], device=logits.device) == wanted[..., None]
        return (logits - one_hot.to(logits.dtype)).square().mean(-1)
    return -log_probabilities(logits, loss).gather(-1, wanted[..., None]).squeeze(-1)


def log_probabilities(logits: Tensor, loss: Literal["cross_entropy", "stablemax"]) -> Tensor:
    """logits (…, vocabulary_size) to the logarithm of each token's probability, of the same shape."""
    return (_compressed(logits) if loss == "stablemax" else logits).log_softmax(-1)


def token_loss(logits: Tensor, targets: Tensor, weight: Tensor, loss: Loss = "cross_entropy") -> Tensor:
    """Loss per slot (slots,): the mean over a row's answer tokens, then the mean over rows.

    logits (slots, batch, answers, vocabulary_size), targets (slots, batch, answers) with −1 where not scored, weight
    (slots, batch), 1 for a row that is there. A long answer weighs as much as a short one.
    """
    scored = targets >= 0
    losses = answer_losses(logits, targets.clamp(min=0), loss)
    per_row = (losses * scored).sum(-1) / scored.sum(-1).clamp(min=1)
    return (per_row * weight).sum(1) / weight.sum(1).clamp(min=1)


def _compressed(x: Tensor) -> Tensor:
    # `clamp` passes a gradient on at its bound and `relu` does not: together 1 at x = 0, the right derivative.
    return x.clamp(min=0).log1p() - F.relu(-x).log1p()
