"""The door: parameters as a user writes them, in; a TrialConfig in which every value is resolved, out.

All that a user can get wrong in a trial is found here, all of it at once, and nothing is checked again further in.
Equal trials get equal configs: what a task has no use for is dropped (the base of a classification, the modulus of a
plain operation), and a default that is written out is the same as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokray.errors import ConfigError
from grokray.tasks.checks import check_heads, check_prime, check_sizes
from grokray.tasks.draft import DEFAULTS, PARAMETERS, Draft
from grokray.tasks.operations import ALIASES, OPERATIONS, Alias, Operation
from grokray.tasks.primes import next_prime
from grokray.tasks.wording import nearest, show
from grokray.trial import TrialConfig

__all__ = ["PARAMETERS", "resolve"]

DEFAULT_OPERAND_LIMIT = 97
SEEDS = ("init_seed", "split_seed", "order_seed")


def resolve(parameters: Mapping[str, Any]) -> TrialConfig:
    """Parameters to a config, or ConfigError with every problem found. None stands for "not given".

    `{"operation": "x/y", "max_bit_length_train": 97, "max_bit_length_val_out": 100, "seed": 3}` gives operation
    `x/y_mod`, operand_limit 97, operand_limit_out 100, modulus 101 and three seeds of 3.
    """
    draft = Draft(parameters)
    operation = _take_operation(draft)
    if operation:
        _take_modulus(draft, operation)
        _take_bit_lengths(draft, operation)
        _fill_in(draft, operation)
        check_sizes(draft, operation)
        check_prime(draft, operation)
    check_heads(draft)
    if draft.problems:
        raise ConfigError(draft.problems)
    return TrialConfig(**_with_seeds(draft))


def _take_operation(draft: Draft) -> Operation | None:
    if not draft.sound("operation"):
        return None
    name = draft.given.get("operation", DEFAULTS["operation"])
    alias = ALIASES.get(name, Alias(operation=name))
    if alias.operation not in OPERATIONS:
        near = nearest(name, [*OPERATIONS, *ALIASES])
        draft.add("operation", f"operation is {show(name)}, but there is no such operation{near}")
        return None
    for field, value in alias.implied.items():
        if draft.given.get(field, value) != value:
            draft.add(field, f"{field} is {show(draft.given[field])}, but operation {name} means {value}")
    draft.values = {**alias.suggested, **draft.values, **alias.implied, "operation": alias.operation}
    return OPERATIONS[alias.operation]


def _take_modulus(draft: Draft, operation: Operation) -> None:
    prime, modulus = draft.given.get("prime"), draft.given.get("modulus")
    if operation.kind == "plain":
        # A sweep over operations writes one modulus for all of them.
        draft.values["modulus"] = None
    elif prime is not None:
        if modulus not in (None, prime):
            draft.add("prime", f"prime is {prime}, but modulus is {modulus}: they are two names of one parameter")
        draft.values["modulus"], draft.source["modulus"] = prime, "prime"


def _take_bit_lengths(draft: Draft, operation: Operation) -> None:
    """The original's sizes: bits of a sequence's operands; of a classification's operands the limit itself."""
    limit = _take_limit(draft, "operand_limit", "max_bit_length_train")
    limit_out = _take_limit(draft, "operand_limit_out", "max_bit_length_val_out")
    if limit_out and "operand_limit" not in draft.values and draft.sound("max_bit_length_train"):
        name, length = "max_bit_length_val_out", draft.given["max_bit_length_val_out"]
        draft.add(name, f"{name} is {length}, but needs max_bit_length_train or operand_limit beside it")
    if (limit or limit_out) and operation.kind == "modular" and "modulus" not in draft.values:
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


def _fill_in(draft: Draft, operation: Operation) -> None:
    """Defaults that depend on other values, and None for what the task has no use for."""
    values = draft.values
    if operation.kind == "plain":
        values.setdefault("operand_limit", DEFAULT_OPERAND_LIMIT)
    else:
        values.setdefault("modulus", DEFAULTS["modulus"])
        if "operand_limit" not in values:
            values["operand_limit"] = values["modulus"]
            draft.source["operand_limit"] = draft.source.get("modulus", "modulus")
    if values.get("task_type", DEFAULTS["task_type"]) == "sequence":
        draft.values = {"base": 10, "digit_order": "most_first", **values}
    else:
        draft.values = {**values, "base": None, "digit_order": None, "fixed_sequence_length": False}


def _with_seeds(draft: Draft) -> dict[str, Any]:
    """One `seed` sets all three; one that is given by its own name keeps its value."""
    if "seed" not in draft.given:
        return draft.values
    return {**dict.fromkeys(SEEDS, draft.given["seed"]), **draft.values}
