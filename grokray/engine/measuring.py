"""Evaluations of a stack's trials: all are begun on the device before any is read, so that a GPU never waits for the
host between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import torch
from torch import Tensor

from grokray.engine.backends import Backend
from grokray.engine.chunks import Chunks, side_by_side
from grokray.engine.evaluation import Evaluation, evaluations_of
from grokray.engine.measures import OF_THE_ROWS, OF_THE_STEP, of_parameters, residues
from grokray.engine.recordings import Recordings
from grokray.engine.seat import Seat
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import Slots
from grokray.engine.tables import Tables
from grokray.engine.totals import totals_of

Finish = Callable[[], Iterator[Evaluation]]  # waits for the device


@dataclass(frozen=True)
class Measuring:
    shape: ShapeKey
    slots: Slots
    tables: Tables
    recordings: Recordings
    backend: Backend

    def of(self, seats: Sequence[Seat], trained: int) -> list[Evaluation]:
        """See `Stack.measure`; `trained` slots are trained at once."""
        groups = [*self._groups(seats, trained)]
        filled = [_filled(group, width) for group, width in groups]
        # All at once, as each such copy is waited for.
        at = torch.tensor([(seat.slot, seat.first_row) for seat in chain(*filled)], device=self.slots.device)
        places = at.split([len(group) for group in filled])
        begun = [f for (group, _), here in zip(groups, places, strict=True) for f in self._begin(group, here)]
        found = [evaluation for finish in begun for evaluation in finish()]
        by_seat = dict(zip(chain(*(group for group, _ in groups)), found, strict=True))
        return [by_seat[seat] for seat in seats]

    def _groups(self, seats: Sequence[Seat], trained: int) -> Iterator[tuple[list[Seat], int]]:
        """Those that can be measured at once, whatever their tables, and how many slots are computed for them."""
        alike: dict[Hashable, list[Seat]] = {}
        for seat in seats:
            alike.setdefault(_kind(seat), []).append(seat)
        for found in alike.values():
            most = self.backend.evaluated(trained, min(found[0].chunks.sizes))
            for start in range(0, len(found), most):
                group = found[start : start + most]
                yield group, most if self.backend.fills_up else len(group)

    def _begin(self, group: Sequence[Seat], at: Tensor) -> list[Finish]:
        """Measure seats, of which `at` (slots, 2) has slots and first rows, at once; or if that does not fit in memory,
        half of them at once, and so on, which holds for all evaluations to come. Raises torch.OutOfMemoryError if not
        even one fits.

        There may be more slots than seats: sums of another number of slots may be rounded differently."""
        if len(at) <= self.backend.evaluated(len(at), min(group[0].chunks.sizes)):
            try:
                return [self._measure(group, at)]
            except torch.OutOfMemoryError:
                if not self.backend.evaluation_exceeded(len(at)):
                    raise
        half = len(at) // 2
        rest = self._begin(group[half:], at[half:]) if group[half:] else []
        return self._begin(group[:half], at[:half]) + rest

    def _measure(self, group: Sequence[Seat], at: Tensor) -> Finish:
        at, first_rows = at.unbind(1)
        parameters = self.slots.parameters[at]
        chunks = side_by_side([seat.chunks for seat in _filled(group, len(at))], first_rows)
        tasks = group[0].dataset.tasks_apart
        totals = self._totals(parameters, chunks, 1 + len(tasks))
        wanted = {name for seat in group for name in seat.dataset.config.measures}
        columns = {name: getattr(self.slots, name)[at] for name in OF_THE_STEP if name in wanted}
        columns |= of_parameters(self.shape, group[0].dataset, parameters, wanted)
        columns["first_bad"] = self.slots.first_bad[at]

        def finish() -> Iterator[Evaluation]:
            values = {name: column.tolist() for name, column in columns.items()}
            for i, (seat, evaluation) in enumerate(zip(group, evaluations_of(totals, tasks), strict=False)):
                found = {name: column[i] for name, column in values.items()}
                first_bad = found.pop("first_bad")
                seat.first_bad = first_bad if first_bad >= 0 else None
                found |= {name: getattr(evaluation, name) for name in OF_THE_ROWS}
                evaluation.metrics.update(_of_seat(seat, found))
                yield evaluation

        return finish

    def _totals(self, parameters: Tensor, chunks: Chunks, groups: int) -> Tensor:
        sums_of, one_size = self.backend.row_sums()
        if one_size:
            return self.recordings.totals(parameters, chunks, groups, sums_of)
        return totals_of(self.shape, sums_of, self.tables.all, parameters, chunks, groups)


def _kind(seat: Seat) -> Hashable:
    """What trials that are measured at once have in common."""
    dataset = seat.dataset
    numbers = residues(dataset)
    return seat.chunks.sizes, dataset.tasks_apart, numbers and (numbers.start, numbers.stop)


def _filled(group: Sequence[Seat], width: int) -> list[Seat]:
    return [*group, *repeat(group[0], width - len(group))]


def _of_seat(seat: Seat, values: dict[str, float | None]) -> dict[str, float]:
    """Those of the values that the seat wants and has. Norms of a step are known where that step was done."""
    out = {}
    for name in seat.dataset.config.measures:
        value = values.get(name)
        if value is not None and (name not in OF_THE_STEP or seat.normed == seat.step):
            out[name] = value
    return out
