"""Where a stack's kernels come from: run as they are, from libraries on disk, or compiled in this process for a GPU."""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch

from grokray.engine.ahead import Ahead, ahead_of
from grokray.engine.graphs import build_of, graph_folder, load_kernels
from grokray.engine.kernels import Kernels, inductor_kernels
from grokray.engine.memory import FreeMemory, Room, cuda_free, step_bytes
from grokray.engine.shape import ShapeKey
from grokray.engine.tiles import (
    EAGER_ELEMENTS,
    EAGER_MOST,
    Tiles,
    buckets,
    cover,
    evaluated_tile,
    evaluated_width,
    library_widths,
    powers,
    tile_width,
)
from grokray.engine.totals import RowSums

CPU = torch.device("cpu")


class Backend(Protocol):
    @property
    def building(self) -> bool:
        """Whether another process compiles kernels."""
        ...

    def tiles(self, training: int, options: frozenset[str]) -> Tiles | None:
        """How to divide the first `training` slots; None while that needs kernels that are being built."""
        ...

    def kernels(self, width: int, options: frozenset[str]) -> Kernels: ...

    def needed(self, width: int, peak_bytes: int) -> None:
        """A step of so many slots has been seen to need so much memory."""
        ...

    def exceeded(self, width: int) -> bool:
        """A step of so many slots did not fit in memory: whether `tiles` are narrower from now on."""
        ...

    def row_sums(self) -> tuple[RowSums, bool]:
        """For evaluations, and whether it takes `chunk_rows` rows only."""
        ...

    def evaluated(self, width: int, fewest: int) -> int:
        """How many slots are evaluated at once, at most, where so many are trained at once and no evaluation failed; in
        chunks of `fewest` rows and more."""
        ...

    @property
    def fills_up(self) -> bool:
        """Whether always so many are, as what another number makes may be rounded differently."""
        ...

    def evaluation_exceeded(self, width: int) -> bool:
        """An evaluation of so many slots did not fit in memory: whether they are narrower from now on."""
        ...


class OfCpu:
    """What all backends of a CPU have in common: memory is no matter, nor how many slots are computed at once."""

    fills_up = False

    def needed(self, width: int, peak_bytes: int) -> None:
        """It makes no difference."""

    def exceeded(self, width: int) -> bool:
        return False

    def evaluation_exceeded(self, width: int) -> bool:
        return False


def backend_for(shape: ShapeKey, device: torch.device, *, compiled: bool) -> Backend:
    if device.type != "cpu":
        ahead = ahead_of(shape, device) if compiled else None
        return Buckets(shape, device, free=cuda_free(device), ahead=ahead)
    return Libraries(shape) if compiled else Eager(shape)


class Eager(OfCpu):
    """Any width will do, so the last tile is just as wide as need be."""

    building = False

    def __init__(self, shape: ShapeKey) -> None:
        self.shape = shape
        self.width = tile_width(shape, EAGER_ELEMENTS, EAGER_MOST)

    def tiles(self, training: int, options: frozenset[str]) -> Tiles | None:
        return [(first, min(self.width, training - first)) for first in range(0, training, self.width)]

    def kernels(self, width: int, options: frozenset[str]) -> Kernels:
        return _eager_kernels(self.shape, CPU, options)

    def row_sums(self) -> tuple[RowSums, bool]:
        return _eager_kernels(self.shape, CPU, frozenset()).row_sums, False

    def evaluated(self, width: int, fewest: int) -> int:
        return evaluated_tile(self.shape, fewest)


