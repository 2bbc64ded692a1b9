"""The door of operations on pairs of numbers: sizes under their many names, and defaults that follow from others."""

from __future__ import annotations

from collections.abc import Sequence

from grokray.tasks.checks import check_prime, check_sizes
from grokray.tasks.draft import DEFAULTS, Draft
from grokray.tasks.list_door import FIELDS as LIST_FIELDS
from grokray.tasks.operations import Operation, operations_of
from grokray.tasks.primes import next_prime

DEFAULT_OPERAND_LIMIT = 97


def resolve(draft: Draft) -> None:
    operations = operations_of(draft.values["operation"])
    draft.values |= dict.fromkeys(LIST_FIELDS)
    _take_modulus(draft, operations)
    _take_bit_lengths(draft, operations)
    _fill_in(draft, operations)
    check_sizes(draft, operations)
    check_prime(draft, operations)


def _modular(operations: Sequence[Operation]) -> bool:
    return any(operation.kind == "modular" for operation in operations)


def _take_modulus(draft: Draft, operations: Sequence[Operation]) -> None:
    prime, modulus = draft.given.get("prime"), draft.given.get("modulus")
    if not _modular(operations):
        # A sweep over operations writes one modulus for all of them.
        draft.values["modulus"] = None
    elif prime is not None:
        if modulus not in (None, prime):
            draft.add("prime", f"prime is {prime}, but modulus is {modulus}: they are two names of one parameter")
        draft.values["modulus"], draft.source["modulus"] = prime, "prime"


def _take_bit_lengths(draft: Draft, operations: Sequence[Operation]) -> None:
    """The original's sizes: bits of a sequence's operands; of a classification's operands the limit itself."""
    limit = _take_limit(draft, "operand_limit", "max_bit_length_train")
    limit_out = _take_limit(draft, "operand_limit_out", "max_bit_length_val_out")
    if limit_out and "operand_limit" not in draft.values and draft.sound("max_bit_length_train"):
        name, length = "max_bit_length_val_out", draft.given["max_bit_length_val_out"]
        draft.add(name, f"{name} is {length}, but needs max_bit_length_train or operand_limit beside it")
    if (limit or limit_out) and _modular(operations) and "modulus" not in draft.values:
        # The original takes another prime out of domain; here one modulus serves both.
        larger = "operand_limit_out" if (limit_out or 0) > (limit or 0) else "operand_limit"
        draft.values["modulus"] = next_prime(draft.values[larger])
        draft.source["modulus"] = draft.source[larger]


def _take_limit(draft: Draft, field: str, name: str) -> int | None:
    """The limit that the original's `name` stands for; None where it is not given, or of no use."""
    if name not in draft.given or not draft.sound("task_type", field):
        return None
    length = draft.given[name]
    in_bits = draft.values.get("task_type", DEFAULTS["task_type"]) == "sequence"
    limit = 2**length if in_bits and length <= 16 else length
    if in_bits and length > 16:
        draft.add(name, f"{name} is {length}, but must be at most 16, since a sequence counts it in bits")
    elif limit < 2:
        draft.add(name, f"{name} is {length}, but must be at least 2, the smallest operand limit")
    elif draft.given.get(field, limit) != limit:
        draft.add(name, f"{name} is {length}, which means {field} {limit}, but {field} is {draft.given[field]}")
    else:
        draft.values[field], draft.source[field] = limit, name
        return limit
    return None


def _fill_in(draft: Draft, operations: Sequence[Operation]) -> None:
    """Defaults that depend on other values, and None for what the task has no use for."""
    values = draft.values
    if _modular(operations):
        values.setdefault("modulus", DEFAULTS["modulus"])
    if "operand_limit" not in values:
        orders = [operation.order for operation in operations if operation.order is not None]
        bounds = orders if values["modulus"] is None else [*orders, values["modulus"]]
        values["operand_limit"] = min(bounds, default=DEFAULT_OPERAND_LIMIT)
        if values["operand_limit"] == values["modulus"]:
            draft.source["operand_limit"] = draft.source.get("modulus", "modulus")
    if values.get("task_type", DEFAULTS["task_type"]) == "sequence":
        draft.values = {"base": 10, "digit_order": "most_first", **values}
    else:
        draft.values = {**values, "base": None, "digit_order": None, "fixed_sequence_length": False}
