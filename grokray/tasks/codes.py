"""Numbers as tokens: one token each (classification), or digits in a base (sequence), and back again.

Worked examples, base 10, least_first: 47 + 85 = 132 reads `7 4 + 5 8 =` and asks for `2 3 1 <EOS>`; in a fixed length
of 3 it reads `7 4 0 + 5 8 0 =` and asks for `2 3 1`. 5 − 12 = −7 asks for `<NEG> 7 <EOS>`; in a fixed length of 2 for
`<NEG> 7 0`, while 12 − 5 asks for `<PAD> 7 0`.

In variable length the sign `<NEG>` stands first in either digit order, and `<EOS>` ends the answer. In fixed length
there is no `<EOS>`; where an operation can give negative answers, each answer starts with a sign slot that holds
`<NEG>` or is blank, which is what `<PAD>` means there: a token trained and scored like any other, unlike any digit.

Encoders return tokens (n, width) int64, filled with −1 beyond each number's length, and the lengths (n,).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from grokray.tasks.operations import operations_of
from grokray.tasks.sizes import value_range
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tokens of a table; an id is a place in `symbols`. The first `numerals` of them are values or digits.

    Classification: the values from `lowest` up, operator, equals. Sequence: digits, sign, operator, equals, `<EOS>`,
    `<PAD>`, all of them always, so that the tasks of a base share a shape. None marks a token the task has not.
    Several tasks have as many operators, side by side from `op` on, and then as many equals signs from `equals` on.
    """

    symbols: tuple[str, ...]
    numerals: int
    op: int
    equals: int
    sign: int | None = None
    eos: int | None = None
    pad: int | None = None
    lowest: int = 0

    @property
    def size(self) -> int:
        return len(self.symbols)

    def for_task(self, task: int) -> Vocabulary:
        """The same tokens, with `op` and `equals` those of the given task."""
        return replace(self, op=self.op + task, equals=self.equals + task)


