"""What is wrong with a wrong answer. Pure functions of token ids; needs no torch.

Of the answer 132 in base 10, most_first:

    1 3 4 <EOS>     digit, position 3         the first wrong digit, counted as written, from 1
    1 2 2 <EOS>     carry                     off by one carry: 132 − 122 = 10¹
    1 3 <EOS>       wrong_length
    <NEG> 1 3 2     sign
    1 + 2 <EOS>     other                     no number at all
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grokray.tasks.codes import NumberCode

Kind = Literal["value", "sign", "carry", "wrong_length", "digit", "other"]


@dataclass(frozen=True)
class Mistake:
    """`position` is that of the first wrong digit, counted as written from 1, for the kind `digit` alone."""

    kind: Kind
    position: int | None = None


def mistake(
    predicted: Sequence[int], truth: Sequence[int], code: NumberCode | None, *, one_token: bool = False
) -> Mistake | None:
    """None if the answer is right; else the first of these that applies. Token ids without what follows the end;
    `one_token` where every answer is a single one.

    value         a classification's other token
    other         no number: no digits, or a token where none can be
    sign          the sign is wrong, whatever follows
    carry         the number is off by one carry: by bᵏ in base b, for a k ≥ 1, as if a carry had been lost or made up
    wrong_length  too many or too few digits, zeros in front included; also what does not end
    digit         a wrong digit

    Answers that are no numbers, but lists or grids, have no code: they have a wrong length or a wrong token (`digit`).
    A parity has none either, and is a classification.
    """
    predicted, truth = list(predicted), list(truth)
    if predicted == truth:
        return None
    if code is None and one_token:
        return Mistake("value")
    if code is None:
        return Mistake("wrong_length") if len(predicted) != len(truth) else _first_wrong(predicted, truth)
    if not code.base:
        return Mistake("value")
    said, right = _Spelled.of(predicted, code), _Spelled.of(truth, code)
    if said is None or right is None:
        return Mistake("other")
    if said.negative != right.negative:
        return Mistake("sign")
    if said.ended and _is_carry(abs(said.number(code) - right.number(code)), code.base):
        return Mistake("carry")
    if not said.ended or len(said.digits) != len(right.digits):
        return Mistake("wrong_length")
    return _first_wrong(said.digits, right.digits)


@dataclass(frozen=True)
class _Spelled:
    """Digits as written, under a sign. `ended`: by `<EOS>`, where numbers end so."""

    negative: bool
    digits: list[int]
    ended: bool

    @classmethod
    def of(cls, tokens: list[int], code: NumberCode) -> _Spelled | None:
        """None where the tokens are no number, though perhaps one with zeros in front, or without an end."""
        sign, eos, pad = code.marks
        ended = bool(code.width) or tokens[-1:] == [eos]
        body = tokens if code.width or not ended else tokens[:-1]
        if code.width and code.signed:
            slot, body = body[:1], body[1:]
            negative = slot == [sign]
            if not negative and slot != [pad]:
                return None
        else:
            negative = body[:1] == [sign]
            body = body[negative:]
        is_number = body and all(0 <= token < code.base for token in body)
        return cls(negative, body, ended) if is_number else None

    def number(self, code: NumberCode) -> int:
        """Its magnitude."""
        number = 0
        for digit in self.digits if code.digit_order == "most_first" else reversed(self.digits):
            number = number * code.base + digit
        return number


def _first_wrong(predicted: list[int], truth: list[int]) -> Mistake:
    return Mistake("digit", 1 + next(i for i, (a, b) in enumerate(zip(predicted, truth, strict=True)) if a != b))


def _is_carry(difference: int, base: int) -> bool:
    """Whether it is bᵏ with k ≥ 1. No carry goes into the last place, so 1 is none."""
    while difference and difference % base == 0:
        difference //= base
        if difference == 1:
            return True
    return False
