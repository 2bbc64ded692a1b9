"""What trials are made of beside their config: rows from a file, and weights to start from.

A sweep's folder keeps a copy of each, by its hash. So a trial may begin on any node, and a trained model be asked, long
after the originals have moved. Where these are still as they were, they are taken.

    inputs/<hash>.csv      rows (`data_file`), as they were given
    inputs/<hash>.pt       weights (`initial_checkpoint`)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokray.errors import GrokrayError
from grokray.records.folder import INPUTS
from grokray.records.store import Store
from grokray.records.uri import join
from grokray.sweep import initial
from grokray.sweep.config import SweepConfig
from grokray.tasks.file_rows import rows_of
from grokray.tasks.malformed import Malformed


@dataclass(frozen=True)
class _Kind:
    """A field that holds a path. `hash` names the field that says what lies there; `hash_of` and `read` take a path."""

    path: str
    hash: str
    hash_of: Callable[[str], str]
    read: Callable[[str], bytes]
    needs_file: bool = False


KINDS = (
    _Kind("data_file", "data_file_hash", lambda path: rows_of(path).hash, lambda p: Path(p).read_bytes(), True),
    _Kind(initial.FIELD, initial.HASH, initial.hash_of, initial.file_of),
)


def keep(store: Store, config: SweepConfig) -> None:
    """Copy into the sweep's folder what its trials are made of, unless it is there."""
    for kind, path in _named(config):
        known = _hash(kind, path)
        if known is not None and _copy_of(store, known) is None:
            suffix = ".pt" if kind.path == initial.FIELD else Path(path).suffix
            store.write_atomic(f"{INPUTS}/{known}{suffix}", kind.read(path))


def at_hand(store: Store, values: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's config with paths that lead, here, to what its hashes say: those in it, or else to the folder's copies.
    As it is where there are none either, which is said by whoever reads it."""
    found = dict(values)
    for kind in KINDS:
        path, known = found.get(kind.path), found.get(kind.hash)
        if path and known and _hash(kind, path) != known and (copy := _copy_of(store, known)) is not None:
            found[kind.path] = _path(store, copy, kind, known) if kind.needs_file else join(store.uri, copy)
    return found


def with_copies(store: Store, config: SweepConfig) -> SweepConfig:
    """A search space of one trial, whose paths and hashes are fixed, as `at_hand` has its trial."""
    fixed = {name: p.values[0] for name, p in config.parameters.items() if p.is_fixed}
    moved = {name: value for name, value in at_hand(store, fixed).items() if value != fixed[name]}
    parameters = {name: config.parameters[name].model_copy(update={"values": (path,)}) for name, path in moved.items()}
    return config.model_copy(update={"parameters": {**config.parameters, **parameters}})


def _named(config: SweepConfig) -> Iterator[tuple[_Kind, str]]:
    for kind in KINDS:
        parameter = config.parameters.get(kind.path)
        for path in parameter.values if parameter is not None else ():
            if path is not None:
                yield kind, str(path)


def _hash(kind: _Kind, path: str) -> str | None:
    """None where there is nothing that could be used."""
    try:
        return kind.hash_of(path)
    except (GrokrayError, Malformed):
        return None


def _copy_of(store: Store, known: str) -> str | None:
    return next((name for name in store.list(INPUTS) if Path(name).stem == known), None)


def _path(store: Store, name: str, kind: _Kind, known: str) -> str:
    """Where the folder's file lies on this machine: there, or once more in the cache, where the first trial puts it."""
    if store.is_local:
        return str(store.local_path(name))
    target = _cache() / Path(name).name
    if _hash(kind, str(target)) == known:
        return str(target)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(store.read_bytes(name))
    os.replace(file.name, target)
    return str(target)


def _cache() -> Path:
    from grokray.engine.graphs import cache_folder

    folder = cache_folder() / INPUTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # such as a home that may be read only
        return Path(tempfile.mkdtemp(prefix="grokray-"))
    return folder
