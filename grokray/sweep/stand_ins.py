"""Copies in a sweep's folder stand in for what its search space names: so a sweep goes on after that has gone, and does
not notice when it is changed while the sweep runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping

from grokray.errors import GrokrayError
from grokray.records.folder import SWEEP_YAML, SweepFolder
from grokray.records.store import Store
from grokray.sweep.config import SweepConfig
from grokray.sweep.holds import holds
from grokray.sweep.inputs import KINDS, Kind, copies, copy_of_measures
from grokray.sweep.parameters import Parameter


def with_stand_ins(config: SweepConfig, folder_of: Callable[[SweepConfig], str]) -> SweepConfig:
    """The search space with the folder's copies of what has gone. Only what the sweep in the folder found at the same
    path is taken from there: another path may be another file's, or a slip."""
    gone, measures = list(_gone(config)), _measures_gone(config)
    if not gone and measures is None:
        return config
    try:
        folder = SweepFolder.open(folder_of(config))
        recorded = _recorded(folder)
    except GrokrayError:  # it has not begun; whoever begins it says what is missing
        return config
    found = {path: copy for kind, path in gone if (copy := _copy(folder, recorded, kind, path)) is not None}
    # A folder that had none when it began has no path of them, though it may have a copy.
    if (
        measures is not None
        and recorded.trial.measure_file in (measures, None)
        and (copy := copy_of_measures(folder.store))
    ):
        found[measures] = copy
    return config.with_stand_ins(found)


def _measures_gone(config: SweepConfig) -> str | None:
    path = config.trial.measure_file
    return None if path is None or os.path.exists(path) else path


def pinned(config: SweepConfig, store: Store) -> SweepConfig:
    """The search space with the copies that its folder keeps, to be called when they have been made. Files are read
    again for each proposal: one that was changed meanwhile would give the later trials of a sweep other data."""
    found = dict(config.stand_ins)
    for kind in KINDS:
        for path, hashes in _held_now(config, kind):
            if path not in found and (copy := _copy_of(store, kind, config.parameters, hashes)) is not None:
                found[path] = copy
    return config.with_stand_ins(found)


def _held_now(config: SweepConfig, kind: Kind) -> Iterator[tuple[str, list[str]]]:
    if (parameter := config.parameters.get(kind.path)) is not None:
        for path, hashes in zip(parameter.values, holds(kind.path, config.parameters, config.stand_ins), strict=True):
            if isinstance(path, str) and "://" not in path:
                yield path, hashes


def _gone(config: SweepConfig) -> Iterator[tuple[Kind, str]]:
    for kind in KINDS:
        parameter = config.parameters.get(kind.path)
        for path in parameter.values if parameter is not None else ():
            if isinstance(path, str) and "://" not in path and not os.path.exists(os.path.expanduser(path)):
                yield kind, path


def _recorded(folder: SweepFolder) -> SweepConfig:
    from grokray.sweep.load import load_text

    return load_text(folder.sweep_yaml, folder.store.shown(SWEEP_YAML), "sweep", try_out=False)


def _copy(folder: SweepFolder, recorded: SweepConfig, kind: Kind, path: str) -> str | None:
    """The folder's copy of what the sweep found there, as a path or a URI."""
    parameter = recorded.parameters.get(kind.path)
    if parameter is None or not (hashes := _held(folder, kind.path, parameter).get(_whole(path))):
        return None
    return _copy_of(folder.store, kind, recorded.parameters, hashes)


def _copy_of(store: Store, kind: Kind, parameters: Mapping[str, Parameter], hashes: list[str]) -> str | None:
    """The copy that holds this, as a path or a URI."""
    for copy in copies(store, kind, hashes[0]):
        moved = parameters[kind.path].model_copy(update={"values": (copy,)})
        if holds(kind.path, {**parameters, kind.path: moved}) == [hashes]:
            return copy
    return None


def _held(folder: SweepFolder, name: str, parameter: Parameter) -> dict[str, list[str]]:
    """By each of its paths the hashes of what lay there. A folder of before they were written down has none."""
    found = json.loads(folder.fingerprint.get(f"parameters.{name}", "{}")).get("holds") or ()
    return {_whole(path): hashes for path, hashes in zip(parameter.values, found, strict=False) if path}


def _whole(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
