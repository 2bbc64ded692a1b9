"""Writes the small ARC-format tasks beside it, the same ones every time: `python search_spaces/arc_tasks/generate.py`.

Grids of 3 by 3 cells in four colours, and one rule a task. ARC's own tasks have some three pairs each, from which a
small transformer learns nothing but those pairs; here a rule is shown by enough pairs to be learned from them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

Grid = list[list[int]]

SIDE, COLOURS = 3, 4
TRAIN_PAIRS, TEST_PAIRS = 60, 8


def mirror(grid: Grid) -> Grid:
    return [row[::-1] for row in grid]


def flip(grid: Grid) -> Grid:
    return grid[::-1]


def turn(grid: Grid) -> Grid:
    """A quarter to the right."""
    return [list(column) for column in zip(*grid[::-1], strict=True)]


def transpose(grid: Grid) -> Grid:
    return [list(column) for column in zip(*grid, strict=True)]


def recolour(grid: Grid) -> Grid:
    return [[(colour + 1) % COLOURS for colour in row] for row in grid]


def shift(grid: Grid) -> Grid:
    """One cell to the right, around the edge."""
    return [row[-1:] + row[:-1] for row in grid]


def drop(grid: Grid) -> Grid:
    """One cell down, around the edge."""
    return grid[-1:] + grid[:-1]


TRAINING: dict[str, Callable[[Grid], Grid]] = {f.__name__: f for f in (flip, mirror, recolour, shift)}
EVALUATION: dict[str, Callable[[Grid], Grid]] = {f.__name__: f for f in (drop, transpose, turn)}


def task(name: str, rule: Callable[[Grid], Grid]) -> str:
    """The task's JSON, a pair a line; no two pairs have one input."""
    rng = random.Random(name)
    inputs: list[Grid] = []
    while len(inputs) < TRAIN_PAIRS + TEST_PAIRS:
        grid = [[rng.randrange(COLOURS) for _ in range(SIDE)] for _ in range(SIDE)]
        if grid not in inputs:
            inputs.append(grid)
    pairs = [json.dumps({"input": grid, "output": rule(grid)}, separators=(",", ":")) for grid in inputs]
    train, test = (",\n".join(part) for part in (pairs[:TRAIN_PAIRS], pairs[TRAIN_PAIRS:]))
    return f'{{"train": [\n{train}\n],\n"test": [\n{test}\n]}}\n'


def main() -> None:
    for folder, rules in (("training", TRAINING), ("evaluation", EVALUATION)):
        for name, rule in rules.items():
            path = Path(__file__).parent / folder / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(task(name, rule), encoding="utf-8")


if __name__ == "__main__":
    main()
