"""The first layer computed for each token and position, against the same for each row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from grokray.engine.engine import Engine
from grokray.engine.gradient import eager_gradient, functional_gradient
from grokray.engine.model import Batch
from grokray.engine.shape import shape_of
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import alone, curve, run, small
from tests.engine.test_model import key

BATCH = {"batch_size": 64}  # enough rows for 13 tokens to be worth a table


def batch(shape, rows: int = 3) -> Batch:
    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(shape.vocabulary_size, (rows, shape.batch_size, shape.length), generator=g)
    targets = torch.randint(shape.vocabulary_size, (rows, shape.batch_size, shape.answers), generator=g)
    positions = torch.randint(shape.length, targets.shape, generator=g)
    weight = torch.ones(rows, shape.batch_size, dtype=torch.float64)
    return Batch(tokens, None if shape.uniform else positions, targets, weight)


@pytest.mark.parametrize("norm", ["pre", "post", "input", "none"])
@pytest.mark.parametrize(
    ("uniform", "form"), [(True, None), (True, "sums"), (True, "unrolled"), (False, None), (False, "products")]
)
@pytest.mark.parametrize("layers", [1, 2])
def test_losses_and_all_gradients_are_those_of_each_row_by_itself(norm, uniform, form, layers):
    rows_alone = key(norm=norm, uniform=uniform, num_layers=layers)
    by_token = replace(rows_alone, by_token=True)
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(3, rows_alone.layout.row_size, generator=g, dtype=torch.float64) * 0.3
    (wanted, losses), (found, same_losses) = (
        (functional_gradient(shape, form) if form else eager_gradient(shape))(rows, batch(shape), None)
        for shape in (rows_alone, by_token)
    )
    torch.testing.assert_close(same_losses, losses, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert all(view.abs().max() > 0 for view in by_token.layout.views(found).values())


@pytest.mark.parametrize(
    ("changes", "by_token"),
    [
        (BATCH, True),
        ({}, False),  # batches of 32 rows: adding up their gradients would cost more than it saves
        (BATCH | {"num_layers": 1}, True),
        (BATCH | {"input_noise": 0.1}, False),  # then no two rows begin alike
    ],
)
def test_it_is_done_where_it_saves_work(changes, by_token):
    assert shape_of(build_dataset(small(**changes))).by_token is by_token


def test_curves_are_bit_identical_alone_and_in_company():
    trials = [small(seed=seed, dropout=0.1, weight_noise=0.01 * seed, num_steps=20, **BATCH) for seed in range(5)]
    trials.append(small(seed=1, input_noise=0.1, num_steps=20, **BATCH))  # in a stack of its own
    engine = Engine()
    for i, config in enumerate(trials):
        engine.join(str(i), config)
    assert len(engine._stacks) == 2
    together = run(engine)
    for i, config in enumerate(trials):
        assert curve(together[str(i)]) == curve(alone(config))