@dataclass(frozen=True, kw_only=True)
class NumberCode:
    """How one task writes its numbers. `base` is 0 in classification, `width` (digits) 0 in variable length."""

    vocabulary: Vocabulary
    base: int = 0
    digit_order: str = ""
    width: int = 0
    signed: bool = False

    @property
    def marks(self) -> tuple[int, int, int]:
        """The ids of sign, end and padding, which every sequence has."""
        return cast(tuple[int, int, int], (self.vocabulary.sign, self.vocabulary.eos, self.vocabulary.pad))

    def encode_operands(self, n: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers n (n,), none negative, as they stand in a prompt."""
        if not self.base:
            return _whole(n, self.vocabulary)
        if not self.width:
            return _variable(n, self, end=False)
        return _fixed(n, self, sign_slot=False)

    def encode_answers(self, n: Tensor) -> tuple[Tensor, Tensor]:
        """Answers n (n,), with all that is trained and scored: the sign, the digits and `<EOS>`, where used."""
        if not self.base:
            return _whole(n, self.vocabulary)
        if not self.width:
            return _variable(n, self, end=True)
        return _fixed(n, self, sign_slot=self.signed)


def number_code(config: TrialConfig) -> NumberCode:
    """The code of a resolved trial on pairs of numbers; several tasks share it, with their own operators and equals."""
    operations, p = operations_of(config.operation), config.modulus
    symbols = [operation.symbol for operation in operations]
    if config.base is None:
        lowest, highest = value_range(operations, p, config.operand_limit)
        return NumberCode(vocabulary=value_vocabulary(lowest, highest, symbols))
    # Wide enough in and out of domain, for operands and answers alike: nothing is ever cut.
    lowest, highest = value_range(operations, p, config.operand_limit_out or config.operand_limit)
    return NumberCode(
        vocabulary=digit_vocabulary(config.base, symbols),
        base=config.base,
        digit_order=config.digit_order or "most_first",
        width=digit_count(max(-lowest, highest), config.base) if config.fixed_sequence_length else 0,
        signed=lowest < 0,
    )


def value_vocabulary(lowest: int, highest: int, symbols: Sequence[str]) -> Vocabulary:
    """All values from `lowest` to `highest`, and the tasks' operators and equals signs."""
    values = tuple(map(str, range(lowest, highest + 1)))
    n = len(values)
    return Vocabulary(
        symbols=(*values, *symbols, *_equals(symbols)), numerals=n, op=n, equals=n + len(symbols), lowest=lowest
    )


def digit_vocabulary(base: int, symbols: Sequence[str]) -> Vocabulary:
    """The digits of a base, the marks, and the tasks' operators and equals signs."""
    equals, eos = base + 1 + len(symbols), base + 1 + 2 * len(symbols)
    return Vocabulary(
        symbols=(*map(str, range(base)), "<NEG>", *symbols, *_equals(symbols), "<EOS>", "<PAD>"),
        numerals=base,
        sign=base,
        op=base + 1,
        equals=equals,
        eos=eos,
        pad=eos + 1,
    )


def _equals(symbols: Sequence[str]) -> list[str]:
    """`=` for one task; of several each has its own, such as `=+%`."""
    return ["="] if len(symbols) == 1 else [f"={symbol}" for symbol in symbols]


def decode_answer(ids: Iterable[int], code: NumberCode) -> int | None:
    """The number that answer tokens spell, or None where they spell none.

    Tokens after `<EOS>` are not looked at. One number has one spelling (no leading zeros in variable length, no minus
    zero), so the decoded answer is right exactly when every token up to the end is.
    """
    tokens = list(ids)
    if not code.base:
        is_value = len(tokens) == 1 and tokens[0] < code.vocabulary.numerals
        return tokens[0] + code.vocabulary.lowest if is_value else None
    return _decode_variable(tokens, code) if not code.width else _decode_fixed(tokens, code)


def digits(n: Tensor, base: int, width: int, order: str) -> Tensor:
    """Digits (n, width) of numbers n (n,), none negative, zero-padded on the most significant side.

    3 in base 2 and width 4 is 0 0 1 1 with most_first and 1 1 0 0 with least_first.
    """
    import torch

    least_first = []
    for _ in range(width):
        least_first.append(n % base)
        n = n // base
    return torch.stack(least_first if order == "least_first" else least_first[::-1], dim=1)


def digit_count(number: int, base: int) -> int:
    """Digits that `number` takes in `base`: 1 for 0, 3 for 132 in base 10."""
    count = 1
    while number >= base:
        number //= base
        count += 1
    return count


def _whole(n: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """A number beyond the vocabulary, such as an operand out of domain, gets an id that is no token's: its size."""
    ids = n - vocabulary.lowest
    ids = ids.masked_fill((ids < 0) | (ids >= vocabulary.numerals), vocabulary.size)
    return ids[:, None], n.new_ones(len(n))


def _fixed(n: Tensor, code: NumberCode, *, sign_slot: bool) -> tuple[Tensor, Tensor]:
    tokens = digits(n.abs(), code.base, code.width, code.digit_order)
    if sign_slot:
        import torch

        sign, _, pad = code.marks
        slot = torch.full_like(n, pad).masked_fill(n < 0, sign)
        tokens = torch.cat([slot[:, None], tokens], dim=1)
    return tokens, n.new_full((len(n),), tokens.shape[1])


def _variable(n: Tensor, code: NumberCode, *, end: bool) -> tuple[Tensor, Tensor]:
    """Laid out by place: column − 1 where a minus leads, else the column; the digit at a place depends on the order."""
    import torch

    sign, eos, _ = code.marks
    magnitude, negative = n.abs(), (n < 0).long()
    width = digit_count(int(magnitude.max()), code.base)
    least_first = digits(magnitude, code.base, width, "least_first")
    count = _digit_counts(magnitude, code.base, width)
    place = torch.arange(int(negative.max()) + width + end) - negative[:, None]  # (n, columns)
    index = place if code.digit_order == "least_first" else count[:, None] - 1 - place
    tokens = least_first.gather(1, index.clamp(0, width - 1))
    tokens = tokens.masked_fill(place >= count[:, None], -1).masked_fill(place < 0, sign)
    if end:
        tokens = tokens.masked_fill(place == count[:, None], eos)
    return tokens, negative + count + end


def _digit_counts(magnitude: Tensor, base: int, width: int) -> Tensor:
    count = magnitude.new_ones(len(magnitude))
    for place in range(1, width):
        count += magnitude >= base**place
    return count


def _decode_variable(tokens: list[int], code: NumberCode) -> int | None:
    if code.vocabulary.eos not in tokens:
        return None
    body = tokens[: tokens.index(code.vocabulary.eos)]
    negative = body[:1] == [code.vocabulary.sign]
    number = _number(body[negative:], code)
    if number is None or len(body) - negative != digit_count(number, code.base):
        return None
    return _signed(number, negative)


def _decode_fixed(tokens: list[int], code: NumberCode) -> int | None:
    slot = tokens[: code.signed]
    number = _number(tokens[code.signed :], code)
    if number is None or len(tokens) != code.width + code.signed:
        return None
    if slot not in ([], [code.vocabulary.sign], [code.vocabulary.pad]):
        return None
    return _signed(number, slot == [code.vocabulary.sign])


def _number(tokens: list[int], code: NumberCode) -> int | None:
    if not tokens or any(token >= code.base for token in tokens):
        return None
    number = 0
    for digit in tokens if code.digit_order == "most_first" else reversed(tokens):
        number = number * code.base + digit
    return number


def _signed(number: int, negative: bool) -> int | None:
    if negative:
        return -number if number else None
    return number
