from __future__ import annotations

import pytest
import torch

from grokray.engine.optimizer import adam, adamw, coefficients, warmed_up


@pytest.mark.parametrize("warmup", [0, 1, 9])
@pytest.mark.parametrize(("update", "theirs"), [(adamw, torch.optim.AdamW), (adam, torch.optim.Adam)])
def test_equals_torch_adamw_with_linear_warmup(warmup, update, theirs):
    g = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(3, 8, generator=g), torch.randn(40, 3, 8, generator=g)
    rates, decays = [1e-2, 3e-3, 1e-3], [0.0, 1.0, 0.3]

    rows = start.double().clone()
    state = {
        "step": torch.zeros(3, dtype=torch.int32),
        "learning_rate": torch.tensor(rates, dtype=torch.float64),
        "weight_decay": torch.tensor(decays, dtype=torch.float64),
        "active": torch.ones(3, dtype=torch.float64),
        "warmup_steps": torch.full((3,), warmup, dtype=torch.float64),
    }
    moment1, moment2 = torch.zeros_like(rows), torch.zeros_like(rows)
    for gradient in gradients.double():
        update(rows, gradient, moment1, moment2, coefficients(**state, dtype=rows.dtype))
        state["step"] += 1

    for k in range(3):
        p = torch.nn.Parameter(start[k].double().clone())
        optimizer = theirs([p], lr=rates[k], betas=(0.9, 0.98), eps=1e-8, weight_decay=decays[k])
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1 if warmup else 1.0, total_iters=max(warmup, 1))
        for gradient in gradients[:, k].double():
            p.grad = gradient.clone()
            optimizer.step()
            schedule.step()
        torch.testing.assert_close(rows[k], p.detach(), rtol=1e-12, atol=1e-12)


def test_an_inactive_slot_is_left_exactly_as_it_is():
    g = torch.Generator().manual_seed(0)
    rows, moment1, moment2 = (torch.randn(2, 5, generator=g).abs() for _ in range(3))
    before = [t[1].clone() for t in (rows, moment1, moment2)]
    adamw(
        rows,
        torch.randn(2, 5, generator=g),
        moment1,
        moment2,
        coefficients(
            step=torch.tensor([3, 3], dtype=torch.int32),
            learning_rate=torch.tensor([0.1, 0.1], dtype=torch.float64),
            weight_decay=torch.tensor([1.0, 1.0], dtype=torch.float64),
            active=torch.tensor([1.0, 0.0], dtype=torch.float64),
            warmup_steps=torch.tensor([9.0, 9.0], dtype=torch.float64),
            dtype=torch.float32,
        ),
    )
    assert all(torch.equal(t[1], b) for t, b in zip((rows, moment1, moment2), before, strict=True))
    assert not torch.equal(rows[0], before[0])


def test_warm_up_is_per_slot():
    step = torch.tensor([0, 0, 3, 9, 50], dtype=torch.int32)
    warm = warmed_up(step, torch.tensor([0.0, 9.0, 6.0, 9.0, 100.0], dtype=torch.float64))
    torch.testing.assert_close(warm, torch.tensor([1.0, 0.1, 0.55, 1.0, 0.55], dtype=torch.float64))
