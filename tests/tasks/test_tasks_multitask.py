"""Several tasks in one table."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from grokray.errors import ConfigError
from grokray.tasks import Dataset, Table, build_dataset, decode_answer
from grokray.tasks.resolve import resolve

REPRESENTATIONS: list[dict[str, Any]] = [
    {},
    {"task_type": "sequence"},
    {"task_type": "sequence", "base": 3, "digit_order": "least_first"},
    {"task_type": "sequence", "base": 5, "fixed_sequence_length": True},
]
SIZES = {"modulus": 23, "operand_limit": 17, "operand_limit_out": 23}
TASKS = ("x/y_mod", "x+y_mod", "x-y")


def dataset_of(*operations: str, **parameters: Any) -> Dataset:
    return build_dataset(resolve({"operation": list(operations), **SIZES, **parameters}))


def rows_of(made: Dataset, rows: torch.Tensor) -> list[tuple[list[str], list[str]]]:
    """Prompt and answer in symbols, without the operator's and equals sign's names, and without a blank sign."""
    table, out = made.table, []
    for row in rows.tolist():
        marks = table.vocabulary.for_task(int(table.task[row]))
        names = {marks.op: "op", marks.equals: "="}
        prompt = table.tokens[row, : int(table.positions[row, 0]) + 1].tolist()
        answer = [token for token in table.targets[row].tolist() if token >= 0]
        out.append(tuple([names.get(t, table.vocabulary.symbols[t]) for t in part] for part in (prompt, answer)))
    return out


@pytest.mark.parametrize("representation", REPRESENTATIONS[:3])
def test_each_task_has_the_rows_and_the_split_that_it_has_alone(representation: dict[str, Any]) -> None:
    together = dataset_of(*TASKS, **representation, split_seed=4)
    assert together.table.task_names == TASKS
    for number, name in enumerate(TASKS):
        alone = dataset_of(name, **representation, split_seed=4)
        for part in ("train", "heldout", "out_of_domain"):
            rows = getattr(together.split, part)
            mine = rows[together.table.task[rows] == number]
            assert rows_of(together, mine) == rows_of(alone, getattr(alone.split, part))
            for column in ("x", "y", "z"):
                assert torch.equal(
                    getattr(together.table, column)[mine], getattr(alone.table, column)[rows_in(alone, part)]
                )


def rows_in(made: Dataset, part: str) -> torch.Tensor:
    return getattr(made.split, part)


def test_tasks_over_the_same_domain_train_on_the_same_pairs() -> None:
    made = dataset_of("x+y_mod", "x-y", "s5")
    pairs = []
    for task in range(3):
        train = made.split.train[made.table.task[made.split.train] == task]
        assert made.table.x is not None
        assert made.table.y is not None
        pairs.append(torch.stack([made.table.x[train], made.table.y[train]]))
    assert torch.equal(pairs[0], pairs[1])
    assert torch.equal(pairs[0], pairs[2])


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_table_of_tasks_is_laid_out_for_teacher_forcing(representation: dict[str, Any]) -> None:
    table = dataset_of(*TASKS, **representation).table
    in_domain = table.task[: table.in_domain].tolist()
    assert in_domain == sorted(in_domain)
    assert in_domain.count(0) == 17 * 16
    assert table.uniform == (representation.get("task_type") != "sequence" or "fixed_sequence_length" in representation)
    check_layout(table)


@pytest.mark.parametrize(
    ("operations", "each_uniform"),
    [(["expr:x % 5", "expr:x + y + 100"], True), (["expr:x + y", "expr:x + y + 0"], False)],
)
def test_tasks_of_other_lengths_than_each_other_s_or_of_several_each_are_not_uniform_together(
    operations: list[str], each_uniform: bool
) -> None:
    sizes: dict[str, Any] = {"task_type": "sequence", "operand_limit": 9}
    together = build_dataset(resolve({"operation": operations, **sizes}))
    for number, name in enumerate(operations):
        alone = build_dataset(resolve({"operation": name, **sizes}))
        assert alone.table.uniform == each_uniform
        mine = (together.table.task == number).nonzero()[:, 0]
        assert rows_of(together, mine) == rows_of(alone, torch.arange(len(alone.table.tokens)))
    assert not together.table.uniform
    check_layout(together.table)


def check_layout(table: Table) -> None:
    assert table.z is not None
    assert table.code is not None
    for row in range(len(table.tokens)):
        marks = table.vocabulary.for_task(int(table.task[row]))
        tokens, positions = table.tokens[row].tolist(), table.positions[row].tolist()
        answer = [target for target in table.targets[row].tolist() if target >= 0]
        assert tokens[positions[0]] == marks.equals
        assert tokens.count(marks.op) == 1
        assert [tokens[position] for position in positions[1 : len(answer)]] == answer[:-1]
        assert decode_answer(answer, table.code) == int(table.z[row])
        assert 0 <= min(positions) <= max(positions) < len(tokens)
        assert set(tokens[positions[0] + len(answer) :]) <= {table.vocabulary.pad}
    if table.uniform:
        answers = table.targets.shape[1]
        assert (table.positions == torch.arange(table.tokens.shape[1] - answers, table.tokens.shape[1])).all()


def test_each_task_has_its_own_operator_and_equals_sign_and_they_share_the_numbers() -> None:
    vocabulary = dataset_of("x/y_mod", "x+y_mod").table.vocabulary
    assert vocabulary.symbols[23:] == ("/%", "+%", "=/%", "=+%")
    assert vocabulary.numerals == 23
    digits = dataset_of("x/y_mod", "x+y_mod", task_type="sequence").table.vocabulary
    assert digits.symbols[10:] == ("<NEG>", "/%", "+%", "=/%", "=+%", "<EOS>", "<PAD>")
    assert [digits.symbols[mark] for mark in (digits.sign or 0, digits.eos or 0, digits.pad or 0)] == [
        "<NEG>",
        "<EOS>",
        "<PAD>",
    ]


@pytest.mark.parametrize("operations", [("x/y_mod", "x-y"), ("x-y", "x/y_mod")])
def test_twins_stay_within_their_task(operations: tuple[str, str]) -> None:
    table = dataset_of(*operations).table
    assert table.twins is not None
    found = [(row, twin) for row, twin in enumerate(table.twins.tolist()) if twin >= 0]
    assert len(found) == 17 * 17 + 16 * 16
    quotients = table.z.where(table.task == operations.index("x/y_mod"), table.x)  # type: ignore[union-attr]
    for row, twin in found:
        assert table.task[row] == table.task[twin]
        assert (quotients[row], table.y[row]) == (table.y[twin], quotients[twin])  # type: ignore[index]


def test_a_commutative_split_keeps_each_task_s_twins_together() -> None:
    made = dataset_of("x/y_mod", "x+y_mod", split="commutative", training_fraction=0.31)
    assert made.split.twin_share == 0
    assert 0 < len(made.split.train) < made.table.in_domain


def test_an_ordered_curriculum_goes_from_small_pairs_to_large_ones_across_tasks() -> None:
    made = dataset_of("x+y_mod", "x-y", curriculum="ordered")
    train = made.split.train
    larger = made.table.x[train].maximum(made.table.y[train])  # type: ignore[index]
    assert larger.tolist() == sorted(larger.tolist())
    assert set(made.table.task[train[:20]].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("written", "operation"),
    [
        ("x/y, x+y_mod", "x/y_mod,x+y_mod"),
        (["x/y", "x+y_mod"], "x/y_mod,x+y_mod"),
        (("x+y_mod", "x/y"), "x+y_mod,x/y_mod"),
        ("x,y_max,x,y_min", "expr:max(x, y),expr:min(x, y)"),
        ("expr:max( x,y ),x+y", "expr:max(x, y),x+y"),
        (["x-y"], "x-y"),
    ],
)
@pytest.mark.parametrize("multitask", [None, True])
def test_operations_are_resolved_in_their_order(written: Any, operation: str, multitask: bool | None) -> None:
    config = resolve({"operation": written, "multitask": multitask})
    assert config.operation == operation
    assert resolve(config.model_dump()) == config


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        ({"operation": "x+y,x+y"}, "operation", "operation is 'x+y,x+y', but must name each once; x+y is named twice"),
        ({"operation": "x/y,x/y_mod"}, "operation", "x/y_mod is named twice"),
        ({"operation": "x+y,x-y", "multitask": False}, "multitask", "multitask is false, but operation names 2"),
        ({"operation": "x+y,zebra"}, "operation", "operation is 'zebra', but there is no such operation"),
        ({"operation": "x+y,"}, "operation", "operation is 'x+y,', but must name an operation"),
        ({"operation": []}, "operation", "operation is '', but there is no such operation"),
        ({"operation": ["x+y", 3]}, "operation", 'operation is ["x+y", 3], but must be a text'),
        ({"operation": "x+y,sort"}, "operation", "operation is 'x+y,sort', but sort is learned alone"),
        ({"operation": ",".join(["x+y"] * 33)}, "operation", "names 33 operations, but must name at most 32"),
        ({"operation": "x+y,x/y", "modulus": 98}, "modulus", "modulus is 98, but x/y_mod needs a prime"),
        ({"operation": "s5,x+y_mod", "operand_limit": 121, "modulus": 211}, "operand_limit", "elements of s5"),
        ({"operation": "x+y_mod,x-y", "operand_limit": 98}, "operand_limit", "must be at most the modulus"),
        ({"operation": "x+y_binary,x-y", "digit_order": "least_first"}, "digit_order", "means most_first"),
        ({"operation": "x+y_binary,x/y_binary_flipped"}, "operation", "x/y_binary_flipped means digit_order"),
        ({"operation": "x+y,x-y,xy_avg", "operand_limit": 1300}, "operand_limit", "which makes 5,070,000 pairs"),
    ],
)
def test_a_fault_of_several_operations_is_named(written: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(written)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert message in str(caught.value)


def test_one_operation_is_no_multitask_trial_whatever_is_said() -> None:
    assert resolve({"multitask": True}) == resolve({"multitask": False}) == resolve({})
