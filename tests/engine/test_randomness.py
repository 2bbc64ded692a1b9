from __future__ import annotations

import torch

from grokray.engine.randomness import (
    NOISE_PURPOSE,
    dropout_key,
    dropout_mask,
    epoch_order,
    gaussian,
    generator,
    initial_parameters,
    stream_of,
    streams_of,
)
from grokray.engine.shape import shape_of
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small


def mask(seeds, steps, rates, n=4096):
    keys = torch.stack([dropout_key(s) for s in seeds])
    stream = stream_of(keys, torch.tensor(steps, dtype=torch.int32))
    return dropout_mask(n, torch.float64, stream, torch.tensor(rates, dtype=torch.float64))


def test_dropout_depends_on_seed_and_step_and_not_on_the_slot():
    together = mask([1, 2, 3], [5, 5, 7], [0.3, 0.3, 0.3])
    torch.testing.assert_close(mask([2], [5], [0.3])[0], together[1], rtol=0, atol=0)
    torch.testing.assert_close(mask([3, 2], [7, 5], [0.3, 0.3])[0], together[2], rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(mask([1], [6], [0.3])[0], together[0])


def test_dropout_keeps_the_right_share_and_the_mean():
    for rate in (0.0, 0.1, 0.5, 0.9):
        m = mask([11], [3], [rate], n=200_000)[0]
        assert abs((m == 0).double().mean().item() - rate) < 0.005
        assert abs(m.mean().item() - 1) < 0.02
    assert torch.equal(mask([11], [3], [0.0])[0], torch.ones(4096, dtype=torch.float64))


def test_dropout_is_independent_between_steps_and_elements():
    m = torch.stack([mask([5], [t], [0.5], n=20_000)[0] for t in range(8)]) > 0
    for a in range(8):
        for b in range(a):
            assert abs((m[a] == m[b]).double().mean().item() - 0.5) < 0.02
        assert abs((m[a][1:] == m[a][:-1]).double().mean().item() - 0.5) < 0.02


def test_epoch_orders_are_permutations_that_differ_by_epoch_and_seed():
    assert epoch_order(1, 0, 50).sort().values.tolist() == list(range(50))
    assert not torch.equal(epoch_order(1, 0, 50), epoch_order(1, 1, 50))
    assert not torch.equal(epoch_order(1, 0, 50), epoch_order(2, 0, 50))
    assert torch.equal(epoch_order(1, 3, 50), epoch_order(1, 3, 50))


def test_purposes_of_one_seed_are_unrelated():
    draws = {p: torch.rand(4, generator=generator(0, p)).tolist() for p in ("init", "order", "dropout")}
    assert len({tuple(d) for d in draws.values()}) == 3


def noise(seeds, steps, n=4096, purpose="weight_noise", dtype=torch.float64):
    keys = torch.stack([dropout_key(s) for s in seeds])
    stream = stream_of(keys, torch.tensor(steps, dtype=torch.int32))
    return gaussian(n, dtype, streams_of(NOISE_PURPOSE[purpose], stream))


def test_noise_depends_on_seed_step_and_purpose_and_not_on_the_slot():
    together = noise([1, 2, 3], [5, 5, 7])
    assert torch.equal(noise([2], [5])[0], together[1])
    assert torch.equal(noise([3, 2], [7, 5])[0], together[2])
    others = [together[0], noise([1], [6])[0], *(noise([1], [5], purpose=p)[0] for p in list(NOISE_PURPOSE)[1:])]
    for a in range(4):
        for b in range(a):
            assert abs(torch.corrcoef(torch.stack([others[a], others[b]]))[0, 1]) < 0.06


def test_noise_is_normal():
    z = noise([11], [3], n=400_001)[0].sort().values
    rank = (torch.arange(len(z), dtype=torch.float64) + 0.5) / len(z)
    assert (torch.special.ndtr(z) - rank).abs().max() < 0.003  # Kolmogorov and Smirnov: 0.0026 at 1 %
    assert abs(z.mean()) < 0.005
    assert abs(z.std() - 1) < 0.005
    assert abs(z.pow(4).mean() - 3) < 0.05
    assert 4 < z.abs().max() < 6


def test_noise_is_independent_between_steps_and_elements():
    z = torch.stack([noise([5], [t], n=20_000)[0] for t in range(6)])
    assert (torch.corrcoef(z) - torch.eye(6)).abs().max() < 0.03
    assert (torch.corrcoef(z.square()) - torch.eye(6)).abs().max() < 0.05
    for lag in (1, 2, 10_000):
        assert abs((z[:, lag:] * z[:, :-lag]).mean()) < 0.02


def test_noise_is_the_same_in_both_precisions_but_for_rounding():
    torch.testing.assert_close(noise([1], [2], dtype=torch.float32)[0].double(), noise([1], [2])[0], rtol=0, atol=2e-5)


def test_initial_weights_are_the_same_whatever_the_program_s_default_type():
    shape = shape_of(build_dataset(small()))
    expected = initial_parameters(shape, 3)
    torch.set_default_dtype(torch.float64)
    try:
        found = initial_parameters(shape, 3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
