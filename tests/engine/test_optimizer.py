from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR

from grokray.engine.optimizer import adam, adamw, coefficients, column, sgd, warmed_up


def rates_of(**numbers: list[float]) -> dict[str, torch.Tensor]:
    """Of as many slots as there are numbers, whose defaults are those of a trial."""
    slots = len(next(iter(numbers.values())))
    defaults = {"active": 1.0, "learning_rate": 1e-2, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.98}
    defaults |= {"epsilon": 1e-8, "warmup_steps": 0.0, "steps_before": 0.0}
    defaults |= {"num_steps": 40.0, "learning_rate_fall": 0.0, "cosine": 0.0}
    values = {name: [default] * slots for name, default in defaults.items()} | numbers
    out = {name: torch.tensor(of_slots, dtype=torch.float64) for name, of_slots in values.items()}
    return {"step": torch.zeros(slots, dtype=torch.int32), **out}


def torchs_sgd(parameters, lr, betas, eps, weight_decay):
    return torch.optim.SGD(parameters, lr=lr, momentum=betas[0], weight_decay=0.0)


@pytest.mark.parametrize("warmup", [0, 1, 9])
@pytest.mark.parametrize(
    ("update", "theirs"), [(adamw, torch.optim.AdamW), (adam, torch.optim.Adam), (sgd, torchs_sgd)]
)
def test_equals_torchs_optimizer_with_linear_warmup(warmup, update, theirs):
    g = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(3, 8, generator=g), torch.randn(40, 3, 8, generator=g)
    learning_rate, decays = [1e-2, 3e-3, 1e-3], [0.0, 1.0, 0.3] if update is not sgd else [0.0] * 3
    betas, epsilon = [(0.9, 0.98), (0.0, 0.999), (0.95, 0.9)], [1e-8, 1e-3, 1e-12]

    rows = start.double().clone()
    beta1, beta2 = map(list, zip(*betas, strict=True))
    state = rates_of(
        learning_rate=learning_rate,
        weight_decay=decays,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        warmup_steps=[float(warmup)] * 3,
    )
    moment1, moment2 = torch.zeros_like(rows), torch.zeros_like(rows)
    for gradient in gradients.double():
        update(rows, gradient, moment1, moment2, coefficients(**state, dtype=rows.dtype))
        state["step"] += 1

    for k in range(3):
        p = torch.nn.Parameter(start[k].double().clone())
        optimizer = theirs([p], lr=learning_rate[k], betas=betas[k], eps=epsilon[k], weight_decay=decays[k])
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1 if warmup else 1.0, total_iters=max(warmup, 1))
        for gradient in gradients[:, k].double():
            p.grad = gradient.clone()
            optimizer.step()
            schedule.step()
        torch.testing.assert_close(rows[k], p.detach(), rtol=1e-12, atol=1e-12)


def test_each_slot_has_a_schedule_of_its_own_as_torchs():
    """40 steps, the first 8 of two slots of warm-up."""
    state = rates_of(
        learning_rate=[1e-2] * 4,
        warmup_steps=[0.0, 0.0, 8.0, 8.0],
        learning_rate_fall=[0.0, 1.0, 1.0, 0.75],
        cosine=[0.0, 0.0, 1.0, 0.0],
    )
    linear, cosine, start = LinearLR, CosineAnnealingLR, {"start_factor": 0.1, "total_iters": 8}
    found, wanted = [], []
    optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1e-2) for _ in range(4)]
    schedules = [
        ConstantLR(optimizers[0], 1.0),
        linear(optimizers[1], 1.0, 0.0, total_iters=40),
        SequentialLR(optimizers[2], [linear(optimizers[2], **start), cosine(optimizers[2], 32)], [8]),
        SequentialLR(
            optimizers[3], [linear(optimizers[3], **start), linear(optimizers[3], 1.0, 0.25, total_iters=32)], [8]
        ),
    ]
    for _ in range(40):
        found.append(column(coefficients(**state, dtype=torch.float64), "rate")[:, 0])
        wanted.append(torch.tensor([s.get_last_lr()[0] for s in schedules], dtype=torch.float64))
        state["step"] += 1
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
    torch.testing.assert_close(torch.stack(found), torch.stack(wanted), rtol=1e-12, atol=1e-15)


def test_sgds_decay_is_apart_from_its_momentum():
    rows, still = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    state = rates_of(learning_rate=[0.1], weight_decay=[0.5])
    for _ in range(3):
        sgd(rows, still, still.clone(), still.clone(), coefficients(**state, dtype=rows.dtype))
    torch.testing.assert_close(rows, torch.full_like(rows, (1 - 0.1 * 0.5) ** 3))


@pytest.mark.parametrize("update", [adamw, adam, sgd])
def test_an_inactive_slot_is_left_exactly_as_it_is(update):
    g = torch.Generator().manual_seed(0)
    rows, moment1, moment2 = (torch.randn(2, 5, generator=g).abs() for _ in range(3))
    before = [t[1].clone() for t in (rows, moment1, moment2)]
    state = rates_of(learning_rate=[0.1, 0.1], weight_decay=[0.0, 0.0], active=[1.0, 0.0], warmup_steps=[9.0, 9.0])
    state["step"] += 3
    changes = coefficients(**state, dtype=torch.float32)
    update(rows, torch.randn(2, 5, generator=g), moment1, moment2, changes)
    assert all(torch.equal(t[1], b) for t, b in zip((rows, moment1, moment2), before, strict=True))
    assert not torch.equal(rows[0], before[0])


@pytest.mark.parametrize("update", [adamw, adam, sgd])
def test_a_free_slot_stays_zero(update):
    numbers = {name: [0.0] for name in rates_of(active=[0.0]) if name != "step"}
    rows, moment1, moment2 = (torch.zeros(1, 5) for _ in range(3))
    update(rows, torch.zeros(1, 5), moment1, moment2, coefficients(**rates_of(**numbers), dtype=torch.float32))
    assert not any(t.any() for t in (rows, moment1, moment2))  # not a number would count


def test_warm_up_is_per_slot():
    step = torch.tensor([0, 0, 3, 9, 50], dtype=torch.int32)
    warm = warmed_up(step, torch.tensor([0.0, 9.0, 6.0, 9.0, 100.0], dtype=torch.float64))
    torch.testing.assert_close(warm, torch.tensor([1.0, 0.1, 0.55, 1.0, 0.55], dtype=torch.float64))
