"""How large a task is, known from its parameters alone: pairs, values, tokens. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grokray.tasks.operations import Operation

# Bounds on what one trial may ask for: such a table takes about 2 GB in base 2, and a wider output layer than this
# would outweigh the transformer under it.
ROW_LIMIT = 4_000_000
VOCABULARY_LIMIT = 8_192
# Kept for all tasks of a base, so that they share a shape: sign, end, padding.
SEQUENCE_MARKS = 3


def pair_count(operation: Operation, limit: int) -> int:
    """Pairs (x, y) with 0 ≤ x < limit and y_min ≤ y < limit: 9,312 for `x/y_mod` below 97."""
    return limit * (limit - operation.y_min)


def training_count(pairs: int, training_fraction: float) -> int:
    """Pairs trained on, rounded down: 28.999999999999996, which is 0.29 · 100 in binary, counts as 29."""
    return int(pairs * training_fraction + 1e-9)


def one_sided(number: int, training_fraction: float, of: str) -> str | None:
    """What is wrong with a fraction that leaves nothing on one side of `number` rows or groups of them; None if it
    leaves something on both. `of` is what they are, as in "9,312 pairs"."""
    if 0 < training_count(number, training_fraction) < number:
        return None
    rule = f"but of {of} must leave at least one to train on and one to hold out"
    return f"training_fraction is {training_fraction}, {rule}"


def value_range(operations: Iterable[Operation], modulus: int | None, limit: int) -> tuple[int, int]:
    """The least and the greatest number that an operand or an answer can be, operands below `limit`.

    For a modular operation (0, modulus − 1) whatever the limit; for `x-y` below 97, (−96, 96); for both those together.
    """
    ranges = [_range(operation, modulus, limit) for operation in operations]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _range(operation: Operation, modulus: int | None, limit: int) -> tuple[int, int]:
    if operation.kind == "modular" and modulus is not None:
        return 0, modulus - 1
    if operation.order is not None:
        return 0, operation.order - 1
    lowest, highest = operation.plain_range(limit)
    return min(lowest, 0), max(highest, limit - 1)


def vocabulary_size(operations: Sequence[Operation], modulus: int | None, limit: int, base: int | None) -> int:
    """Digits and marks in a base, else one token for each value; and each task's operator and equals sign."""
    if base is not None:
        return base + SEQUENCE_MARKS + 2 * len(operations)
    lowest, highest = value_range(operations, modulus, limit)
    return highest - lowest + 1 + 2 * len(operations)
