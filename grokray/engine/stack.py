"""A stack: the trials of one shape, trained as one model. One step advances every seated trial that is not parked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, groupby, repeat

import torch
from torch import Tensor

from grokray.engine.backends import backend_for
from grokray.engine.chunks import chunks_of
from grokray.engine.evaluation import Evaluation, evaluations_of, totals_of
from grokray.engine.kernels import OPTIONS
from grokray.engine.measures import OF_THE_STEP, of_parameters, softmax_collapse
from grokray.engine.memory import cuda_free, slots_ahead
from grokray.engine.orders import Due, Orders, epochs_due
from grokray.engine.randomness import dropout_key, initial_parameters
from grokray.engine.recorder import Work, recorder_for
from grokray.engine.recordings import Recordings
from grokray.engine.seat import Seat
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import SETTINGS, Slots
from grokray.engine.step import parts_of
from grokray.engine.tables import Tables
from grokray.tasks.dataset import Dataset

Finish = Callable[[], Iterator[Evaluation]]  # waits for the device


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
        row = self.shape.layout.rows({n: p[None] for n, p in initial_parameters(self.shape, config.init_seed).items()})
        self.slots.parameters[slot] = row[0].to(self.device)
        scalars = {
            **{name: getattr(config, name) for name in SETTINGS},
            "active": 1.0,
            "step": seat.step,
            "rows": len(seat.dataset.split.train),
            "first_bad": -1,
        }
        for name, value in scalars.items():
            getattr(self.slots, name)[slot] = value
        # One seed orders the batches and draws dropout and noise: all of it is of training, not of the start.
        self.slots.key[slot] = dropout_key(config.order_seed).to(self.device)
        self.seats.append(seat)
        self._by_trial[seat.trial] = seat
        seat.since = time.monotonic()
        self._begin_epoch([slot])
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
            self._begin_epoch(range(len(self.seats)))

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
        """Train the next tile for up to `limit` steps, fewer if one of its trials is due for evaluation before; the
        trials that are due. None where nothing can be done yet, as its kernels are being built."""
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
        steps = min(limit, min(seat.next_evaluation - seat.step for seat in seats))
        normed = [seat for seat in seats if _wants_norms(seat) and seat.next_evaluation - seat.step == steps]
        self.slots.reserve(first + width, 1)
        try:
            plain = self._works(first, width, seats, measured=False) if steps > 1 or not normed else []
            last = self._works(first, width, seats, measured=True) if normed else plain
        except torch.OutOfMemoryError:
            self.recordings.drop()
            if not self.backend.exceeded(width):
                raise
            return self.advance(limit)
        self._next_slot, self._width = first + width, width
        due = epochs_due(seats, first, steps, self.shape.accumulation_steps)
        batch = count()
        for works in chain(repeat(plain, steps - 1), [last]):
            for work in works:
                self.orders.put(due.get(next(batch), ()))
                work()
            for seat in seats:
                seat.step += 1
        for seat in normed:
            seat.normed = seat.step
        return [seat for seat in seats if seat.evaluation_due]

    def _works(self, first: int, width: int, seats: Sequence[Seat], *, measured: bool) -> list[Work]:
        """What does one optimiser step of the tile, batch by batch; see `step`."""
        parts = parts_of(self.shape.accumulation_steps, measured=measured)
        return self.recordings.works(first, width, self._options(seats), parts, self.backend)

    def _options(self, seats: Sequence[Seat]) -> frozenset[str]:
        """Those of OPTIONS that any of the seats uses."""
        return frozenset(name for name in OPTIONS if any(getattr(seat.dataset.config, name) for seat in seats))

    def _begin_epoch(self, slots: Sequence[int]) -> None:
        """Put the order of the next batch's epoch in place."""
        number, seats = self.shape.accumulation_steps, self.seats
        self.orders.put([Due(slot, seats[slot], seats[slot].step * number // seats[slot].batches) for slot in slots])

    # -- measuring

    def measure(self, seats: Sequence[Seat]) -> list[Evaluation]:
        """An evaluation of each given trial, in their order, with what its config wants measured among the metrics."""
        width = self.backend.evaluated(self._width)
        groups = groupby(seats, key=lambda seat: (seat.dataset.key, seat.chunks.sizes))
        # All of it is begun before anything is read, so that a GPU never waits for the host.
        begun = [finish for _, group in groups for finish in self._measure_alike(list(group), width)]
        return [evaluation for finish in begun for evaluation in finish()]

    def _measure_alike(self, seats: Sequence[Seat], width: int) -> list[Finish]:
        """Seats of one table: `width` at once, or if that does not fit, half as many, and so on. Raises
        torch.OutOfMemoryError if not even one does."""
        out: list[Finish] = []
        for start in range(0, len(seats), width):
            group = seats[start : start + width]
            try:
                out.append(self._measure(group, width))
                continue
            except torch.OutOfMemoryError:
                if width == 1:
                    raise
            out += self._measure_alike(group, width // 2)
        return out

    def _measure(self, group: Sequence[Seat], width: int) -> Finish:
        """Together with enough others to be `width`, as sums of another number of slots may be rounded differently."""
        padded = [*group, *repeat(group[0], width - len(group))]
        at = torch.tensor([seat.slot for seat in padded], device=self.device)
        parameters = self.slots.parameters[at]
        chunks = [seat.chunks for seat in padded]
        table = self.tables[group[0].dataset.key]
        sums_of, one_size = self.backend.row_sums()
        totals = totals_of(self.shape, parameters, table, chunks, sums_of, one_size=one_size)
        wanted = {name for seat in group for name in seat.dataset.config.measures}
        columns = {name: getattr(self.slots, name)[at] for name in OF_THE_STEP if name in wanted}
        columns |= of_parameters(self.shape, group[0].dataset, parameters, wanted)
        if "softmax_collapse" in wanted:
            columns["softmax_collapse"] = softmax_collapse(self.shape, parameters, table, chunks)
        columns["first_bad"] = self.slots.first_bad[at]

        def finish() -> Iterator[Evaluation]:
            values = {name: column.tolist() for name, column in columns.items()}
            for i, (seat, evaluation) in enumerate(zip(group, evaluations_of(totals, table), strict=False)):
                found = {name: column[i] for name, column in values.items()}
                first_bad = found.pop("first_bad")
                seat.first_bad = first_bad if first_bad >= 0 else None
                evaluation.metrics.update(_of_seat(seat, found | {"logit_scale": evaluation.logit_scale}))
                yield evaluation

        return finish

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


def _of_seat(seat: Seat, values: dict[str, float | None]) -> dict[str, float]:
    """Those of the values that the seat wants and has. Norms of a step are known where that step was done."""
    out = {}
    for name in seat.dataset.config.measures:
        value = values.get(name)
        if value is not None and (name not in OF_THE_STEP or seat.normed == seat.step):
            out[name] = value
    return out
