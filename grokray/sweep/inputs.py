"""What trials are made of beside their config: rows from a file, tasks from a folder, and weights to start from.

A sweep's folder keeps a copy of each, by its hash. So a trial may begin on any node, a sweep go on, and a trained model
be asked, long after the originals have moved. Where these are still as they were, they are taken.

    inputs/<hash>.csv      rows (`data_file`), as they were given
    inputs/<hash>.json     all tasks of a folder (`data_dir`), whichever of them trials take
    inputs/<hash>.pt       a checkpoint (`initial_checkpoint`); the hash is of what trials take of it
    inputs/measures.py     measures of the user's own (`trial.measure_file`), as they are now: they define no trial
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from grokray.errors import ConfigError, GrokrayError, Problem
from grokray.records.folder import INPUTS
from grokray.records.store import Store
from grokray.records.uri import join
from grokray.sweep import initial
from grokray.sweep.config import SweepConfig
from grokray.sweep.measure_file import FIELD, read_text
from grokray.sweep.parameters import Parameter
from grokray.tasks.arc_data import in_one_file
from grokray.tasks.arc_door import data_hash
from grokray.tasks.file_rows import rows_of
from grokray.tasks.malformed import Malformed

MEASURES = f"{INPUTS}/measures.py"


@dataclass(frozen=True)
class Kind:
    """A field that holds a path. `hash` names the field that says what a trial takes of what lies there, and `hash_of`
    finds that. `names_of` and `read` take a path: what its copies are called, and hold. There are several where trials
    of the `parameters` take one part of it or another. A copy that is `whole` has more than any one trial takes, and
    another hash."""

    path: str
    hash: str
    hash_of: Callable[[Mapping[str, Any]], str]
    names_of: Callable[[str, Mapping[str, Parameter]], list[str]]
    read: Callable[[str], bytes]
    needs_file: bool = True
    whole: bool = False


KINDS = (
    Kind(
        "data_file",
        "data_file_hash",
        hash_of=lambda values: rows_of(values["data_file"]).hash,
        names_of=lambda path, parameters: [f"{rows_of(path).hash}{Path(path).suffix}"],
        read=lambda path: Path(path).read_bytes(),
    ),
    Kind(
        "data_dir",
        "arc_data_hash",
        hash_of=data_hash,
        names_of=lambda path, parameters: [f"{hashlib.sha256(in_one_file(path)).hexdigest()[:16]}.json"],
        read=in_one_file,
        whole=True,
    ),
    Kind(
        initial.FIELD,
        initial.HASH,
        hash_of=lambda values: initial.hash_of(values[initial.FIELD], values.get(initial.OPTIMIZER, initial.ZERO)),
        names_of=lambda path, parameters: [
            f"{initial.hash_of(path, optimizer)}.pt" for optimizer in initial.optimizers(parameters)
        ],
        read=initial.file_of,
        needs_file=False,
    ),
)


def keep(store: Store, config: SweepConfig) -> None:
    """Copy into the sweep's folder what its trials are made of, unless it is there, and how they are measured."""
    if (measures := measures_of(config)) is not None:
        text = measures[0].encode()
        if not store.exists(MEASURES) or store.read_bytes(MEASURES) != text:
            store.write_atomic(MEASURES, text)
    for kind, path in _named(config):
        for name in _or_none(partial(kind.names_of, path), config.parameters) or ():
            if not any(Path(known).stem == Path(name).stem for known in store.list(INPUTS)):
                store.write_atomic(f"{INPUTS}/{name}", kind.read(path))


def at_hand(store: Store, values: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's config with paths that lead, here, to what its hashes say: those in it, or else to the folder's copies.
    As it is where there are none either, which is said by whoever reads it."""
    found = dict(values)
    for kind in KINDS:
        known = found.get(kind.hash)
        if found.get(kind.path) and known and _or_none(kind.hash_of, found) != known:
            moved = ({**found, kind.path: copy} for copy in copies(store, kind, known))
            found = next((one for one in moved if not kind.whole or _or_none(kind.hash_of, one) == known), found)
    return found


def with_copies(store: Store, config: SweepConfig) -> SweepConfig:
    """A search space of one trial, whose paths and hashes are fixed, as `at_hand` has its trial."""
    fixed = {name: p.values[0] for name, p in config.parameters.items() if p.is_fixed}
    moved = {name: value for name, value in at_hand(store, fixed).items() if value != fixed[name]}
    parameters = {name: config.parameters[name].model_copy(update={"values": (path,)}) for name, path in moved.items()}
    return config.model_copy(update={"parameters": {**config.parameters, **parameters}})


def _named(config: SweepConfig) -> Iterator[tuple[Kind, str]]:
    for kind in KINDS:
        parameter = config.parameters.get(kind.path)
        for path in parameter.values if parameter is not None else ():
            if path is not None:
                yield kind, str(path)


def _or_none(of: Callable[[Any], Any], what: Any) -> Any:
    """None where there is nothing that could be used."""
    try:
        return of(what)
    except (GrokrayError, Malformed):
        return None


def copies(store: Store, kind: Kind, known: str) -> Iterator[str]:
    """Those of the folder's that may hold it, as paths or URIs."""
    for name in store.list(INPUTS):
        if Path(name).suffix == ".json" if kind.whole else Path(name).stem == known:
            yield _path(store, name, kind) if kind.needs_file else join(store.uri, name)


def measures_of(config: SweepConfig) -> tuple[str, str] | None:
    """The text of the user's own measures and what their file is called; None where there are none. ConfigError where
    they have gone since they were tried out."""
    path, name = config.measures_at, config.trial.measure_file
    if path is None or name is None:
        return None
    try:
        return read_text(path), name
    except Malformed as error:
        raise ConfigError(
            [Problem(field=f"trial.{FIELD}", message=f"trial.{FIELD} is {name}, {error.rule}")]
        ) from error


def copy_of_measures(store: Store) -> str | None:
    """The folder's copy of them, as a path on this machine; None where there is none."""
    if not store.exists(MEASURES):
        return None
    if store.is_local:
        return str(store.local_path(MEASURES))
    text = store.read_bytes(MEASURES)
    return _cached(f"{hashlib.sha256(text).hexdigest()[:16]}.py", text)


def _path(store: Store, name: str, kind: Kind) -> str:
    """Where the folder's file lies on this machine: there, or once more in the cache, where the first trial puts it."""
    if store.is_local:
        return str(store.local_path(name))
    target = _cache() / Path(name).name
    if _or_none(partial(kind.names_of, str(target)), {}) == [target.name]:
        return str(target)
    return _cached(target.name, store.read_bytes(name))


def _cached(name: str, data: bytes) -> str:
    target = _cache() / name
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(data)
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
