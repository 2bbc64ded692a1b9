"""The recorded steps of a stack's tiles, and its recorded evaluations.

A recording is bound to the memory that it was made on. It holds as long as none of these has been replaced, and here
is the one place that sees to it:

- the slots' tensors, which `Slots.reserve` replaces when it makes room (`Slots.tensors` is another dictionary then);
- the rows of all tables, which `Tables` replaces when they outgrow their room or some are dropped (`Tables.all`);
- the kernels, which the backend chooses by the tile's width and the options that any of its trials uses. Recordings of
  other kernels stay, as they may be wanted again.

An evaluation has tensors of its own for what it is asked about, so that of these only the tables matter to it.
"""

from __future__ import annotations

from torch import Tensor

from grokray.engine.backends import Backend
from grokray.engine.chunks import Chunks
from grokray.engine.kernels import Kernels
from grokray.engine.recorder import Recorder, Work
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import Slots
from grokray.engine.step import Part, Step
from grokray.engine.tables import RowTable, Tables
from grokray.engine.totals import RowSums, Totals

_Tile = tuple[int, int, Kernels]  # first slot, width


class Recordings:
    def __init__(self, shape: ShapeKey, slots: Slots, tables: Tables, recorder: Recorder) -> None:
        self.shape, self.slots, self.tables, self.recorder = shape, slots, tables, recorder
        self._steps: dict[_Tile, Step] = {}
        self._recorded: dict[tuple[_Tile, Part], Work] = {}
        self._totals: dict[tuple[RowSums, int, int], tuple[Totals, Work]] = {}  # by slots and groups
        self._reads: tuple[dict[str, Tensor], RowTable] | None = None

    def works(self, first: int, width: int, options: frozenset[str], parts: list[Part], backend: Backend) -> list[Work]:
        """What does the parts of the tile's steps, recorded now if need be. Raises torch.OutOfMemoryError, having
        changed nothing, if a step does not fit."""
        self._drop_outdated()
        tile = first, width, backend.kernels(width, options)
        if tile not in self._steps:
            self._steps[tile] = Step(self.shape, tile[2], self.slots.span(first, width), self.tables.all)
        return [self._work(tile, part, backend) for part in parts]

    def totals(self, parameters: Tensor, chunks: Chunks, groups: int, sums_of: RowSums) -> Tensor:
        """See `totals.totals_of`; of whole chunks. Raises torch.OutOfMemoryError if it does not fit."""
        self._drop_outdated()
        kind = sums_of, len(parameters), groups
        if kind not in self._totals:
            made = Totals(self.shape, sums_of, self.tables.all, parameters, chunks, groups)
            self._totals[kind] = made, self.recorder.record(made.add, [made.totals])
        totals, add = self._totals[kind]
        return totals.of(parameters, chunks, add)

    def drop(self) -> None:
        """Forget everything that was recorded, and what it holds."""
        self._steps.clear()  # one that did not fit too, of which nothing is recorded
        if self._recorded or self._totals:
            self._recorded.clear()
            self._totals.clear()
            self.recorder.forget()
        self._reads = None

    def _work(self, tile: _Tile, part: Part, backend: Backend) -> Work:
        if (tile, part) not in self._recorded:
            step = self._steps[tile]
            self._recorded[tile, part] = self.recorder.record(step.part(part), step.changes)
            if self.recorder.peak_bytes is not None:
                backend.needed(tile[1], self.recorder.peak_bytes)
        return self._recorded[tile, part]

    def _drop_outdated(self) -> None:
        now = self.slots.tensors, self.tables.all
        if self._reads is None or any(a is not b for a, b in zip(self._reads, now, strict=True)):
            self.drop()
            self._reads = now
