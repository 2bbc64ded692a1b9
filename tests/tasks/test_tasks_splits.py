"""Splits: by pair and seed alone."""

from __future__ import annotations

from math import floor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks_slow import pairs

from grokray.errors import ConfigError
from grokray.tasks import Dataset, Split, Table, Vocabulary, build_dataset, split_rows
from grokray.tasks.resolve import resolve
from grokray.tasks.splits import _whole_couples
from grokray.tasks.tables import one_task
from grokray.trial import TrialConfig

REPRESENTATIONS: list[dict[str, Any]] = [
    {},
    {"task_type": "sequence", "base": 2},
    {"task_type": "sequence", "base": 20, "digit_order": "least_first", "fixed_sequence_length": True},
]


def dataset_of(operation: str = "x/y_mod", **parameters: Any) -> Dataset:
    return build_dataset(resolve({"operation": operation, "modulus": 23, **parameters}))


def split_of(operation: str = "x/y_mod", **parameters: Any) -> Split:
    return dataset_of(operation, **parameters).split


def test_a_dataset_shows_its_sizes_and_no_tensors() -> None:
    shown = "<dataset of x/y_mod: <split: 253 train, 253 heldout, 0 out_of_domain> of "
    assert repr(dataset_of()) == shown + "<table of x/y_mod: 506 rows of 4 tokens, 506 in domain>>"


@pytest.mark.parametrize("fraction", [0.002, 0.1, 0.29, 0.5, 0.999])
@pytest.mark.parametrize("split", ["random", "commutative"])
@pytest.mark.parametrize("curriculum", ["random", "ordered"])
def test_the_sides_are_disjoint_and_cover_the_domain(fraction: float, split: str, curriculum: str) -> None:
    made = dataset_of(training_fraction=fraction, split=split, curriculum=curriculum, operand_limit_out=None)
    train, heldout = made.split.train.tolist(), made.split.heldout.tolist()
    assert sorted(train + heldout) == list(range(23 * 22))
    assert len(train) == floor(23 * 22 * fraction)
    assert heldout == sorted(heldout)
    assert len(made.split.out_of_domain) == 0


@pytest.mark.parametrize("split", ["random", "commutative"])
def test_the_same_pairs_in_every_base_and_representation(split: str) -> None:
    splits = [split_of(split=split, split_seed=5, **parameters) for parameters in REPRESENTATIONS]
    for other in splits[1:]:
        assert torch.equal(other.train, splits[0].train)
        assert torch.equal(other.heldout, splits[0].heldout)


