"""A folder that holds the parts of a sweep, each run by a driver of its own in a folder of its own below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grokray.errors import FolderError
from grokray.records.folder import META, PART, parts_in
from grokray.records.store import Store
from grokray.records.uri import join, split_last

SHOWN = 3


def part_folder(uri: str, number: int, of: int) -> str:
    """`results/robust/part-2of4`. FolderError if the folder holds a whole sweep, or as many parts as another number."""
    store, entries = _entries(uri)
    if META in entries:
        raise FolderError(f"{store} holds a whole sweep, so no part of one can be run there")
    for name in entries:
        found = PART.fullmatch(name)
        if found and int(found[2]) != of:
            raise FolderError(f"{store} holds {name}, so it is for parts of {found[2]}, and not of {of}")
    return join(uri, part_name(number, of))


def part_name(number: int, of: int) -> str:
    """`part-2of4`."""
    return f"part-{number}of{of}"


def parts_of(uri: str | Path) -> list[str]:
    """The folders of the parts that it holds; of a folder without, itself."""
    _, entries = _entries(uri)
    names = parts_in(entries)
    return [str(uri)] if META in entries or not names else [join(str(uri), name) for name in names]


def missing_parts(uri: str | Path, parts: Sequence[str]) -> list[str]:
    """Of the parts whose folders name how many there are, those that have no folder yet, or any more; `parts` is what
    `parts_of` finds in the folder."""
    if list(parts) == [str(uri)]:
        return []
    found = [match for part in parts if (match := PART.fullmatch(split_last(part)[1]))]
    of = int(found[0][2])
    there = {int(match[1]) for match in found}
    return [part_name(number, of) for number in range(1, of + 1) if number not in there]


def not_there(names: list[str]) -> str:
    """`part-3of4 and part-4of4 are not there`, for people."""
    shown = names if len(names) <= SHOWN else [*names[: SHOWN - 1], f"{len(names) - SHOWN + 1} more"]
    listed = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{listed} {'is' if len(names) == 1 else 'are'} not there: these are not all trials of the sweep"


def _entries(uri: str | Path) -> tuple[Store, list[str]]:
    """What is in the folder. This is where a mistyped address is met first, so nobody should wait for minutes."""
    store = Store.from_uri(uri)
    with store.impatient():
        return store, store.entries()
