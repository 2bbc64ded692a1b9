"""A stack: the trials of one shape, trained as one model. One step advances every seated trial that is not parked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain, count, repeat

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.backends import backend_for
from grokray.engine.chunks import chunks_of
from grokray.engine.evaluation import Evaluation
from grokray.engine.kernels import OPTIONS
from grokray.engine.measures import OF_THE_STEP
from grokray.engine.measuring import Measuring
from grokray.engine.memory import cuda_free, slots_ahead
from grokray.engine.orders import Due, Orders, epochs_due
from grokray.engine.randomness import dropout_key
from grokray.engine.recorder import Work, recorder_for
from grokray.engine.recordings import Recordings
from grokray.engine.seat import Seat
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import Slots, settings_of
from grokray.engine.start import drawn_parameters
from grokray.engine.step import parts_of
from grokray.engine.tables import Tables
from grokray.tasks.dataset import Dataset


class Stack:
    """`capacity` trials are expected at most; it is no limit."""

    def __init__(
        self, shape: ShapeKey, *, device: torch.device, compiled: bool = False, capacity: int | None = None
    ) -> None:
        self.shape, self.device, self.compiled = shape, device, compiled
        self.seats: list[Seat] = []  # in slot order: training first, parked after
        self._by_trial: dict[str, Seat] = {}
        self.slots = Slots(shape, device)
        self.backend = backend_for(shape, device, compiled=compiled)
        self.capacity = capacity or 0
        self.free = cuda_free(device) if device.type == "cuda" else None
        self._next_slot = 0  # where the next tile begins
        self._width = 1  # of the last tile
        self.tables = Tables(shape, device)
        self.orders = Orders.on(self.slots)
        self.recordings = Recordings(shape, self.slots, self.tables, recorder_for(device))

    # -- joining and leaving

    def join(self, seat: Seat) -> None:
        """Seat a fresh trial; it trains from the next step on."""
        config = seat.dataset.config
        seat.first_row = self.tables.add(seat.dataset)
        seat.chunks = chunks_of(self.shape, seat.dataset).to(self.device)
        seat.slot = slot = len(self.seats)
        self._make_room(slot + 1, seat.dataset)
        self.slots.clear(slot)
        row = self.shape.layout.rows({n: p[None] for n, p in drawn_parameters(self.shape, config).items()})
        self.slots.parameters[slot] = row[0].to(self.device)
        scalars = {
            **settings_of(self.shape, config),
            "active": 1.0,
            "step": seat.step,
            "steps_before": seat.steps_before,
            "rows": seat.epoch_rows,
            "first_bad": -1,
        }
        for name, value in scalars.items():
            getattr(self.slots, name)[slot] = value
        # One seed orders the batches and draws dropout and noise: all of it is of training, not of the start.
        self.slots.key[slot] = dropout_key(config.order_seed).to(self.device)
        self.seats.append(seat)
        self._by_trial[seat.trial] = seat
        seat.since = time.monotonic()
        self._point_at_rows([slot])
        self._place(seat, self.training - 1)

    def _make_room(self, slots: int, dataset: Dataset) -> None:
        """On a GPU with some to spare, for more slots and larger training fractions: see `memory.slots_ahead`."""
        if self.free is None:
            self.slots.reserve(slots, len(dataset.split.train))
            return
        self.slots.reserve(0, dataset.table.in_domain)
        ahead = slots_ahead(self.capacity, self.slots.slot_bytes, self.free) if slots > self.slots.capacity else 0
        self.slots.reserve(max(slots, ahead), 1)

    def leave(self, trial: str) -> None:
        """Free the trial's slot. The others' trajectories are unaffected."""
        seat = self._by_trial[trial]
        if not seat.parked:  # through the last training slot to the very last, so that the rest stays packed
            self._place(seat, self.training - 1)
        self._place(seat, len(self.seats) - 1)
        self.seats.pop()
        del self._by_trial[trial]
        self.slots.clear(len(self.seats))  # its rows may be dropped, and padding of a tile must have sound ones
        if self.tables.keep({seat.dataset.key for seat in self.seats}):
            for seat in self.seats:
                seat.first_row = self.tables.first_row(seat.dataset.key)
            self._point_at_rows(range(len(self.seats)))

    def park(self, trial: str) -> None:
        """Let the trial keep its slot without training on."""
        seat = self._by_trial[trial]
        if not seat.parked:
            seat.wall_time_s += time.monotonic() - seat.since
            self._place(seat, self.training - 1)
            self.slots.active[seat.slot] = 0.0
            seat.parked = True

    def unpark(self, trial: str) -> None:
        seat = self._by_trial[trial]
        if seat.parked:
            seat.parked, seat.since = False, time.monotonic()
            self._place(seat, self.training - 1)
            self.slots.active[seat.slot] = 1.0

    @property
    def training(self) -> int:
        """How many seated trials are not parked."""
        return sum(not seat.parked for seat in self.seats)

    # -- training

    def advance(self, limit: int) -> list[Seat] | None:
        """Train the next tile for up to `limit` steps, fewer if one of its trials is due for evaluation before, and not
        at all if one is before its first step; the trials that are due. None where nothing can be done yet, as its
        kernels are being built."""
        training = self.seats[: self.training]
        tiles = self.backend.tiles(len(training), self._options(training)) if training else []
        if tiles is None:
            for seat in training:
                seat.since = time.monotonic()  # waiting is not training
            return None
        if not tiles:
            return []
        first, width = next((tile for tile in tiles if tile[0] >= self._next_slot), tiles[0])
        seats = training[first : first + width]
        if starting := [seat for seat in seats if seat.start_due]:
            self._width = width
            for seat in starting:
                seat.start_measured = True
            return starting
        steps = min(limit, min(seat.next_evaluation - seat.step for seat in seats))
        normed = [seat for seat in seats if _wants_norms(seat) and seat.next_evaluation - seat.step == steps]
        self.slots.reserve(first + width, 1)
        found = self._plain_and_last(first, width, seats, steps, measured=bool(normed))
        if found is None:
            self.recordings.drop()
            return self.advance(limit)
        self._next_slot, self._width = first + width, width
        self._run(*found, first, seats, steps)
        for seat in normed:
            seat.normed = seat.step
        return [seat for seat in seats if seat.evaluation_due]

    def _run(self, plain: list[Work], last: list[Work], first: int, seats: Sequence[Seat], steps: int) -> None:
        due = epochs_due(seats, first, steps, self.shape.accumulation_steps)
        batch = count()
        for works in chain(repeat(plain, steps - 1), [last]):
            for work in works:
                self.orders.put(due.get(next(batch), ()))
                work()
            for seat in seats:
                seat.step += 1

    def _plain_and_last(
        self, first: int, width: int, seats: Sequence[Seat], steps: int, *, measured: bool
    ) -> tuple[list[Work], list[Work]] | None:
        """What does each of so many steps but the last, and the last, which norms may be measured of. None where it
        does not fit and narrower tiles are to be tried: once this has returned, as the error holds the step that failed
        with all its memory."""
        try:
            plain = self._works(first, width, seats, measured=False) if steps > 1 or not measured else []
            return plain, self._works(first, width, seats, measured=True) if measured else plain
        except torch.OutOfMemoryError:
            if not self.backend.exceeded(width):
                self.recordings.drop()
                raise
            return None

    def _works(self, first: int, width: int, seats: Sequence[Seat], *, measured: bool) -> list[Work]:
        """What does one optimiser step of the tile, batch by batch; see `step`."""
        parts = parts_of(self.shape.accumulation_steps, measured=measured)
        return self.recordings.works(first, width, self._options(seats), parts, self.backend)

    def _options(self, seats: Sequence[Seat]) -> frozenset[str]:
        """Those of OPTIONS that any of the seats uses."""
        return frozenset(name for name in OPTIONS if any(getattr(seat.dataset.config, name) for seat in seats))

    def _point_at_rows(self, slots: Sequence[int]) -> None:
        """Put the order of the next batch's epoch in place, and the rows that begin with each prefix."""
        number, seats = self.shape.accumulation_steps, self.seats
        self.orders.put([Due(slot, seats[slot], seats[slot].step * number // seats[slot].batches) for slot in slots])
        shared, most = self.shape.batch_sharing
        for slot in slots if shared else ():
            rows = seats[slot].dataset.table.sorted_in_domain.firsts(shared) + seats[slot].first_row
            filled = F.pad(rows, (0, most - len(rows)), value=int(rows[0]))
            self.slots.prefixes[slot] = filled.to(self.device, torch.int32)

    # -- measuring

    def measure(self, seats: Sequence[Seat]) -> list[Evaluation]:
        """An evaluation of each given trial, in their order, with what its config wants measured among the metrics."""
        return self._measuring.of(seats, self._width)

    @property
    def _measuring(self) -> Measuring:
        return Measuring(self.shape, self.slots, self.tables, self.recordings, self.backend)

    # -- one trial's tensors

    def read(self, trials: Sequence[str]) -> list[dict[str, dict[str, Tensor]]]:
        """Copies on the CPU of each trial's parameters, moments and the like, by name. However many trials, the device
        is asked for as many copies as there are kinds."""
        at = torch.tensor([self.slot(trial) for trial in trials], device=self.device)
        views = {kind: self.shape.layout.views(getattr(self.slots, kind)[at].cpu()) for kind in self.slots.states}
        # Each tensor in memory of its own: a file of a view would hold all that the view is of.
        return [
            {kind: {name: view[i].clone() for name, view in by_name.items()} for kind, by_name in views.items()}
            for i in range(len(trials))
        ]

    def write(self, trial: str, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Put back what `read` gave for a trial."""
        slot = self.slot(trial)
        for kind, by_name in tensors.items():
            row = self.shape.layout.rows({n: t[None] for n, t in by_name.items()})
            getattr(self.slots, kind)[slot] = row[0].to(self.device)

    def slot(self, trial: str) -> int:
        return self._by_trial[trial].slot

    def _place(self, seat: Seat, slot: int) -> None:
        """Move the seat to a slot; who sat there takes its place."""
        here, other = seat.slot, self.seats[slot]
        self.slots.swap(here, slot)
        self.seats[here], self.seats[slot] = other, seat
        other.slot, seat.slot = here, slot


def _wants_norms(seat: Seat) -> bool:
    return not {*OF_THE_STEP}.isdisjoint(seat.dataset.config.measures)
