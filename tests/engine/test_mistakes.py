from __future__ import annotations

import pytest

from grokray.engine.mistakes import Mistake, mistake
from grokray.tasks.codes import NumberCode, Vocabulary
from grokray.tasks.resolve import resolve

SYMBOLS = {"-": "<NEG>", ".": "<EOS>", "_": "<PAD>"}


def code(**parameters) -> NumberCode:
    from grokray.tasks.codes import number_code

    return number_code(resolve({"task_type": "sequence", "operand_limit": 50, **parameters}))


def ids(text: str, vocabulary: Vocabulary) -> list[int]:
    """`-12.` → the tokens <NEG> 1 2 <EOS>"""
    return [vocabulary.symbols.index(SYMBOLS.get(c, c)) for c in text]


def judge(predicted: str, truth: str, written: NumberCode) -> Mistake | None:
    return mistake(ids(predicted, written.vocabulary), ids(truth, written.vocabulary), written)


@pytest.mark.parametrize(
    ("predicted", "truth", "kind", "position"),
    [
        ("132.", "134.", "digit", 3),
        ("732.", "132.", "digit", 1),
        ("152.", "132.", "digit", 2),
        ("131.", "132.", "digit", 3),  # by one, but no carry goes into the last place
        ("142.", "132.", "carry", None),
        ("122.", "132.", "carry", None),
        ("232.", "132.", "carry", None),
        ("90.", "100.", "carry", None),  # shorter because of it
        ("100.", "90.", "carry", None),
        ("032.", "132.", "carry", None),  # spelled with a zero in front, but off by 100
        ("112.", "132.", "digit", 2),
        ("13.", "132.", "wrong_length", None),
        ("1320.", "132.", "wrong_length", None),
        ("05.", "5.", "wrong_length", None),
        ("132", "132.", "wrong_length", None),  # does not end
        ("142", "132.", "wrong_length", None),
        ("-132.", "132.", "sign", None),
        ("132.", "-132.", "sign", None),
        ("7.", "-132.", "sign", None),
        ("-122.", "-132.", "carry", None),
        ("-0.", "0.", "sign", None),
        (".", "132.", "other", None),
        ("-.", "-132.", "other", None),
        ("1=2.", "132.", "other", None),
        ("1-2.", "132.", "other", None),
        ("1_2.", "132.", "other", None),
    ],
)
def test_most_first_in_variable_length(predicted, truth, kind, position):
    assert judge(predicted, truth, code(operation="x-y", base=10)) == Mistake(kind, position)


@pytest.mark.parametrize(
    ("predicted", "truth", "kind", "position"),
    [
        ("241.", "231.", "carry", None),  # 142 for 132
        ("001.", "09.", "carry", None),
        ("431.", "231.", "digit", 1),
        ("232.", "231.", "carry", None),
        ("233.", "231.", "digit", 3),
    ],
)
def test_least_first(predicted, truth, kind, position):
    written = code(operation="x+y", base=10, digit_order="least_first")
    assert judge(predicted, truth, written) == Mistake(kind, position)


@pytest.mark.parametrize(
    ("predicted", "truth", "kind", "position"),
    [
        ("_12", "_32", "digit", 1),
        ("_22", "_32", "carry", None),
        ("-32", "_32", "sign", None),
        ("_02", "_12", "carry", None),
        ("132", "_32", "other", None),  # a digit where the sign belongs
        ("__2", "_32", "other", None),
        ("_3.", "_32", "other", None),
    ],
)
def test_fixed_length_with_a_slot_for_the_sign(predicted, truth, kind, position):
    written = code(operation="x-y", base=10, fixed_sequence_length=True)
    assert written.width == 2
    assert judge(predicted, truth, written) == Mistake(kind, position)


def test_a_carry_is_a_power_of_the_base():
    binary = code(operation="x+y", base=2)
    assert judge("111.", "101.", binary) == Mistake("carry")  # by 2
    assert judge("001", "011", code(operation="x+y", base=2, fixed_sequence_length=True, operand_limit=4)) == Mistake(
        "carry"
    )
    assert judge("100.", "101.", binary) == Mistake("digit", 3)  # by 1
    assert judge("1011.", "101.", binary) == Mistake("wrong_length")  # by 6


def test_a_right_answer_has_no_mistake():
    assert judge("-12.", "-12.", code(operation="x-y", base=10)) is None


def test_a_classification_is_right_or_another_value():
    from grokray.tasks.codes import number_code

    written = number_code(resolve({"operation": "x+y_mod", "modulus": 7}))
    assert mistake([3], [3], written) is None
    assert mistake([4], [3], written) == Mistake("value")
    assert mistake([written.vocabulary.equals], [3], written) == Mistake("value")


def test_lists_and_grids_have_wrong_tokens_or_a_wrong_length():
    assert mistake([1, 2, 3], [1, 2, 3], None) is None
    assert mistake([1, 2], [1, 2, 3], None) == Mistake("wrong_length")
    assert mistake([1, 4, 5], [1, 2, 3], None) == Mistake("digit", 2)


def test_a_parity_has_another_value_and_a_list_a_wrong_token():
    assert mistake([3], [4], None, one_token=True) == Mistake("value")
    assert mistake([3], [3], None, one_token=True) is None
    assert mistake([3, 5], [3, 4], None) == Mistake("digit", 2)
