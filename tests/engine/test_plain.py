"""A trained model as plain modules against the engine's own forward pass."""

from __future__ import annotations

import pytest
import torch

from grokray.engine.model import forward
from grokray.engine.plain import plain
from grokray.engine.randomness import initial_parameters
from grokray.engine.shape import shape_of
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small
from tests.engine.test_decode import OTHERS, REPRESENTATIONS


def of(config):
    dataset = build_dataset(config)
    shape = shape_of(dataset)
    return dataset, shape, initial_parameters(shape, 5, config.init_scale)


@pytest.mark.parametrize("task", [*REPRESENTATIONS.values(), *OTHERS.values()], ids=[*REPRESENTATIONS, *OTHERS])
@pytest.mark.parametrize(
    ("norm", "activation"), [("pre", "gelu"), ("post", "gelu"), ("input", "relu"), ("none", "relu")]
)
def test_answers_are_the_engine_s(task, norm, activation):
    dataset, shape, parameters = of(small(**task, norm=norm, activation=activation, dtype="float64"))
    rows = torch.arange(0, len(dataset.table.tokens), 7)
    tokens, positions = dataset.table.tokens[rows], dataset.table.positions[rows]
    wanted = forward(shape, {n: p[None] for n, p in parameters.items()}, tokens[None], positions[None])[0]
    with torch.no_grad():
        logits = plain(shape, parameters)(tokens)
    assert logits.shape == (*tokens.shape, shape.vocabulary_size)
    found = logits.gather(1, positions[..., None].expand(-1, -1, shape.vocabulary_size))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_hooks_see_the_attention_weights():
    dataset, shape, parameters = of(small())
    model, seen = plain(shape, parameters), []
    model.blocks[1].attention.pattern.register_forward_hook(lambda module, inputs, weights: seen.append(weights))
    model(dataset.table.tokens[:3])
    (weights,) = seen
    assert weights.shape == (3, 2, 4, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 4))
    assert not weights.triu(1).any()  # nothing is seen of what comes later


def test_it_holds_a_copy_and_can_be_trained_on():
    dataset, shape, parameters = of(small(dropout=0.5))
    before = {name: p.clone() for name, p in parameters.items()}
    model = plain(shape, parameters, dropout=0.5)
    assert not model.training
    tokens = dataset.table.tokens[:8]
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))  # dropout
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(tokens).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], p) for name, p in parameters.items())
    assert all(p.grad is not None for p in model.parameters())