class Buckets:
    """Of a GPU: widths that are powers of two, as wide as memory allows, so that few different steps are recorded.
    With `ahead` kernels are compiled, anew for each width; all slots of the stack use the same options then, the most
    that any had."""

    fills_up = True

    def __init__(self, shape: ShapeKey, device: torch.device, *, free: FreeMemory, ahead: Ahead | None = None) -> None:
        self.shape, self.device, self._ahead = shape, device, ahead
        self.options: frozenset[str] = frozenset()
        self._room = Room(step_bytes(shape), free)
        self._evaluated_at_most: int | None = None  # once one has not fitted

    @property
    def building(self) -> bool:
        return self._ahead is not None and self._ahead.building

    def tiles(self, training: int, options: frozenset[str]) -> Tiles | None:
        self.options |= options
        widths = powers(self._room.width)
        return self._ahead.tiles(training, widths, self.options) if self._ahead else buckets(training, widths)

    def kernels(self, width: int, options: frozenset[str]) -> Kernels:
        if self._ahead is None:
            return _eager_kernels(self.shape, self.device, options)
        self._ahead.compiled_here(width, self.options)
        return inductor_kernels(self.shape, self.device, self.options)

    def needed(self, width: int, peak_bytes: int) -> None:
        self._room.needed(width, peak_bytes)

    def exceeded(self, width: int) -> bool:
        return self._room.exceeded(width)

    def row_sums(self) -> tuple[RowSums, bool]:
        """Of whole chunks, or each table's last one would be compiled and recorded anew."""
        made = _eager_kernels if self._ahead is None else inductor_kernels
        return made(self.shape, self.device, frozenset()).row_sums, True

    def evaluated(self, width: int, fewest: int) -> int:
        found = evaluated_width(self.shape, width)
        return found if self._evaluated_at_most is None else min(found, self._evaluated_at_most)

    def evaluation_exceeded(self, width: int) -> bool:
        self._evaluated_at_most = max(width // 2, 1)
        return width > 1


class Libraries(OfCpu):
    """Libraries of two widths, one slot and a whole tile, which is built once there are trials to fill it. The one that
    helps most is built first, the other beside the training. All slots of a stack use the same options, the most that
    any had."""

    def __init__(self, shape: ShapeKey) -> None:
        self.shape, self.widths = shape, library_widths(shape, trials=0)
        self.options: frozenset[str] = frozenset()
        self._eager: Eager | None = None

    @property
    def building(self) -> bool:
        return self._eager is None and len(self._ready()) < len(self.widths)

    def tiles(self, training: int, options: frozenset[str]) -> Tiles | None:
        self.options |= options
        self.widths = max(self.widths, library_widths(self.shape, training), key=len)
        ready = self._ready() if self._eager is None else []
        if self._eager is None and len(ready) < len(self.widths):
            self._build_one_more(training, ready)
        if self._eager is not None:
            return self._eager.tiles(training, options)
        return cover(training, ready) if ready else None

    def kernels(self, width: int, options: frozenset[str]) -> Kernels:
        if self._eager is not None:
            return self._eager.kernels(width, options)
        return load_kernels(self._folder(width), self.shape, self.options)

    def row_sums(self) -> tuple[RowSums, bool]:
        """Every folder has it, and all the same."""
        if self._eager is not None:
            return self._eager.row_sums()
        return self.kernels(self._ready()[0], self.options).row_sums, True

    def evaluated(self, width: int, fewest: int) -> int:
        """Libraries are of one slot."""
        return 1 if self._eager is None else self._eager.evaluated(width, fewest)

    def _ready(self) -> list[int]:
        """The widths whose libraries are there, rising."""
        return [width for width in self.widths if self._folder(width).exists()]

    def _build_one_more(self, training: int, ready: Collection[int]) -> None:
        """Have the missing width built that helps most, if it can be."""
        missing = [width for width in self.widths if width not in ready]
        try:
            build = build_of(self.shape, missing[-1], self.options)
            failure = f"see {build.log}" if build.failed else None
        except OSError as error:  # a cache that cannot be written
            failure = str(error)
        # With one width the trials can go on as they began; others would round differently.
        if failure and not ready:
            self._give_up(failure)

    def _give_up(self, why: str) -> None:
        print(f"grokray: the kernels could not be compiled, {why}; going on without", file=sys.stderr)
        self._eager = Eager(self.shape)

    def _folder(self, width: int) -> Path:
        return graph_folder(self.shape, width, self.options)


@lru_cache(maxsize=64)
def _eager_kernels(shape: ShapeKey, device: torch.device, options: frozenset[str]) -> Kernels:
    return Kernels(shape, device, options)
