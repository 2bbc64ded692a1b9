"""Dictionaries of a hundred thousand trials: with the same keys in each, and mostly the same values."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any


class Compact(Mapping[str, Any]):
    """A mapping that shares its keys. A dictionary of a trial's 50 parameters takes 2.3 kB, this 0.5 kB."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: dict[str, int], values: tuple[Any, ...]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, key: str) -> Any:
        return self._values[self._places[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


NOTHING = Compact({}, ())


class Compactor:
    """Makes mappings compact. What a value has in common with the last one of the same keys is kept once."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], Compact] = {}

    def __call__(self, mapping: Mapping[str, Any]) -> Compact:
        keys = tuple(mapping)
        last = self._last.get(keys)
        if last is None:
            places = {sys.intern(key): place for place, key in enumerate(keys)}
            made = Compact(places, tuple(map(_shared, mapping.values())))
        else:
            values = zip(mapping.values(), last._values, strict=True)
            made = Compact(last._places, tuple(old if _same(new, old) else _shared(new) for new, old in values))
        self._last[keys] = made
        return made


def _shared(value: Any) -> Any:
    return sys.intern(value) if isinstance(value, str) else value


def _same(new: Any, old: Any) -> bool:
    """1 and 1.0 and True are equal, but written differently."""
    return type(new) is type(old) and new == old
