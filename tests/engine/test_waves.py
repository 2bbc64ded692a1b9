from __future__ import annotations

import math

import pytest
import torch

from grokray.engine.waves import (
    SUMS,
    Answers,
    Means,
    Sums,
    answers_of,
    key_frequencies,
    logarithms,
    powers_of,
    waves_of,
)
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


def means_of(logits: torch.Tensor, answers: Answers, at_once: int = 50) -> Means:
    sums = Sums(answers.order)
    for at, some in zip(answers.at.split(at_once), logits.split(at_once), strict=True):
        sums.add(at, some)
    return sums.means()


@pytest.mark.parametrize("operation", ["x+y_mod", "x-y_mod", "x*y_mod", "x/y_mod"])
def test_the_frequencies_of_a_made_up_circuit_are_found_and_taken_apart(operation):
    dataset = dataset_of(operation)
    answers = answers_of(dataset)
    logits = waves(dataset, {2: 3.0, 5: 2.0, 6: 0.1})
    shift = torch.linspace(-1, 1, logits.shape[1]).double()
    means = means_of(logits + shift, answers)
    powers = powers_of(means.of_answer)
    assert key_frequencies(powers, 0.95) == (2, 5)
    assert key_frequencies(powers, 1.0 - 1e-9) == (2, 5, 6)
    assert powers.sum() == pytest.approx(((logits - logits.mean(0)) ** 2).sum().item())
    assert means.variance == pytest.approx(powers.sum().item())
    assert means.squares == pytest.approx(((logits + shift) ** 2).sum().item())
    made = waves(dataset, {2: 3.0, 5: 2.0})
    torch.testing.assert_close(waves_of(means.of_answer, (2, 5))[answers.at], made - made.mean(0))


def test_what_differs_among_pairs_of_one_answer_no_frequency_explains():
    dataset = dataset_of("x+y_mod")
    answers, (x, y) = answers_of(dataset), (dataset.table.x, dataset.table.y)
    assert x is not None
    assert y is not None
    memory = torch.cos(2 * math.pi * 3 * (x - y).double() / PRIME)[:, None].expand(-1, PRIME)
    means = means_of(memory, answers)
    assert powers_of(means.of_answer).max() < 1e-20
    assert waves_of(means.of_answer, (3,)).abs().max() < 1e-12
    assert means.variance == pytest.approx((memory**2).sum().item())


def test_logits_that_are_the_same_for_all_pairs_vary_by_nothing_however_large_they_are():
    answers = answers_of(dataset_of("x+y_mod"))
    means = means_of((1e6 * torch.rand(PRIME).double()).expand(PRIME**2, -1), answers)
    assert means.variance == 0
    assert means.squares > 1e12


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
