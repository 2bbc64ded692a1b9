"""A stack: the trials of one shape, trained as one model. One step advances every seated trial that is not parked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from grokray.engine.backends import backend_for
from grokray.engine.chunks import chunks_of
from grokray.engine.evaluation import Evaluation, evaluate
from grokray.engine.kernels import OPTIONS, Kernels
from grokray.engine.measures import OF_THE_STEP, norms, of_parameters
from grokray.engine.model import Batch
from grokray.engine.randomness import dropout_key, epoch_order, initial_parameters
from grokray.engine.seat import Seat
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import SETTINGS, Slots
from grokray.engine.tables import Tables


@dataclass(frozen=True)
class _Tile:
    """Neighbouring slots that are computed at once: `seats` from slot `first` on, perhaps fewer than there are rows."""

    first: int
    seats: list[Seat]
    slots: dict[str, Tensor]


class Stack:
    def __init__(self, shape: ShapeKey, *, device: torch.device, compiled: bool = False) -> None:
        self.shape, self.device, self.compiled = shape, device, compiled
        self.seats: list[Seat] = []  # in slot order: training first, parked after
        self.slots = Slots(shape, device)
        self.backend = backend_for(shape, device, compiled=compiled)
        self._next_slot = 0  # where the next tile begins
        self.tables = Tables(shape, device)

    # -- joining and leaving

    def join(self, seat: Seat) -> None:
        """Seat a fresh trial; it trains from the next step on."""
        config = seat.dataset.config
        seat.first_row = self.tables.add(seat.dataset)
        seat.chunks = chunks_of(self.shape, seat.dataset).to(self.device)
        slot = len(self.seats)
        self.slots.reserve(slot + 1, len(seat.dataset.split.train))
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
        seat.since = time.monotonic()
        self._set_epoch(slot, seat, self._epoch(seat))
        self._place(seat, self.training - 1)

    def leave(self, trial: str) -> None:
        """Free the trial's slot. The others' trajectories are unaffected."""
        seat = self._seat(trial)
        if not seat.parked:  # through the last training slot to the very last, so that the rest stays packed
            self._place(seat, self.training - 1)
        self._place(seat, len(self.seats) - 1)
        self.seats.pop()
        self.slots.active[len(self.seats)] = 0.0
        if self.tables.keep({seat.dataset.key for seat in self.seats}):
            for slot, seat in enumerate(self.seats):
                seat.first_row = self.tables.first_row(seat.dataset.key)
                self._set_epoch(slot, seat, self._epoch(seat))

    def park(self, trial: str) -> None:
        """Let the trial keep its slot without training on."""
        seat = self._seat(trial)
        if not seat.parked:
            seat.wall_time_s += time.monotonic() - seat.since
            self._place(seat, self.training - 1)
            self.slots.active[self.slot(trial)] = 0.0
            seat.parked = True

    def unpark(self, trial: str) -> None:
        seat = self._seat(trial)
        if seat.parked:
            seat.parked, seat.since = False, time.monotonic()
            self._place(seat, self.training - 1)
            self.slots.active[self.slot(trial)] = 1.0

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
        self._next_slot = first + width
        self.slots.reserve(first + width, 1)
        tile = _Tile(first, training[first : first + width], self.slots.span(first, width))
        kernels = self.backend.kernels(width, self._options(tile.seats))
        for left in reversed(range(min(limit, min(seat.next_evaluation - seat.step for seat in tile.seats)))):
            self._step(kernels, tile, norms_of=[] if left else [seat for seat in tile.seats if _wants_norms(seat)])
        return [seat for seat in tile.seats if seat.evaluation_due]

    def _step(self, kernels: Kernels, tile: _Tile, norms_of: Sequence[Seat]) -> None:
        """One optimiser step of every seat of the tile; `norms_of` are those that want norms of it."""
        s = tile.slots
        gradients, losses = self._gradient(kernels, tile)
        for seat in tile.seats:
            seat.step += 1
        before = s["parameters"].clone() if norms_of else None
        if norms_of:
            s["gradient_norm"].copy_(norms(gradients))
        kernels.step(s, gradients)
        if before is not None:
            s["update_norm"].copy_(norms(s["parameters"] - before))
        for seat in norms_of:
            seat.normed = seat.step
        bad = (s["first_bad"] < 0) & ~losses.isfinite()
        s["first_bad"].copy_(torch.where(bad, s["step"], s["first_bad"]))
        s["step"].add_(s["active"].to(torch.int32))

    def _gradient(self, kernels: Kernels, tile: _Tile) -> tuple[Tensor, Tensor]:
        """The mean gradient rows over the batches of a step, and the sum of their losses."""
        number = self.shape.accumulation_steps
        gradients, losses = self._pass(kernels, tile, 0)
        for index in range(1, number):
            more, loss = self._pass(kernels, tile, index)
            gradients, losses = gradients + more, losses + loss
        return (gradients / number if number > 1 else gradients), losses

    def _pass(self, kernels: Kernels, tile: _Tile, index: int) -> tuple[Tensor, Tensor]:
        """Gradient rows and losses of the step's batch number `index`."""
        number, s = self.shape.accumulation_steps, tile.slots
        for slot, seat in enumerate(tile.seats, tile.first):
            done = seat.step * number + index
            if done % seat.batches == 0 and done:
                self._set_epoch(slot, seat, done // seat.batches)
        count = s["step"] if number == 1 else s["step"] * number + index  # may wrap around: hashes do not mind
        return kernels.one_pass(s, self._batch(s, index), count)

    def _options(self, seats: Sequence[Seat]) -> frozenset[str]:
        """Those of OPTIONS that any of the seats uses."""
        return frozenset(name for name in OPTIONS if any(getattr(seat.dataset.config, name) for seat in seats))

    def _batch(self, s: dict[str, Tensor], index: int) -> Batch:
        """The rows of this step's batch number `index`; the last one of an epoch is ragged, as in a DataLoader."""
        size = self.shape.batch_size
        n = s["rows"].clamp(min=1)
        batches = (n + size - 1) // size
        number = self.shape.accumulation_steps
        done = s["step"] if number == 1 else s["step"].long() * number + index
        at = (done % batches * size)[:, None] + torch.arange(size, device=self.device, dtype=torch.int32)
        there = at < n[:, None]
        rows = s["order"].gather(1, torch.where(there, at, 0).long()).long()
        table = self.tables.all
        positions = None if table.positions is None else table.positions[rows]
        return Batch(table.tokens[rows], positions, table.targets[rows], there.to(self.shape.torch_dtype))

    def _epoch(self, seat: Seat) -> int:
        """The epoch of the seat's next batch."""
        return seat.step * self.shape.accumulation_steps // seat.batches

    def _set_epoch(self, slot: int, seat: Seat, epoch: int) -> None:
        """Put the order of one of the seat's epochs in place."""
        rows = seat.dataset.split.train
        config = seat.dataset.config
        if config.curriculum == "random":
            rows = rows[epoch_order(config.order_seed, epoch, len(rows))]
        self.slots.order[slot, : len(rows)] = (rows + seat.first_row).to(torch.int32).to(self.device)

    # -- measuring

    def measure(self, seats: Sequence[Seat]) -> list[Evaluation]:
        """An evaluation of each given trial, in their order, with what its config wants measured among the metrics."""
        return [evaluation for group in self._groups(seats) for evaluation in self._measure(group)]

    def _groups(self, seats: Sequence[Seat]) -> Iterator[Sequence[Seat]]:
        """Seats that are evaluated at once, in their order. On a CPU each alone, as a pass fills its cache."""
        if self.device.type == "cpu":
            yield from ([seat] for seat in seats)
        else:
            for _, group in groupby(seats, key=lambda seat: (seat.dataset.key, seat.chunks.sizes)):
                yield list(group)

    def _measure(self, group: Sequence[Seat]) -> Iterator[Evaluation]:
        at = torch.tensor([self.slot(seat.trial) for seat in group], device=self.device)
        parameters = self.slots.parameters[at]
        chunks = [seat.chunks for seat in group]
        table = self.tables[group[0].dataset.key]
        sums_of, one_size = self.backend.row_sums()
        evaluations = evaluate(self.shape, parameters, table, chunks, sums_of, one_size=one_size)
        wanted = {name for seat in group for name in seat.dataset.config.measures}
        columns = {name: getattr(self.slots, name)[at] for name in OF_THE_STEP if name in wanted}
        columns |= of_parameters(self.shape, group[0].dataset, parameters, wanted)
        values = {name: column.tolist() for name, column in columns.items()}
        for i, (seat, evaluation) in enumerate(zip(group, evaluations, strict=True)):
            found = {name: column[i] for name, column in values.items()}
            evaluation.metrics.update(_of_seat(seat, found | {"logit_scale": evaluation.logit_scale}))
            yield evaluation

    def first_bad(self, trial: str) -> int | None:
        """The first update whose loss was not finite, or None."""
        step = int(self.slots.first_bad[self.slot(trial)])
        return None if step < 0 else step

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
        return self.seats.index(self._seat(trial))

    def _seat(self, trial: str) -> Seat:
        return next(seat for seat in self.seats if seat.trial == trial)

    def _place(self, seat: Seat, slot: int) -> None:
        """Move the seat to a slot; who sat there takes its place."""
        here = self.seats.index(seat)
        self.slots.swap(here, slot)
        self.seats[here], self.seats[slot] = self.seats[slot], self.seats[here]


def _wants_norms(seat: Seat) -> bool:
    """Whether the seat's next step is measured, and norms of it are wanted."""
    return seat.step + 1 == seat.next_evaluation and not {*OF_THE_STEP}.isdisjoint(seat.dataset.config.measures)


def _of_seat(seat: Seat, values: dict[str, float | None]) -> dict[str, float]:
    """Those of the values that the seat wants and has. Norms of a step are known where that step was done."""
    out = {}
    for name in seat.dataset.config.measures:
        value = values.get(name)
        if value is not None and (name not in OF_THE_STEP or seat.normed == seat.step):
            out[name] = value
    return out
