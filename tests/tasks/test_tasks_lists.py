"""Lists of digits, and of bits."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from grokray.errors import ConfigError
from grokray.tasks import Dataset, build_dataset
from grokray.tasks.list_door import LIST_CAP
from grokray.tasks.resolve import resolve

SLOW = {"sort": sorted, "reverse": lambda digits: digits[::-1], "copy": list}


def dataset_of(operation: str, **parameters: Any) -> Dataset:
    return build_dataset(resolve({"operation": operation, **parameters}))


def rows_of(made: Dataset) -> list[tuple[list[int | str], list[int | str]]]:
    table, rows = made.table, []
    words = [int(s) if s.isdigit() else s for s in table.vocabulary.symbols]
    for tokens, positions, targets in zip(
        table.tokens.tolist(), table.positions.tolist(), table.targets.tolist(), strict=True
    ):
        assert [tokens[position] for position in positions[1:]] == targets[:-1], "teacher forcing"
        rows.append(([words[t] for t in tokens[: positions[0] + 1]], [words[t] for t in targets]))
    return rows


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("base", "length"), [(2, 5), (3, 1), (10, 2), (40, 2)])
@pytest.mark.parametrize("operation", SLOW)
def test_a_list_task_is_its_definition_over_its_whole_domain(
    operation: str, base: int, length: int, fixed: bool
) -> None:
    made = dataset_of(operation, base=base, list_length=length, fixed_sequence_length=fixed)
    every = [list(digits) for digits in product(range(base), repeat=length)]
    end = [] if fixed else ["<EOS>"]
    assert rows_of(made) == [([operation, *digits, "="], [*SLOW[operation](digits), *end]) for digits in every]
    assert made.table.uniform
    answers = made.answers
    assert (made.table.positions == torch.arange(made.length - answers, made.length)).all()
    assert made.table.tokens.dtype == torch.int32
    assert (made.table.x, made.table.z, made.table.twins, made.table.code) == (None, None, None, None)


@pytest.mark.parametrize(("base", "length"), [(2, 17), (10, 6), (4096, 64)])
def test_of_too_many_lists_there_is_a_sample_each_once_and_always_the_same(base: int, length: int) -> None:
    tables = [dataset_of(operation, base=base, list_length=length).table for operation in ("sort", "copy")]
    lists = tables[0].tokens[:, 1 : length + 1]
    assert torch.equal(lists, tables[1].tokens[:, 1 : length + 1])
    assert lists.unique(dim=0).shape == lists.shape == (LIST_CAP, length)
    assert torch.equal(lists, lists.unique(dim=0)), "in lexicographic order"
    first = lists[:, 0].double() / base
    assert abs(float(first.mean()) - (base - 1) / base / 2) < 0.01, "evenly drawn: five standard errors are 0.0056"


@pytest.mark.parametrize(("length", "bits"), [(1, 1), (5, 3), (6, 6)])
def test_parity_is_that_of_the_first_bits(length: int, bits: int) -> None:
    made = dataset_of("parity", list_length=length, parity_bits=bits)
    every = [list(digits) for digits in product(range(2), repeat=length)]
    assert rows_of(made) == [(["parity", *digits, "="], [sum(digits[:bits]) % 2]) for digits in every]
    assert (made.vocabulary_size, made.answers, made.table.uniform) == (4, 1, True)


def test_of_many_bits_there_is_a_sample_half_of_it_odd() -> None:
    made = dataset_of("parity")
    lists = made.table.tokens[:, 1:-1]
    assert lists.shape == lists.unique(dim=0).shape == (2_000, 40)
    assert len(made.split.train) == len(made.split.heldout) == 1_000
    assert abs(float(lists.double().mean()) - 0.5) < 0.01, "five standard errors are 0.009"
    assert abs(float(made.table.targets.double().mean()) - 0.5) < 0.056, "five standard errors"
    assert not torch.equal(lists[:100], dataset_of("parity", list_rows=100).table.tokens[:, 1:-1])


def test_a_table_has_as_many_lists_as_are_wanted() -> None:
    wanted = dataset_of("sort", base=10, list_length=3, list_rows=50).table.tokens
    assert wanted[:, 1:4].unique(dim=0).shape == (50, 3)
    assert not torch.equal(wanted, dataset_of("sort", base=10, list_length=3).table.tokens[:50])


def test_a_number_of_lists_that_changes_nothing_is_none() -> None:
    all_of_them = resolve({"operation": "sort", "list_length": 3})
    for rows in (1_000, 1_001, LIST_CAP):
        assert resolve({"operation": "sort", "list_length": 3, "list_rows": rows}) == all_of_them
    parity = {"operation": "parity", "list_length": 8}
    assert resolve(parity).list_rows is None
    assert resolve(parity | {"list_rows": 100}).list_rows == 100


def test_parity_has_a_canonical_config() -> None:
    config = resolve({"operation": "parity"})
    assert (config.task_type, config.base, config.modulus) == ("classification", None, None)
    assert not config.fixed_sequence_length
    assert (config.list_length, config.parity_bits, config.list_rows) == (40, 3, 2_000)
    assert resolve(config.model_dump()) == config
    assert resolve({"operation": "parity", "base": 7, "modulus": 23, "fixed_sequence_length": True}) == config
    for operation in ("x+y", "sort"):
        assert resolve({"operation": operation, "parity_bits": 2}) == resolve({"operation": operation})
    assert resolve({"list_rows": 100}) == resolve({}), "pairs have no use for it"


def test_lists_are_split_by_row() -> None:
    made = dataset_of("sort", base=5, list_length=3, training_fraction=0.3)
    assert sorted(made.split.train.tolist() + made.split.heldout.tolist()) == list(range(125))
    assert len(made.split.train) == 37
    assert made.split.twin_share is None
    assert len(made.split.out_of_domain) == 0
    assert not torch.equal(made.split.train, dataset_of("sort", base=5, list_length=3, split_seed=1).split.train)


def test_lists_have_a_canonical_config() -> None:
    config = resolve({"operation": "sort"})
    assert (config.task_type, config.base, config.list_length, config.modulus) == ("sequence", 10, 4, None)
    assert resolve(config.model_dump()) == config
    same = {
        "operation": "sort",
        "task_type": "sequence",
        "modulus": 23,
        "operand_limit": 11,
        "digit_order": "least_first",
    }
    assert resolve(same).id == config.id, "what lists have no use for is dropped"
    assert resolve({"operation": "sort", "list_length": 3}).id != config.id
    assert resolve({"list_length": 3}) == resolve({}), "pairs have no use for it"


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        ({"task_type": "classification"}, "task_type", "task_type is 'classification', but sort answers with a list"),
        ({"split": "commutative"}, "split", "but sort has no pairs"),
        ({"curriculum": "ordered"}, "curriculum", "no order from easy to hard"),
        ({"list_length": 0}, "list_length", "list_length is 0, but must be at least 1"),
        ({"list_length": 65}, "list_length", "but must be at most 64"),
        ({"training_fraction": 1e-5}, "training_fraction", "of 10,000 lists must leave at least one"),
        ({"list_rows": 20, "training_fraction": 0.01}, "training_fraction", "of 20 lists must leave at least one"),
        ({"list_rows": 1}, "list_rows", "list_rows is 1, but must be at least 2"),
        ({"operation": "parity", "task_type": "sequence"}, "task_type", "but parity answers with one token"),
        ({"operation": "parity", "split": "commutative"}, "split", "but parity has no pairs"),
        (
            {"operation": "parity", "list_length": 5, "parity_bits": 6},
            "parity_bits",
            "parity_bits is 6, but must be at most list_length, which is 5",
        ),
        (
            {"operation": "parity", "list_length": 2},
            "parity_bits",
            "parity_bits is 3, but must be at most list_length, which is 2",
        ),
    ],
)
def test_a_fault_is_one_problem(written: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"operation": "sort", **written})
    assert [problem.field for problem in caught.value.problems] == [field]
    assert message in str(caught.value)
