"""The door of tasks on lists: of digits, which are answered with a list, and of bits, with their parity."""

from __future__ import annotations

from grokray.tasks.checks import check_split, refuse
from grokray.tasks.draft import DEFAULTS, Draft

# What other operations have no use for.
FIELDS = ("list_length", "list_rows", "parity_bits")
DEFAULT_LIST_LENGTH = 4
# Lists in one table at most; of more a sample is drawn.
LIST_CAP = 65_536
PARITY = "parity"
# Of parity, as Prieto et al. 2025 have it: 40 bits, of which 3 matter, in 2,000 lists.
PARITY_DEFAULTS = {"list_length": 40, "parity_bits": 3, "list_rows": 2_000}


def resolve(draft: Draft) -> None:
    """What is said of pairs of numbers lists have no use for."""
    name = draft.values["operation"]
    refuse(draft, "split", "commutative", f"but {name} has no pairs (x, y) and (y, x)")
    refuse(draft, "curriculum", "ordered", f"but the lists of {name} have no order from easy to hard")
    own = _parity(draft) if name == PARITY else _list(draft)
    draft.values |= {
        **own,
        "digit_order": None,
        "modulus": None,
        "operand_limit": DEFAULTS["operand_limit"],
        "operand_limit_out": None,
    }
    if draft.sound("base", "list_length", "list_rows"):
        _check_rows(draft)


def list_count(base: int, length: int, rows: int | None) -> int:
    """Lists in a table: 10,000 of four decimal digits, if not fewer are wanted."""
    return min(base**length, rows or LIST_CAP)


def _list(draft: Draft) -> dict[str, object]:
    """Sequences of digits in a base, in the prompt and in the answer."""
    name = draft.values["operation"]
    refuse(draft, "task_type", "classification", f"but {name} answers with a list, which takes task_type sequence")
    draft.values = {"base": 10, "list_length": DEFAULT_LIST_LENGTH, **draft.values}
    return {"task_type": "sequence", "parity_bits": None}


def _parity(draft: Draft) -> dict[str, object]:
    """Bits in the prompt, and one in the answer."""
    rule = "but parity answers with one token, which takes task_type classification"
    refuse(draft, "task_type", "sequence", rule)
    draft.values = {**PARITY_DEFAULTS, **draft.values}
    bits, length = draft.values["parity_bits"], draft.values["list_length"]
    if draft.sound("parity_bits", "list_length") and bits > length:
        draft.object_to("parity_bits", f"but must be at most list_length, which is {length}")
    return {"task_type": "classification", "base": None, "fixed_sequence_length": False}


def _check_rows(draft: Draft) -> None:
    """As many as are wanted, if there are so many, with some to train on and some to hold out."""
    base, length = draft.values["base"] or 2, draft.values["list_length"]
    rows = list_count(base, length, draft.values.get("list_rows"))
    draft.values["list_rows"] = rows if rows < list_count(base, length, None) else None
    check_split(draft, rows, f"{rows:,} lists")
