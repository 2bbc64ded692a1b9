from __future__ import annotations

import math

import pytest
import torch

from grokray.engine.loss import log_probabilities, token_loss
from tests.engine.plain_training import plain_loss


def test_stablemax_by_hand():
    # s(1) = 2, s(0) = 1, s(−1) = 1/2
    p = log_probabilities(torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64), "stablemax").exp()
    torch.testing.assert_close(p, torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64) / 3.5)


@pytest.mark.parametrize("loss", ["cross_entropy", "stablemax", "mse"])
def test_loss_and_gradient_equal_the_plain_ones_per_slot_and_row(loss):
    g = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 6, 2, 5, generator=g, dtype=torch.float64) * 4).requires_grad_()
    targets = torch.randint(5, (3, 6, 2), generator=g)
    targets[:, 4, 1] = -1
    weight = torch.ones(3, 6, dtype=torch.float64)
    weight[1, 3:] = 0
    found = token_loss(logits, targets, weight, loss)
    wanted = []
    for k in range(3):
        rows = [b for b in range(6) if weight[k, b]]
        there = [targets[k, b] >= 0 for b in rows]
        losses = [
            plain_loss(loss, logits[k, b][scored], targets[k, b][scored]) for b, scored in zip(rows, there, strict=True)
        ]
        wanted.append(torch.stack(losses).mean())
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(found.sum(), logits)[0], torch.autograd.grad(sum(wanted), logits)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


def test_the_slope_of_stablemax_at_zero_is_that_of_both_sides():
    slopes = []
    for x in (-1e-7, 0.0, 1e-7):
        logits = torch.tensor([x, 1.0], dtype=torch.float64, requires_grad=True)
        slopes.append(torch.autograd.grad(log_probabilities(logits, "stablemax")[0], logits)[0][0].item())
    assert slopes == pytest.approx([2 / 3] * 3, rel=1e-5)


def test_stablemax_of_huge_logits_is_finite_in_float32():
    logits = torch.tensor([3e38, -3e38, 0.0])
    p = log_probabilities(logits, "stablemax")
    assert p.isfinite().all()
    assert p[1].item() == pytest.approx(-2 * math.log(3e38), rel=1e-5)
