from __future__ import annotations

import math

import pytest
import torch

from grokray.engine.waves import SUMS, answers_of, key_frequencies, logarithms, parts_of, powers_of
from grokray.errors import ConfigError
from grokray.tasks.dataset import Dataset, build_dataset
from tests.engine.conftest import small

PRIME = 13


def dataset_of(operation: str, **changes) -> Dataset:
    return build_dataset(small(operation=operation, modulus=PRIME, **changes))


def circle(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Where each pair's answer stands, by the operands; where each residue does; how long it is around."""
    table, log = dataset.table, logarithms(PRIME)
    assert table.x is not None
    assert table.y is not None
    x, y = table.x, table.y
    if dataset.config.operation in SUMS:
        at = x + y if dataset.config.operation == "x+y_mod" else x - y
        return at, torch.arange(PRIME), PRIME
    kept = (x > 0) & (y > 0)  # as shown
    at = log[x] + log[y] if dataset.config.operation == "x*y_mod" else log[x] - log[y]
    return at[kept], log, PRIME - 1


def waves(dataset: Dataset, heights: dict[int, float]) -> torch.Tensor:
    """Logits of rows and residues: height · cos(2πk(s − c)/n) of each frequency k."""
    at, of_residue, order = circle(dataset)
    angle = 2 * math.pi * (at[:, None] - of_residue[None]).double() / order
    return torch.stack([height * torch.cos(k * angle) for k, height in heights.items()]).sum(0)


@pytest.mark.parametrize("operation", ["x+y_mod", "x-y_mod", "x*y_mod", "x/y_mod"])
def test_the_frequencies_of_a_made_up_circuit_are_found_and_taken_apart(operation):
    dataset = dataset_of(operation)
    answers = answers_of(dataset)
    logits = waves(dataset, {2: 3.0, 5: 2.0, 6: 0.1})
    powers = powers_of(logits, answers)
    assert key_frequencies(powers, 0.95) == (2, 5)
    assert key_frequencies(powers, 1.0 - 1e-9) == (2, 5, 6)
    assert powers.sum() == pytest.approx(((logits - logits.mean(0)) ** 2).sum().item())
    shift = torch.linspace(-1, 1, logits.shape[1]).double()
    restricted, excluded = parts_of(logits + shift, answers, (2, 5))
    torch.testing.assert_close(restricted, waves(dataset, {2: 3.0, 5: 2.0}) + shift + waves(dataset, {6: 0.1}).mean(0))
    torch.testing.assert_close(excluded, waves(dataset, {6: 0.1}) + shift + waves(dataset, {2: 3.0, 5: 2.0}).mean(0))


def test_what_differs_among_pairs_of_one_answer_no_frequency_explains():
    dataset = dataset_of("x+y_mod")
    answers, (x, y) = answers_of(dataset), (dataset.table.x, dataset.table.y)
    assert x is not None
    assert y is not None
    memory = torch.cos(2 * math.pi * 3 * (x - y).double() / PRIME)[:, None].expand(-1, PRIME)
    assert powers_of(memory, answers).max() < 1e-20
    restricted, excluded = parts_of(memory, answers, (3,))
    torch.testing.assert_close(restricted, torch.zeros_like(memory))
    torch.testing.assert_close(excluded, memory)


def test_all_of_what_is_explained_takes_every_frequency_that_explains_any():
    g = torch.Generator().manual_seed(0)
    for _ in range(200):  # sums of these are rounded in either direction
        powers = torch.rand(57, generator=g, dtype=torch.float64)
        assert key_frequencies(powers, 1.0) == tuple(range(1, 57))
        assert len(key_frequencies(powers, 0.5)) < 28
    assert key_frequencies(torch.tensor([9.0, 0.0, 2.0, 0.0]), 1.0) == (2,)


@pytest.mark.parametrize("powers", [[0.0, 0.0, 0.0], [0.0, math.nan, 1.0], [5.0, 0.0], [0.0, math.inf, 1.0]])
def test_where_nothing_is_explained_no_frequency_is_key(powers):
    assert key_frequencies(torch.tensor(powers), 0.95) == ()


@pytest.mark.parametrize("p", [3, 5, 13, 97])
def test_logarithms_turn_products_into_sums(p):
    log = logarithms(p)
    x, y = torch.meshgrid(torch.arange(1, p), torch.arange(1, p), indexing="ij")
    assert torch.equal(log[x * y % p], (log[x] + log[y]) % (p - 1))
    assert sorted(log.tolist()) == [-1, *range(p - 1)]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"operation": "s5"}, "the trial learns s5 (classification)"),
        ({"operation": "x+y_mod,x-y_mod"}, "the trial learns x+y_mod,x-y_mod"),
        ({"operation": "x+y_mod", "task_type": "sequence", "base": 2}, "the trial learns x+y_mod (sequence)"),
        ({"operation": "x+y_mod", "label_noise": 0.1}, "label_noise is 0.1"),
        ({"operation": "x+y_mod", "operand_limit": 11}, "operand_limit is 11, but must be the modulus, 13"),
        ({"operation": "x*y_mod", "modulus": 12}, "modulus is 12"),
    ],
)
def test_a_task_without_them_is_refused_with_the_reason(config, why):
    if "s5" not in config["operation"]:
        config = {"modulus": PRIME, **config}
    with pytest.raises(ConfigError, match="there are no progress measures: ") as refused:
        answers_of(build_dataset(small(**config)))
    assert why in str(refused.value)
