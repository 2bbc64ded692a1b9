"""Tables against rows written out one by one."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from tasks_slow import Row, all_trained, out_of_domain, pairs, sequence_row, shown_and_answer, spelled

from grokray.tasks import OPERATIONS, Table, build_table, decode_answer, table_key
from grokray.tasks.pair_tables import build
from grokray.tasks.resolve import resolve
from grokray.tasks.tables import _Cache
from grokray.trial import TrialConfig

ORDERS = ("most_first", "least_first")


def table_of(operation: str, **parameters: Any) -> Table:
    return build_table(resolve({"operation": operation, **parameters}))


def rows_of(table: Table) -> list[Row]:
    """Each row as prompt and answer in symbols, read through `positions` and `targets` alone."""
    symbols, rows = table.vocabulary.symbols, []
    for tokens, positions, targets in zip(
        table.tokens.tolist(), table.positions.tolist(), table.targets.tolist(), strict=True
    ):
        answer = [target for target in targets if target >= 0]
        prompt = tokens[: positions[0] + 1]
        # Teacher forcing: what stands where an answer token is predicted is the answer token before it.
        assert [tokens[position] for position in positions[1 : len(answer)]] == answer[:-1]
        assert positions[: len(answer)] == list(range(positions[0], positions[0] + len(answer)))
        assert {*positions[len(answer) :]} <= {positions[len(answer) - 1]}, "what is not scored stays within the row"
        rows.append(([symbols[token] for token in prompt], [symbols[target] for target in answer]))
    return rows


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("base", [2, 3, 10])
@pytest.mark.parametrize("operation", ["x/y_mod", "x-y", "x+y", "x^3+xy_mod"])
def test_a_variable_length_table_is_its_rows_written_out(operation: str, base: int, order: str) -> None:
    modular = OPERATIONS[operation].kind == "modular"
    p, limit, limit_out = 23 if modular else None, 12, 19
    table = table_of(
        operation,
        task_type="sequence",
        base=base,
        digit_order=order,
        modulus=p,
        operand_limit=limit,
        operand_limit_out=limit_out,
    )
    symbol = OPERATIONS[operation].symbol
    domain = pairs(operation, limit)
    inside = [sequence_row(operation, symbol, x, y, p, base, order) for x, y in domain]
    outside_pairs = out_of_domain(operation, limit, limit_out)
    outside = [sequence_row(operation, symbol, x, y, p, base, order) for x, y in outside_pairs]
    assert table.in_domain == len(inside)
    assert rows_of(table) == inside + [row for row in outside if all_trained(row, inside)]
    assert table.tokens.shape[1] == max(len(prompt) + len(answer) - 1 for prompt, answer in rows_of(table))
    assert table.tokens.dtype == torch.int32
    assert table.positions.dtype == table.targets.dtype == table.x.dtype == torch.int64


def written_out(table: Table) -> list[Row]:
    """Rows of an expression in base 10, by its own answers, which have their tests elsewhere."""
    assert table.x is not None
    assert table.y is not None
    assert table.z is not None
    numbers = zip(table.x.tolist(), table.y.tolist(), table.z.tolist(), strict=True)
    spell = partial(spelled, base=10, digit_order="most_first")
    return [([*spell(x), *table.task_names, *spell(y), "="], [*spell(z), "<EOS>"]) for x, y, z in numbers]


@pytest.mark.parametrize("text", ["x % 5", "100 // (1 + 9*(x // 10)) // (1 + 9*(y // 10))"])
def test_a_table_is_uniform_only_where_both_its_rows_and_its_answers_are_of_one_length(text: str) -> None:
    """Of the first all answers are of one length, of the second all rows: 3 and 5 give 100, 3 and 10 give 10."""
    table = table_of(f"expr:{text}", task_type="sequence", operand_limit=11)
    assert rows_of(table) == written_out(table)
    assert not table.uniform


def test_a_row_that_asks_for_a_zero_where_none_was_trained_as_an_answer_is_left_out() -> None:
    """Below 3 the answers are 1 to 5; 4 and 5 are read in answers, 10 ends in a digit that was never asked for."""
    table = table_of("expr:x + y + 1", task_type="sequence", operand_limit=3, operand_limit_out=6)
    assert table.z is not None
    assert rows_of(table) == written_out(table)
    outside = table.z[table.in_domain :].tolist()
    assert set(outside) == {4, 5, 11}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_classification_asks_one_token_where_equals_stands(operation: str) -> None:
    p = 13 if OPERATIONS[operation].kind == "modular" else None
    table = table_of(operation, modulus=p, operand_limit=13)
    expected = []
    for x, y in pairs(operation, 13):
        left, right, z = shown_and_answer(operation, x, y, p)
        expected.append(([str(left), OPERATIONS[operation].symbol, str(right), "="], [str(z)]))
    assert rows_of(table) == expected
    assert table.uniform
    assert table.tokens.shape[1] == 4
    assert table.vocabulary.size == 15 if p else table.vocabulary.size >= 15


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("base", [2, 5, 10, 20, 64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_fixed_length_never_cuts_an_operand_or_a_result(operation: str, base: int, order: str) -> None:
    modular = OPERATIONS[operation].kind == "modular"
    p = 31 if modular else None
    table = table_of(
        operation,
        task_type="sequence",
        base=base,
        digit_order=order,
        fixed_sequence_length=True,
        modulus=p,
        operand_limit=14,
        operand_limit_out=21,
    )
    width = table.code.width
    signed = operation == "x-y"
    assert "<EOS>" not in {symbol for _, answer in rows_of(table) for symbol in answer}
    for (prompt, answer), x, y, z in zip(
        rows_of(table), table.x.tolist(), table.y.tolist(), table.z.tolist(), strict=True
    ):
        slot = ["<NEG>" if z < 0 else "<PAD>"] * signed
        assert answer == slot + spelled(abs(z), base, order, width)
        left, right = spelled(x, base, order, width), spelled(y, base, order, width)
        assert prompt == [*left, OPERATIONS[operation].symbol, *right, "="]
        assert len(prompt) == 2 * width + 2
        assert len(answer) == width + signed
    assert table.uniform


@pytest.mark.parametrize("parameters", [{}, {"task_type": "sequence", "fixed_sequence_length": True}])
def test_uniform_means_the_last_columns(parameters: dict[str, Any]) -> None:
    table = table_of("x+y_mod", modulus=13, **parameters)
    length, answers = table.tokens.shape[1], table.targets.shape[1]
    assert table.uniform
    assert (table.positions == torch.arange(length - answers, length)).all()
    assert (table.targets >= 0).all()
    assert not table_of("x+y_mod", modulus=13, task_type="sequence").uniform


@pytest.mark.parametrize("parameters", [{}, {"base": 2}, {"base": 10, "fixed_sequence_length": True}])
def test_every_target_decodes_to_the_answer(parameters: dict[str, Any]) -> None:
    task_type = "sequence" if parameters else "classification"
    table = table_of("x-y", task_type=task_type, operand_limit=12, **parameters)
    decoded = [decode_answer([t for t in row if t >= 0], table.code) for row in table.targets.tolist()]
    assert decoded == table.z.tolist() == (table.x - table.y).tolist()


def test_out_of_domain_holds_every_further_pair_once_with_the_same_modulus() -> None:
    table = table_of("x+y_mod", task_type="sequence", base=2, max_bit_length_train=6, max_bit_length_val_out=7)
    assert table.in_domain == 64 * 64
    outside = list(zip(table.x[table.in_domain :].tolist(), table.y[table.in_domain :].tolist(), strict=True))
    assert outside == out_of_domain("x+y_mod", 64, 128)
    assert len(set(outside)) == len(outside) == 128 * 128 - 64 * 64
    assert table.z.tolist() == [(x + y) % 131 for x, y in zip(table.x.tolist(), table.y.tolist(), strict=True)]
    assert (table.twins[table.in_domain :] == -1).all()


@pytest.mark.parametrize("operation", ["x/y_mod", "x+y_mod", "x*y_mod", "x-y", "xy_avg", "x^3+xy_mod"])
def test_out_of_domain_of_a_classification_uses_trained_tokens_only(operation: str) -> None:
    p = 13 if OPERATIONS[operation].kind == "modular" else None
    table = table_of(operation, modulus=p, operand_limit=9, operand_limit_out=12)
    inside = [shown_and_answer(operation, x, y, p) for x, y in pairs(operation, 9)]
    inputs = {operand for left, right, _ in inside for operand in (left, right)}
    targets = {z for *_, z in inside}
    outside = [shown_and_answer(operation, x, y, p) for x, y in out_of_domain(operation, 9, 12)]
    expected = inside + [row for row in outside if {row[0], row[1]} <= inputs and row[2] in targets]
    assert list(zip(table.x.tolist(), table.y.tolist(), table.z.tolist(), strict=True)) == expected
    assert (len(expected) > len(inside)) == (operation == "x/y_mod")
    assert int(table.tokens.max()) < table.vocabulary.size


def test_an_evaluation_out_of_domain_leaves_the_training_rows_as_they_are() -> None:
    for parameters in ({}, {"task_type": "sequence"}):
        near = table_of("x/y_mod", modulus=31, operand_limit=20, **parameters)
        far = table_of("x/y_mod", modulus=31, operand_limit=20, operand_limit_out=29, **parameters)
        assert rows_of(near) == rows_of(far)[: near.in_domain]
        assert near.vocabulary == far.vocabulary
        assert len(far.z) > far.in_domain


def test_twins_are_the_commuted_pairs() -> None:
    for operation in ("x/y_mod", "x-y"):
        domain = pairs(operation, 11)
        rows = {pair: row for row, pair in enumerate(domain)}
        table = table_of(operation, modulus=11, operand_limit=11)
        assert table.twins.tolist() == [rows.get((y, x), -1) for x, y in domain]


@pytest.mark.parametrize("operation", ["x-y", "x/y_mod"])
def test_a_row_is_the_same_pair_in_every_base_and_representation(operation: str) -> None:
    tables = [table_of(operation, modulus=31, operand_limit=31)]
    for base in (2, 7, 40):
        for order in ORDERS:
            for fixed in (False, True):
                sequence = {"base": base, "digit_order": order, "fixed_sequence_length": fixed}
                tables.append(table_of(operation, task_type="sequence", modulus=31, operand_limit=31, **sequence))
    for table in tables:
        assert torch.equal(table.x, tables[0].x)
        assert torch.equal(table.y, tables[0].y)
        assert torch.equal(table.z, tables[0].z)


def test_chunks_join_without_a_seam() -> None:
    table = table_of("x+y", task_type="sequence", operand_limit=260)  # 67,600 rows, more than one chunk
    rows = torch.arange(65_500, 65_600)
    some = [table.tokens[rows], table.positions[rows], table.targets[rows]]
    for tokens, positions, targets, x, y in zip(*some, table.x[rows], table.y[rows], strict=True):
        prompt, answer = sequence_row("x+y", "+", int(x), int(y), None, 10, "most_first")
        symbols = [table.vocabulary.symbols[token] for token in tokens]
        assert symbols[: len(prompt) + len(answer) - 1] == prompt + answer[:-1]
        assert set(symbols[len(prompt) + len(answer) - 1 :]) <= {"<PAD>"}
        assert [table.vocabulary.symbols[target] for target in targets if target >= 0] == answer
        assert int(positions[0]) == len(prompt) - 1


def test_the_key_knows_what_shapes_a_table_and_no_more() -> None:
    config = resolve({"task_type": "sequence", "modulus": 13})
    others = {"init_seed": 1, "split_seed": 2, "order_seed": 3, "training_fraction": 0.3, "split": "commutative"}
    same = config.model_copy(update={**others, "curriculum": "ordered", "batch_size": 7})
    assert table_key(same) == table_key(config)
    assert build_table(same) is build_table(config)
    for change in ({"base": 3}, {"operand_limit": 12}, {"fixed_sequence_length": True}, {"operation": "x+y_mod"}):
        assert table_key(config.model_copy(update=change)) != table_key(config)
    hash(table_key(config))


def test_a_table_counts_what_was_sorted_of_it_and_each_storage_once() -> None:
    table = build(resolve({"operation": "x+y", "task_type": "sequence", "operand_limit": 20, "operand_limit_out": 30}))
    before, sizes = table.nbytes, []
    for rows in (table.sorted_rows, table.sorted_in_domain):
        sizes.append(sum(t.untyped_storage().nbytes() for t in rows if isinstance(t, torch.Tensor)))
    assert 0 < sizes[1] < sizes[0]
    assert table.nbytes == before + sum(sizes)
    whole = build(resolve({"operation": "x+y", "operand_limit": 20}))
    once = whole.nbytes
    assert whole.sorted_in_domain is whole.sorted_rows
    assert whole.nbytes == once + sum(
        t.untyped_storage().nbytes() for t in whole.sorted_rows if isinstance(t, torch.Tensor)
    )


def test_the_cache_is_bounded_by_bytes_and_finds_what_is_still_in_use() -> None:
    configs = [resolve({"operation": "x+y", "operand_limit": limit}) for limit in (40, 41, 42)]
    one = build_table(configs[0]).nbytes
    cache = _Cache(int(2.5 * one))

    def get(config: TrialConfig, cache: _Cache = cache) -> Table:
        return cache.get(table_key(config), lambda: build(config))

    held = get(configs[0])
    for config in configs[1:]:
        get(config)
    assert len(cache.recent) == 2
    assert get(configs[0]) is held, "alive elsewhere, so not built again"
    assert sum(table.nbytes for table in cache.recent.values()) <= cache.limit
    assert table_key(configs[1]) not in cache.recent
    tiny = _Cache(1)
    assert get(configs[0], tiny) is get(configs[0], tiny), "the latest is kept whatever its size"


def test_the_default_trial_has_a_table() -> None:
    table = build_table(TrialConfig())
    assert table.tokens.shape == (97 * 96, 4)
    assert table.vocabulary.size == 99
