"""What parameters must fulfil together. Each check adds to the draft's problems, or stays silent where a value that it
needs is already known to be at fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from grokray.tasks.draft import DEFAULTS, LARGEST_NUMBER, Draft
from grokray.tasks.expressions import ExpressionError
from grokray.tasks.operations import Operation
from grokray.tasks.primes import is_prime, next_prime, previous_prime
from grokray.tasks.sizes import ROW_LIMIT, VOCABULARY_LIMIT, one_sided, pair_count, vocabulary_size
from grokray.trial import fault_of_heads, fault_of_precision
from grokray.wording import show

SIZES = ("modulus", "prime", "operand_limit", "operand_limit_out", "max_bit_length_train", "max_bit_length_val_out")


def check_sizes(draft: Draft, operations: Sequence[Operation]) -> None:
    """Operands below the modulus, and a table, a vocabulary and a split that can be."""
    if not draft.sound("task_type", *SIZES):
        return
    modulus, limit = draft.values["modulus"], draft.values["operand_limit"]
    limit_out = draft.values.get("operand_limit_out")
    largest = "operand_limit_out" if limit_out else "operand_limit"
    _check_limits(draft, operations, limit, limit_out)
    fewest = min(pair_count(operation, limit) for operation in operations)  # each is split; the smallest decides
    check_split(draft, fewest, f"{fewest:,} pairs")

    rows = sum(pair_count(operation, limit_out or limit) for operation in operations)
    if rows > ROW_LIMIT:
        draft.object_to(largest, f"which makes {rows:,} pairs, but must make at most {ROW_LIMIT:,}")
    elif _check_expressions(draft, operations, modulus, limit_out or limit):
        _check_vocabulary(draft, operations, modulus, limit)


def check_prime(draft: Draft, operations: Sequence[Operation]) -> None:
    """`modulus is 98, but x/y_mod needs a prime; the nearest are 97 and 101`."""
    modulus = draft.values["modulus"]
    needy = next((operation.name for operation in operations if operation.needs_prime), None)
    if needy and draft.sound("modulus", "prime") and not is_prime(modulus):
        neighbours = (previous_prime(modulus), next_prime(modulus))
        near = " and ".join(str(prime) for prime in neighbours if prime and prime <= LARGEST_NUMBER)
        verb = "are" if " and " in near else "is"
        draft.object_to("modulus", f"but {needy} needs a prime; the nearest {verb} {near}")


def check_split(draft: Draft, number: int, of: str) -> None:
    """Some of `number` to train on, and some to hold out; `of` is what they are, as in "9,312 pairs"."""
    fraction = draft.values.get("training_fraction", DEFAULTS["training_fraction"])
    if draft.sound("training_fraction") and (fault := one_sided(number, fraction, of)):
        draft.add("training_fraction", fault)


def refuse(draft: Draft, field: str, value: object, rule: str) -> None:
    """A value that was given and cannot be here."""
    if draft.given.get(field) == value:
        draft.add(field, f"{field} is {show(value)}, {rule}")


def check_heads(draft: Draft) -> None:
    heads, width = (draft.given.get(name, DEFAULTS[name]) for name in ("num_heads", "dim_model"))
    if draft.sound("num_heads", "dim_model") and (fault := fault_of_heads(heads, width)):
        draft.add("num_heads", fault)


def check_precision(draft: Draft) -> None:
    precision, dtype = (draft.given.get(name, DEFAULTS[name]) for name in ("precision", "dtype"))
    if draft.sound("precision", "dtype") and (fault := fault_of_precision(precision, dtype)):
        draft.add("precision", fault)


def _check_limits(draft: Draft, operations: Sequence[Operation], limit: int, limit_out: int | None) -> None:
    for bound, rule in _bounds(operations, draft.values["modulus"]).items():
        for name, value in (("operand_limit", limit), ("operand_limit_out", limit_out)):
            if value is not None and value > bound:
                draft.object_to(name, f"but must be at most {rule}, which is {bound}")
    if limit_out is not None and limit_out <= limit:
        draft.object_to("operand_limit_out", f"but must be above operand_limit, which is {limit}")


def _bounds(operations: Sequence[Operation], modulus: int | None) -> dict[int, str]:
    """What no operand limit may exceed, and how that is called."""
    orders = {o.order: f"the number of elements of {o.name}" for o in operations if o.order is not None}
    return orders if modulus is None else {**orders, modulus: "the modulus"}


def _check_expressions(draft: Draft, operations: Sequence[Operation], modulus: int | None, limit: int) -> bool:
    """Whether each expression has an answer for every pair."""
    for operation in operations:
        try:
            if operation.expression:
                operation.expression.check(limit, modulus)
        except ExpressionError as error:
            draft.add("operation", f"operation is {show(operation.name)}, {error}")
    return draft.sound("operation")


def _check_vocabulary(draft: Draft, operations: Sequence[Operation], modulus: int | None, limit: int) -> None:
    tokens = vocabulary_size(operations, modulus, limit, draft.values.get("base"))
    if tokens > VOCABULARY_LIMIT:
        rule = f"which makes a vocabulary of {tokens:,}, but must make at most {VOCABULARY_LIMIT:,}"
        draft.object_to(
            "modulus" if modulus else "operand_limit", f"{rule}; task_type sequence writes numbers in digits"
        )
