"""What parameters must fulfil together. Each check adds to the draft's problems, or stays silent where a value that it
needs is already known to be at fault.
"""

from __future__ import annotations

from grokray.tasks.draft import DEFAULTS, LARGEST_NUMBER, Draft
from grokray.tasks.operations import Operation
from grokray.tasks.primes import is_prime, next_prime, previous_prime
from grokray.tasks.sizes import ROW_LIMIT, VOCABULARY_LIMIT, pair_count, training_count, vocabulary_size

SIZES = ("modulus", "prime", "operand_limit", "operand_limit_out", "max_bit_length_train", "max_bit_length_val_out")


def check_sizes(draft: Draft, operation: Operation) -> None:
    """Operands below the modulus, and a table, a vocabulary and a split that can be."""
    if not draft.sound("task_type", *SIZES):
        return
    modulus, limit = draft.values["modulus"], draft.values["operand_limit"]
    limit_out = draft.values.get("operand_limit_out")
    largest = "operand_limit_out" if limit_out else "operand_limit"
    _check_limits(draft, modulus, limit, limit_out)

    rows = pair_count(operation, limit_out or limit)
    if rows > ROW_LIMIT:
        draft.object_to(largest, f"which makes {rows:,} pairs, but must make at most {ROW_LIMIT:,}")
    tokens = vocabulary_size(operation, modulus, limit, draft.values.get("base"))
    if tokens > VOCABULARY_LIMIT:
        rule = f"which makes a vocabulary of {tokens:,}, but must make at most {VOCABULARY_LIMIT:,}"
        draft.object_to(
            "modulus" if modulus else "operand_limit", f"{rule}; task_type sequence writes numbers in digits"
        )
    _check_split(draft, pair_count(operation, limit))


def check_prime(draft: Draft, operation: Operation) -> None:
    """`modulus is 98, but x/y_mod needs a prime; the nearest are 97 and 101`."""
    modulus = draft.values["modulus"]
    if operation.needs_prime and draft.sound("modulus", "prime") and not is_prime(modulus):
        neighbours = (previous_prime(modulus), next_prime(modulus))
        near = " and ".join(str(prime) for prime in neighbours if prime and prime <= LARGEST_NUMBER)
        verb = "are" if " and " in near else "is"
        draft.object_to("modulus", f"but {operation.name} needs a prime; the nearest {verb} {near}")


def check_heads(draft: Draft) -> None:
    """As TrialConfig checks it, for drafts that have other problems as well."""
    heads, width = (draft.given.get(name, DEFAULTS[name]) for name in ("num_heads", "dim_model"))
    message = f"num_heads is {heads}, but must divide dim_model, which is {width}"
    # TrialConfig's own finding has no field.
    draft.problems = [problem for problem in draft.problems if problem.message != message]
    if draft.sound("num_heads", "dim_model") and width % heads:
        draft.add("num_heads", message)


def _check_limits(draft: Draft, modulus: int | None, limit: int, limit_out: int | None) -> None:
    rule = f"but must be at most the modulus, which is {modulus}"
    if modulus is not None and limit > modulus:
        draft.object_to("operand_limit", rule)
    if modulus is not None and limit_out is not None and limit_out > modulus:
        draft.object_to("operand_limit_out", rule)
    if limit_out is not None and limit_out <= limit:
        draft.object_to("operand_limit_out", f"but must be above operand_limit, which is {limit}")


def _check_split(draft: Draft, pairs: int) -> None:
    fraction = draft.values.get("training_fraction", DEFAULTS["training_fraction"])
    if draft.sound("training_fraction") and not 0 < training_count(pairs, fraction) < pairs:
        rule = f"but of {pairs:,} pairs must leave at least one to train on and one to hold out"
        draft.add("training_fraction", f"training_fraction is {fraction}, {rule}")
