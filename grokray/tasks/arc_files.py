"""ARC tasks from JSON files: read, checked, and every fault named by file and place.

A file holds one task, named by the file: `{"train": [{"input": [[1, 2]], "output": [[2, 1]]}, …], "test": […]}`.
A grid is a list of rows, all of one length, of colours 0 to 9. A test pair without an output (as in a competition's
files) can be no row, and is passed over. A sweep keeps the tasks of a folder as one file, by part and name:
`{"training": {"a": …, …}, "evaluation": {…}}`, or `{"tasks": {…}}` where the folder has no parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokray.tasks.malformed import Malformed
from grokray.wording import count, show

COLOURS = 10
LARGEST_SIDE = 30  # as in ARC
SUBSETS, UNDIVIDED = ("training", "evaluation"), "tasks"
LARGEST_FILE = 4_194_304  # bytes; ARC's own largest task takes some 50 thousand
LARGEST_OF_ALL = 1 << 30
MOST_PAIRS = 10_000

Grid = tuple[tuple[int, ...], ...]
Pair = tuple[Grid, Grid]  # input, output


@dataclass(frozen=True, eq=False, kw_only=True)
class ArcTask:
    """`train` and `test` are pairs of grids, in the order of the file. A task equals itself only: that is cheap."""

    name: str
    train: tuple[Pair, ...]
    test: tuple[Pair, ...] = ()

    @property
    def largest_grid(self) -> int:
        """Cells of the largest grid, inputs and outputs, train and test."""
        return max(len(grid) * len(grid[0]) for pair in (*self.train, *self.test) for grid in pair)


def read_tasks(folder: Path) -> tuple[ArcTask, ...]:
    """The tasks of all JSON files of a folder, by name. Raises Malformed, and OSError as Python does."""
    tasks, faults = [], []
    files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    for path in files:
        try:
            tasks.append(task_of(_parsed(path), path.stem, str(path)))
        except Malformed as error:
            faults += error.faults
    if faults:
        raise Malformed(faults)
    if not tasks:
        raise Malformed([f"{folder}: must hold JSON files, one for each task, and there is none"])
    return tuple(tasks)


def read_parts(path: Path) -> dict[str, tuple[ArcTask, ...]]:
    """What `written` wrote. Raises Malformed, and OSError as Python does."""
    data = _parsed(path, LARGEST_OF_ALL)
    if not isinstance(data, dict) or not data or not data.keys() <= {*SUBSETS, UNDIVIDED}:
        raise Malformed([f"{path}: is no folder"])
    if bad := [part for part, tasks in data.items() if not isinstance(tasks, dict) or not tasks]:
        raise Malformed([f"{path}: {part} must be an object of tasks by their names" for part in bad])
    return {
        part: tuple(task_of(task, name, f"{path}: {name}") for name, task in tasks.items())
        for part, tasks in data.items()
    }


def written(parts: Mapping[str, Sequence[ArcTask]]) -> bytes:
    """The same tasks give the same bytes."""
    every = {part: {task.name: _plain(task) for task in tasks} for part, tasks in parts.items()}
    return json.dumps(every, separators=(",", ":")).encode()


def task_of(data: Any, name: str, place: str) -> ArcTask:
    """The task that parsed JSON stands for; `place` is what faults start with. Raises Malformed."""
    faults = list(_task_faults(data))
    if faults:
        raise Malformed([f"{place}: {fault}" for fault in faults])
    train, test = (_pairs(data.get(part, [])) for part in ("train", "test"))
    return ArcTask(name=name, train=train, test=test)


def _parsed(path: Path, largest: int = LARGEST_FILE) -> Any:
    """Raises Malformed with line and column where the file is no JSON."""
    if not path.is_file():
        raise Malformed([f"{path}: is no plain file"])
    if path.stat().st_size > largest:
        raise Malformed([f"{path}: is larger than {largest:,} bytes, which no task needs"])
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Malformed([f"{path}: is not UTF-8 text: byte {error.start} cannot be read"]) from None
    except json.JSONDecodeError as error:
        raise Malformed([f"{path}:{error.lineno}:{error.colno}: is not JSON: {error.msg}"]) from None
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        raise Malformed([f"{path}: is not JSON that holds a task"]) from None


def _task_faults(data: Any) -> Iterator[str]:
    if not isinstance(data, Mapping):
        yield f"holds {show(data)}, but must be an object with train and test"
    elif "train" not in data:
        yield "has no train, but must have a list of pairs of that name"
    else:
        for part in ("train", "test"):
            yield from _part_faults(data.get(part, []), part)


def _part_faults(pairs: Any, part: str) -> Iterator[str]:
    if not isinstance(pairs, list):
        yield f"{part} is {show(pairs)}, but must be a list of pairs"
    elif part == "train" and not pairs:
        yield "train is empty, but must have at least one pair"
    elif len(pairs) > MOST_PAIRS:
        yield f"{part} has {len(pairs):,} pairs, but must have at most {MOST_PAIRS:,}"
    else:
        for number, pair in enumerate(pairs):
            yield from _pair_faults(pair, f"{part}[{number}]", may_be_open=part == "test")


def _pair_faults(pair: Any, place: str, *, may_be_open: bool) -> Iterator[str]:
    if not isinstance(pair, Mapping):
        yield f"{place} is {show(pair)}, but must be an object with input and output"
        return
    for side in ("input", "output"):
        if side in pair:
            yield from _grid_faults(pair[side], f"{place}.{side}")
        elif side == "input" or not may_be_open:
            yield f"{place} has no {side}"


def _grid_faults(grid: Any, place: str) -> Iterator[str]:
    """The first fault of a grid: one wrong row often makes all others look wrong."""
    if not isinstance(grid, list) or not all(isinstance(row, list) for row in grid):
        yield f"{place} is {show(grid)}, but must be a list of rows, each a list of colours"
    elif not grid or not grid[0]:
        yield f"{place} is empty, but must have at least one cell"
    elif len(grid) > LARGEST_SIDE or len(grid[0]) > LARGEST_SIDE:
        yield f"{place} is {len(grid)} by {len(grid[0])}, but must be at most {LARGEST_SIDE} by {LARGEST_SIDE}"
    else:
        yield from _cell_faults(grid, place)


def _cell_faults(grid: list[list[Any]], place: str) -> Iterator[str]:
    for y, row in enumerate(grid):
        if len(row) != len(grid[0]):
            yield f"{place}[{y}] has {count(len(row), 'cell')}, but must have {len(grid[0])}, as the first row has"
            return
        for x, colour in enumerate(row):
            if type(colour) is not int or not 0 <= colour < COLOURS:
                yield f"{place}[{y}][{x}] is {show(colour)}, but must be a colour: a whole number from 0 to 9"
                return


def _pairs(pairs: list[Any]) -> tuple[Pair, ...]:
    return tuple((_grid(pair["input"]), _grid(pair["output"])) for pair in pairs if "output" in pair)


def _grid(rows: list[list[int]]) -> Grid:
    return tuple(map(tuple, rows))


def _plain(task: ArcTask) -> dict[str, list[dict[str, Grid]]]:
    parts = {"train": task.train, "test": task.test}
    return {part: [{"input": asked, "output": answer} for asked, answer in pairs] for part, pairs in parts.items()}
