"""A folder that holds the parts of a sweep, each run by a driver of its own in a folder of its own below it."""

from __future__ import annotations

from pathlib import Path

from grokray.errors import FolderError
from grokray.records.folder import META, PART, parts_in
from grokray.records.store import Store
from grokray.records.uri import join


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


def _entries(uri: str | Path) -> tuple[Store, list[str]]:
    """What is in the folder. This is where a mistyped address is met first, so nobody should wait for minutes."""
    store = Store.from_uri(uri)
    with store.impatient():
        return store, store.entries()