@pytest.mark.parametrize("split", ["random", "commutative"])
def test_the_split_depends_on_the_split_seed_and_on_no_other(split: str) -> None:
    first = split_of(split=split)
    assert torch.equal(split_of(split=split, init_seed=1, order_seed=2).train, first.train)
    assert not torch.equal(split_of(split=split, split_seed=1).train, first.train)
    state = torch.get_rng_state()
    split_of(split=split, split_seed=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_larger_fraction_only_adds_pairs() -> None:
    small, large = (set(split_of(training_fraction=fraction).train.tolist()) for fraction in (0.3, 0.4))
    assert small < large


def test_a_split_keeps_to_the_domain() -> None:
    made = dataset_of("x+y_mod", task_type="sequence", operand_limit=15, operand_limit_out=20)
    assert sorted(made.split.train.tolist() + made.split.heldout.tolist()) == list(range(15 * 15))
    assert made.split.out_of_domain.tolist() == list(range(15 * 15, len(made.table.z)))
    assert len(made.split.out_of_domain) == 20 * 20 - 15 * 15


@pytest.mark.parametrize("operation", ["x+y_mod", "x/y_mod"])
def test_twin_share_counts_heldout_pairs_whose_twin_was_trained_on(operation: str) -> None:
    made = dataset_of(operation, training_fraction=0.4)
    domain = pairs(operation, 23)
    trained = {domain[row] for row in made.split.train.tolist()}
    heldout = [domain[row] for row in made.split.heldout.tolist()]
    assert made.split.twin_share == pytest.approx(sum((y, x) in trained for x, y in heldout) / len(heldout))
    assert 0.3 < made.split.twin_share < 0.5


@pytest.mark.parametrize("operation", ["x+y_mod", "x/y_mod"])
@pytest.mark.parametrize("seed", range(5))
def test_a_commutative_split_keeps_twins_together(operation: str, seed: int) -> None:
    made = dataset_of(operation, split="commutative", split_seed=seed, training_fraction=0.31)
    domain = pairs(operation, 23)
    trained = {domain[row] for row in made.split.train.tolist()}
    assert all((y, x) in trained for x, y in trained if (y, x) in domain)
    assert made.split.twin_share == 0
    assert len(trained) == floor(len(domain) * 0.31)


@given(limit=st.integers(2, 7), data=st.data())
def test_whole_couples_come_in_every_size(limit: int, data: st.DataObject) -> None:
    y_min = data.draw(st.integers(0, 1))
    domain = [(x, y) for x in range(limit) for y in range(y_min, limit)]
    rows = {pair: row for row, pair in enumerate(domain)}
    twins = torch.tensor([rows.get((y, x), -1) for x, y in domain])
    size = data.draw(st.integers(1, len(domain) - 1))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    taken = _whole_couples(twins, size, generator).tolist()
    assert len(taken) == len(set(taken)) == size
    assert all(twins[row] in (*taken, -1) for row in taken)


def test_every_pair_is_trained_on_about_equally_often() -> None:
    for split in ("random", "commutative"):
        count = torch.zeros(5 * 5)
        for seed in range(400):
            made = build_dataset(resolve({"operation": "x+y", "operand_limit": 5, "split": split, "split_seed": seed}))
            count[made.split.train] += 1
        share = count / 400
        assert (share - 12 / 25).abs().max() < 0.15, f"six standard errors: {share}"


def test_an_ordered_curriculum_goes_from_small_pairs_to_large_ones() -> None:
    domain = pairs("x/y_mod", 23)
    ordered, plain = split_of(curriculum="ordered").train.tolist(), split_of().train.tolist()
    assert ordered == sorted(plain, key=lambda row: (max(domain[row]), row))
    assert ordered != plain == sorted(plain)


def test_a_dataset_knows_its_shape() -> None:
    made = dataset_of("x+y_mod", task_type="sequence", base=2)
    assert made.vocabulary_size == 7
    assert (made.length, made.answers) == (5 + 1 + 5 + 1 + 5, 6)
    assert made.table is dataset_of("x+y_mod", task_type="sequence", base=2, split_seed=3).table
    assert made.key == dataset_of("x+y_mod", task_type="sequence", base=2, split_seed=3).key


def grouped(groups: list[int]) -> Table:
    """A table of one-token rows that belong together as `groups` says, the last row out of domain."""
    rows = len(groups) + 1
    return Table(
        tokens=torch.zeros(rows, 1, dtype=torch.int32),
        positions=torch.zeros(rows, 1, dtype=torch.int64),
        targets=torch.arange(rows)[:, None],
        in_domain=rows - 1,
        uniform=True,
        vocabulary=Vocabulary(symbols=tuple(map(str, range(rows))), numerals=rows, op=0, equals=0),
        task_names=("grids",),
        task=one_task(rows),
        groups=torch.tensor([*groups, 99]),
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_of_a_group_stay_on_one_side(seed: int) -> None:
    groups = [7, 7, 3, 5, 5, 5, 3, 0, 7, 0]
    split = split_rows(grouped(groups), TrialConfig(training_fraction=0.75, split_seed=seed))
    train, heldout = ({groups[row] for row in part.tolist()} for part in (split.train, split.heldout))
    assert not train & heldout
    assert len(train) == 3, "of four groups"
    assert sorted(split.train.tolist() + split.heldout.tolist()) == list(range(10))
    assert split.out_of_domain.tolist() == [10]
    assert split.twin_share is None


def test_another_seed_takes_other_groups_and_the_same_seed_the_same() -> None:
    groups = [0, 1, 2, 3, 4, 5]

    def taken() -> list[tuple[int, ...]]:  # half of them
        return [tuple(split_rows(grouped(groups), TrialConfig(split_seed=seed)).train.tolist()) for seed in range(20)]

    assert len(set(taken())) > 10
    assert taken() == taken(), "by the seed alone"


def test_a_side_without_a_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="training_fraction is 0.9, but of 1 groups of rows must leave at least one"):
        split_rows(grouped([4, 4, 4]), TrialConfig(training_fraction=0.9))
