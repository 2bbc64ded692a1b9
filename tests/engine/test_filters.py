from __future__ import annotations

import torch

from grokray.engine.filters import grokfast

ALPHAS, STRENGTHS = [0.98, 0.5, 0.0], [2.0, 0.5, 1.0]


def numbers(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equals_the_written_out_recursion_in_every_slot():
    gradients = torch.randn(12, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    average, step = torch.full((3, 7), 99.0, dtype=torch.float64), torch.zeros(3, dtype=torch.int32)
    settings = {"alpha": numbers(ALPHAS), "strength": numbers(STRENGTHS), "active": torch.ones(3)}
    found = []
    for gradient in gradients:
        found.append(grokfast(gradient, average, step=step, **settings))
        step += 1
    for k in range(3):
        mean = gradients[0, k]
        for t in range(12):
            mean = ALPHAS[k] * mean + (1 - ALPHAS[k]) * gradients[t, k]
            wanted = gradients[t, k] + STRENGTHS[k] * mean
            torch.testing.assert_close(found[t][k], wanted, rtol=1e-12, atol=1e-12)


def test_an_inactive_slots_average_stays():
    average = torch.ones(2, 3)
    settings = {"alpha": numbers([0.9, 0.9]), "strength": numbers([2.0, 2.0]), "active": numbers([1.0, 0.0])}
    grokfast(torch.zeros(2, 3), average, step=torch.tensor([5, 5], dtype=torch.int32), **settings)
    assert torch.equal(average[1], torch.ones(3))
    torch.testing.assert_close(average[0], torch.full((3,), 0.9))
