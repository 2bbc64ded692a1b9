"""What the paths of a search space lead to, as hashes: files may be moved, and not be changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from grokray.errors import GrokrayError
from grokray.sweep import initial
from grokray.sweep.parameters import Parameter
from grokray.tasks.arc_data import DEFAULT_SUBSET, folder_hash
from grokray.tasks.file_rows import rows_of
from grokray.tasks.malformed import Malformed


def holds(
    name: str, parameters: Mapping[str, Parameter], stand_ins: Mapping[str, str] = MappingProxyType({})
) -> list[Any]:
    """For each path of the parameter of this name, one of `grokray.trial.PATHS`, the hashes of what lies there, or in
    what stands in for it."""
    hashes = {"data_dir": _tasks(parameters), "data_file": _rows, initial.FIELD: _starts(parameters)}[name]
    return [path and _or_path(hashes, stand_ins.get(path, str(path))) for path in parameters[name].values]


def _tasks(parameters: Mapping[str, Parameter]) -> Callable[[str], list[str]]:
    """Of a folder of ARC tasks, one hash for each subset that trials may take."""
    subset = parameters.get("arc_subset")
    subsets = [str(value) for value in subset.values if value] if subset else []
    return lambda path: [folder_hash(path, value) for value in subsets or [DEFAULT_SUBSET]]


def _rows(path: str) -> list[str]:
    return [rows_of(path).hash]


def _starts(parameters: Mapping[str, Parameter]) -> Callable[[str], list[str]]:
    """Of a checkpoint, one hash for each part of it that trials may take."""
    return lambda path: [initial.hash_of(path, optimizer) for optimizer in initial.optimizers(parameters)]


def _or_path(hashes: Callable[[str], list[str]], path: str) -> list[str]:
    """The path where nothing can be read: no trial reads it, as one that does would have been refused."""
    try:
        return hashes(path)
    except (GrokrayError, Malformed):
        return [path]
