"""A sweep goes on after what its search space names has gone: the copies in its folder stand in for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

from grokray.errors import GrokrayError
from grokray.records.folder import SWEEP_YAML, SweepFolder
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
    for copy in copies(folder.store, kind, hashes[0]):
        moved = parameter.model_copy(update={"values": (copy,)})
        if holds(kind.path, {**recorded.parameters, kind.path: moved}) == [hashes]:
            return copy
    return None


def _held(folder: SweepFolder, name: str, parameter: Parameter) -> dict[str, list[str]]:
    """By each of its paths the hashes of what lay there. A folder of before they were written down has none."""
    found = json.loads(folder.fingerprint.get(f"parameters.{name}", "{}")).get("holds") or ()
    return {_whole(path): hashes for path, hashes in zip(parameter.values, found, strict=False) if path}


def _whole(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
