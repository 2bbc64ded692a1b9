"""Buckets of a GPU whose kernels are compiled before the engine comes to them.

torch.compile compiles a bucket's kernels when its step is first done, and every trial of the engine would stand still
meanwhile. What it has compiled lies in its cache on disk, where it looks first. So another process does a step of the
same bucket on made-up rows; once it has, the engine has nothing left to do but to trace it. Meanwhile the trials go on
in buckets that are there, and where those are much too narrow, they wait.

If compiling ahead fails, for want of memory on the GPU for instance, the engine compiles when it comes to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import torch

from grokray.arguments import COMPILE_AHEAD, switch
from grokray.engine.builder import Builder, to_spec
from grokray.engine.graphs import cache_folder, sources
from grokray.engine.shape import ShapeKey
from grokray.engine.tiles import Tiles, buckets

MOST_TILES = 4  # in place of one, while that is being compiled: each is recorded, and pays its own overhead
EMPTYING = 0.75  # a bucket no fuller than this: half of it may do soon, as more trials end


class Compiling(Protocol):
    """As `Builder`."""

    log: Path

    @property
    def running(self) -> bool: ...

    def stop(self) -> None: ...


Kind = tuple[int, frozenset[str]]  # width, options


class Ahead:
    """`begin` starts compiling what makes a bucket of so many slots; `is_done` tells whether that is on disk."""

    def __init__(self, begin: Callable[[Kind], Compiling], is_done: Callable[[Kind], bool]) -> None:
        self._begin, self._is_done = begin, is_done
        self._there: set[Kind] = set()
        self._given_up = False
        self._current: tuple[Kind, Compiling] | None = None
        self._missed: list[Kind] = []

    @property
    def building(self) -> bool:
        """Whether what would be used now is being compiled."""
        return self._current is not None and self._current[0] in self._missed

    def tiles(self, training: int, widths: Sequence[int], options: frozenset[str]) -> Tiles | None:
        """As `buckets`, of what is there. None where nothing will do."""
        best = buckets(training, widths)
        self._look()
        there = [width for width in widths if self._is_there((width, options))]
        self._missed = [(width, options) for _, width in best if width not in there]
        if self._given_up:
            return best
        if not self._missed:
            first, width = best[-1]
            if width > 1 and training - first <= EMPTYING * width:
                self._compile((width // 2, options))
            return best
        enough = bool(there) and len(buckets(training, there)) <= MOST_TILES * len(best)
        self._compile(self._missed[0], at_once=not enough)
        if self._given_up:
            return best
        return buckets(training, there) if enough else None

    def compiled_here(self, width: int, options: frozenset[str]) -> None:
        """The engine itself has come to a bucket of so many slots."""
        self._there.add((width, options))

    def _is_there(self, kind: Kind) -> bool:
        if kind not in self._there and self._is_done(kind):
            self._there.add(kind)
        return kind in self._there

    def _compile(self, kind: Kind, *, at_once: bool = False) -> None:
        """One at a time: each takes a core, and memory of the GPU. What nobody waits for gives way."""
        if self._is_there(kind) or (self._current is not None and (self._current[0] == kind or not at_once)):
            return
        if self._current is not None:
            self._current[1].stop()
        try:
            self._current = kind, self._begin(kind)
        except OSError as error:  # a cache that cannot be written
            self._give_up(str(error))

    def _look(self) -> None:
        """Whether the process that compiles has ended."""
        if self._current is None or self._current[1].running:
            return
        kind, process = self._current
        process.stop()
        self._current = None
        if not self._is_there(kind):
            self._give_up(f"see {process.log}")

    def _give_up(self, why: str) -> None:
        self._given_up, self._current = True, None
        print(f"grokray: kernels could not be compiled ahead, {why}; compiling them when needed", file=sys.stderr)


@cache
def ahead_of(shape: ShapeKey, device: torch.device) -> Ahead:
    """The one of this process: what it has compiled outlives the stack that asked for it. With $GROKRAY_COMPILE_AHEAD
    set to 0 it starts nothing, and the engine compiles when it comes to it."""
    # What the other process leaves there, this one must look for there.
    folder = Path(os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor")))

    def mark(kind: Kind) -> Path:
        spec = [to_spec(shape, *kind), torch.__version__, _name(device), sources()]
        return folder / "steps" / hashlib.sha256(json.dumps(spec).encode()).hexdigest()[:24]

    def begin(kind: Kind) -> Builder:
        place = mark(kind)
        spec, log = to_spec(shape, *kind), place.with_suffix(".log")
        # The compiler looks up code for a CPU by the number of threads too, and a GPU's step may hold some.
        threads = torch.get_num_threads()
        return Builder("grokray.engine.build_step", spec, str(device), place, log=log, threads=threads)

    wanted = switch(COMPILE_AHEAD) is not False
    return Ahead(begin, lambda kind: not wanted or mark(kind).exists())


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
