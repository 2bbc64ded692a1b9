"""Numbers as tokens and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks_slow import spelled

from grokray.tasks import NumberCode, decode_answer, number_code
from grokray.tasks.codes import digit_count, digits
from grokray.tasks.resolve import resolve

ORDERS = ("most_first", "least_first")


def code_of(operation: str, **parameters: Any) -> NumberCode:
    return number_code(resolve({"operation": operation, **parameters}))


def answer(code: NumberCode, n: int) -> list[int]:
    tokens, lengths = code.encode_answers(torch.tensor([n]))
    assert tokens.shape[1] == lengths.item()
    return tokens[0].tolist()


def symbols(code: NumberCode, n: int) -> str:
    return " ".join(code.vocabulary.symbols[token] for token in answer(code, n))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("operation", ["x-y", "x+y"])
def test_answers_survive_the_round_trip_in_every_base(order: str, fixed: bool, operation: str) -> None:
    signed = operation == "x-y"
    numbers = torch.arange(-299 if signed else 0, 300)
    for base in range(2, 201):
        code = code_of(
            operation,
            task_type="sequence",
            base=base,
            digit_order=order,
            fixed_sequence_length=fixed,
            operand_limit=300 if signed else 151,
        )
        tokens, lengths = code.encode_answers(numbers)
        rows = [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
        assert [decode_answer(row, code) for row in rows] == numbers.tolist()
        assert len(set(map(tuple, rows))) == len(rows), "two numbers with one spelling"
        assert fixed == (len(set(lengths.tolist())) == 1 and code.vocabulary.eos not in rows[0])


@given(n=st.integers(0, 2**40), base=st.integers(2, 4096), order=st.sampled_from(ORDERS), extra=st.integers(0, 3))
def test_digits_are_those_of_plain_division(n: int, base: int, order: str, extra: int) -> None:
    width = digit_count(n, base) + extra
    found = digits(torch.tensor([n]), base, width, order)[0].tolist()
    assert list(map(str, found)) == spelled(n, base, order, width)
    assert extra or width == len(spelled(n, base, order))


def test_one_two_and_four_differ_in_fixed_length_least_first() -> None:
    shown = {n: digits(torch.tensor([n]), 2, 3, "least_first")[0].tolist() for n in (1, 2, 4)}
    assert shown == {1: [1, 0, 0], 2: [0, 1, 0], 4: [0, 0, 1]}


def test_worked_examples_of_the_docstring() -> None:
    least = {"task_type": "sequence", "digit_order": "least_first"}
    assert symbols(code_of("x+y", **least), 132) == "2 3 1 <EOS>"
    assert symbols(code_of("x+y", **least, fixed_sequence_length=True), 132) == "2 3 1"
    assert symbols(code_of("x-y", **least), -7) == "<NEG> 7 <EOS>"
    assert symbols(code_of("x-y", **least, fixed_sequence_length=True), -7) == "<NEG> 7 0"
    assert symbols(code_of("x-y", **least, fixed_sequence_length=True), 7) == "<PAD> 7 0"
    assert symbols(code_of("x-y", task_type="sequence"), -12) == "<NEG> 1 2 <EOS>"


@pytest.mark.parametrize("fixed", [False, True])
def test_what_spells_no_number_decodes_to_none(fixed: bool) -> None:
    code = code_of("x-y", task_type="sequence", fixed_sequence_length=fixed)
    sign, eos, pad = code.marks
    op, equals = code.vocabulary.op, code.vocabulary.equals
    if fixed:
        wrong = [[pad, 1], [pad, 1, 2, 3], [sign, 0, 0], [1, 2, 3], [pad, 1, op], [eos, 1, 2], []]
    else:
        wrong = [[1, 2], [0, 7, eos], [sign, 0, eos], [sign, eos], [eos], [1, sign, eos], [1, equals, eos], [pad, eos]]
    assert [decode_answer(tokens, code) for tokens in wrong] == [None] * len(wrong)


def test_a_single_negative_answer_takes_a_sign() -> None:
    code = code_of("x-y", operand_limit=2, task_type="sequence", base=2, fixed_sequence_length=True)
    assert [symbols(code, n) for n in (-1, 0, 1)] == ["<NEG> 1", "<PAD> 0", "<PAD> 1"]


@pytest.mark.parametrize("order", ORDERS)
def test_beyond_a_number_s_length_there_is_no_token(order: str) -> None:
    code = code_of("x-y", task_type="sequence", digit_order=order)
    tokens, lengths = code.encode_operands(torch.tensor([7, 120]))
    assert tokens.tolist() == [[7, -1, -1], [1, 2, 0] if order == "most_first" else [0, 2, 1]]
    assert lengths.tolist() == [1, 3]
    sign, eos, _ = code.marks
    tokens, lengths = code.encode_answers(torch.tensor([7, -12]))
    assert tokens.tolist() == [[7, eos, -1, -1], [sign, *((1, 2) if order == "most_first" else (2, 1)), eos]]
    assert lengths.tolist() == [2, 4]


def test_tokens_after_the_end_do_not_count() -> None:
    code = code_of("x+y", task_type="sequence")
    assert decode_answer([1, 2, code.marks[1], 9, -1], code) == 12


def test_a_classification_has_its_residues_the_operator_and_equals() -> None:
    vocabulary = code_of("x/y_mod", modulus=97).vocabulary
    assert vocabulary.size == 99
    assert vocabulary.symbols[:3] == ("0", "1", "2")
    assert (vocabulary.symbols[vocabulary.op], vocabulary.symbols[vocabulary.equals]) == ("/%", "=")


def test_a_plain_classification_has_every_value_negative_ones_too() -> None:
    code = code_of("x-y", operand_limit=5)
    assert code.vocabulary.symbols == ("-4", "-3", "-2", "-1", "0", "1", "2", "3", "4", "-", "=")
    assert [decode_answer(answer(code, n), code) for n in range(-4, 5)] == list(range(-4, 5))
    assert decode_answer([code.vocabulary.op], code) is None


def test_a_number_beyond_the_vocabulary_has_no_token_s_id() -> None:
    code = code_of("x-y", operand_limit=5)
    assert [answer(code, n) for n in (-5, 5, 500)] == [[code.vocabulary.size]] * 3


def test_the_tasks_of_a_base_share_a_vocabulary_size() -> None:
    names = ("x/y_mod", "x-y", "xy_sqrt")
    codes = [
        code_of(name, task_type="sequence", base=7, fixed_sequence_length=fixed)
        for name in names
        for fixed in (False, True)
    ]
    assert {code.vocabulary.size for code in codes} == {12}
    assert all(len(set(code.vocabulary.symbols)) == 12 for code in codes)
