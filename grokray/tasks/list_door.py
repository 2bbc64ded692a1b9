"""The door of tasks on lists of digits."""

from __future__ import annotations

from grokray.tasks.draft import DEFAULTS, Draft
from grokray.tasks.sizes import training_count
from grokray.tasks.wording import show

DEFAULT_LIST_LENGTH = 4
# Lists in one table at most; of more a sample is drawn.
LIST_CAP = 65_536


def resolve(draft: Draft) -> None:
    """Lists are sequences of digits in a base; what is said of pairs of numbers they have no use for."""
    name = draft.values["operation"]
    _refuse(draft, "task_type", "classification", f"but {name} answers with a list, which takes task_type sequence")
    _refuse(draft, "split", "commutative", f"but {name} has no pairs (x, y) and (y, x)")
    _refuse(draft, "curriculum", "ordered", f"but the lists of {name} have no order from easy to hard")
    draft.values = {
        "base": 10,
        "list_length": DEFAULT_LIST_LENGTH,
        **draft.values,
        "task_type": "sequence",
        "digit_order": None,
        "modulus": None,
        "operand_limit": DEFAULTS["operand_limit"],
        "operand_limit_out": None,
    }
    _check_split(draft)


def list_count(base: int, length: int) -> int:
    """Lists in a table: 10,000 of four decimal digits."""
    return min(base**length, LIST_CAP)


def _refuse(draft: Draft, field: str, value: str, rule: str) -> None:
    if draft.given.get(field) == value:
        draft.add(field, f"{field} is {show(value)}, {rule}")


def _check_split(draft: Draft) -> None:
    if not draft.sound("base", "list_length", "training_fraction"):
        return
    rows = list_count(draft.values["base"], draft.values["list_length"])
    fraction = draft.values.get("training_fraction", DEFAULTS["training_fraction"])
    if not 0 < training_count(rows, fraction) < rows:
        rule = f"but of {rows:,} lists must leave at least one to train on and one to hold out"
        draft.add("training_fraction", f"training_fraction is {fraction}, {rule}")
