"""Which module makes a task's table: the register of everything that is not an operation on pairs of numbers.

A family is a module, loaded when its first trial is met, with two functions:

    build(config) -> Table      the table of a resolved trial; see `grokray.tasks.tables` for what it must hold
    key(config) -> tuple        what shapes that table beside the operation's name; hashable, the same in every process

and, in a module that needs no torch, since the door must be quick:

    resolve(draft) -> None      fills `draft.values` with the clear names, and adds the problems it finds
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokray.tasks.draft import Draft
    from grokray.tasks.tables import Table
    from grokray.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Family:
    """`tables` names the module of `build` and `key`, `door` that of `resolve`."""

    tables: str
    door: str

    @property
    def build(self) -> Callable[[TrialConfig], Table]:
        return _load(self.tables).build

    @property
    def key(self) -> Callable[[TrialConfig], tuple[object, ...]]:
        return _load(self.tables).key

    @property
    def resolve(self) -> Callable[[Draft], None]:
        return _load(self.door).resolve


PAIRS = Family(tables="grokray.tasks.pair_tables", door="grokray.tasks.pair_door")
LISTS = Family(tables="grokray.tasks.list_tables", door="grokray.tasks.list_door")

# The operation's name -> its family. An operation that is not here is one on pairs of numbers.
FAMILIES: dict[str, Family] = {
    "sort": LISTS,
    "reverse": LISTS,
    "copy": LISTS,
    "parity": LISTS,
    "file": Family(tables="grokray.tasks.file_tables", door="grokray.tasks.file_door"),
    "arc": Family(tables="grokray.tasks.arc", door="grokray.tasks.arc_door"),
}


def family_of(operation: str) -> Family:
    """By its clear name; PAIRS where it has no other, and so of several that are joined by commas."""
    return FAMILIES.get(operation, PAIRS)


def _load(module: str) -> Any:
    return import_module(module)
