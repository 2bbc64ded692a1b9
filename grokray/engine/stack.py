"""A stack: the trials of one shape, trained as one model. One step advances every seated trial that is not parked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokray.engine.evaluation import RowTable, evaluate, part_of_rows
from grokray.engine.gradient import Kernels
from grokray.engine.model import Batch
from grokray.engine.randomness import dropout_key, epoch_order, initial_parameters
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import Slots
from grokray.events import EventTracker
from grokray.tasks.dataset import Dataset


@dataclass(kw_only=True)
class Seat:
    """What the host knows of a seated trial; its tensors are row `slot` of the stack's."""

    trial: str
    dataset: Dataset
    tracker: EventTracker
    step: int = 0
    wall_time_s: float = 0.0
    parked: bool = False
    since: float = field(default_factory=time.monotonic)
    first_row: int = 0  # of the trial's table in the stack's concatenated table
    part: Tensor | None = None  # (rows of its table,) int8, see `evaluation.part_of_rows`

    @property
    def batches(self) -> int:
        """Steps per epoch; the last batch of an epoch may be smaller."""
        return -(-len(self.dataset.split.train) // self.dataset.config.batch_size)

    @property
    def next_evaluation(self) -> int:
        config = self.dataset.config
        return min((self.step // config.eval_interval + 1) * config.eval_interval, config.num_steps)

    @property
    def evaluation_due(self) -> bool:
        config = self.dataset.config
        return self.step > 0 and (self.step % config.eval_interval == 0 or self.step >= config.num_steps)


class Stack:
    def __init__(self, shape: ShapeKey, *, device: torch.device, compiled: bool = False) -> None:
        self.shape, self.device = shape, device
        self.seats: list[Seat] = []  # in slot order: training first, parked after
        self.slots = Slots(shape, device)
        self.kernels = Kernels(shape, compiled=compiled)
        self._tables: dict[tuple, tuple[int, RowTable]] = {}  # key -> first row, the table
        self._all: RowTable | None = None

    # -- joining and leaving

    def join(self, seat: Seat) -> None:
        """Seat a fresh trial; it trains from the next step on."""
        config = seat.dataset.config
        seat.first_row = self._add_table(seat.dataset)
        seat.part = part_of_rows(len(seat.dataset.table.tokens), seat.dataset.split).to(self.device)
        slot = len(self.seats)
        self.slots.reserve(slot + 1, len(seat.dataset.split.train))
        self.slots.clear(slot)
        row = self.shape.layout.rows({n: p[None] for n, p in initial_parameters(self.shape, config.init_seed).items()})
        self.slots.parameters[slot] = row[0].to(self.device)
        scalars = {
            "learning_rate": config.learning_rate,
            "weight_decay": config.weight_decay,
            "dropout": config.dropout,
            "active": 1.0,
            "step": seat.step,
            "rows": len(seat.dataset.split.train),
            "first_bad": -1,
        }
        for name, value in scalars.items():
            getattr(self.slots, name)[slot] = value
        # One seed orders the batches and draws the dropout: both are the noise of training, not of the start.
        self.slots.key[slot] = dropout_key(config.order_seed).to(self.device)
        self.seats.append(seat)
        seat.since = time.monotonic()
        self._set_epoch(slot, seat)
        self._place(seat, self.training - 1)

    def leave(self, trial: str) -> None:
        """Free the trial's slot. The others' trajectories are unaffected."""
        seat = self._seat(trial)
        if not seat.parked:  # through the last training slot to the very last, so that the rest stays packed
            self._place(seat, self.training - 1)
        self._place(seat, len(self.seats) - 1)
        self.seats.pop()
        self.slots.active[len(self.seats)] = 0.0

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

    def advance(self, limit: int) -> list[Seat]:
        """Take up to `limit` steps, fewer if a trial is due for evaluation before; the trials that are due."""
        training = self.seats[: self.training]
        if not training:
            return []
        steps = min(limit, min(seat.next_evaluation - seat.step for seat in training))
        for _ in range(steps):
            self._step(training)
        return [seat for seat in training if seat.evaluation_due]

    def _step(self, training: list[Seat]) -> None:
        for slot, seat in enumerate(training):
            if seat.step % seat.batches == 0 and seat.step:
                self._set_epoch(slot, seat)
            seat.step += 1
        s = self.slots.prefix(self._width(len(training)))
        drops = any(seat.dataset.config.dropout for seat in training)
        mask = self.kernels.dropout_mask(s["key"], s["step"], s["dropout"]) if drops else None
        gradients, losses = self.kernels.gradient(s["parameters"], self._batch(s), mask)
        self.kernels.adamw(
            s["parameters"],
            gradients,
            s["moment1"],
            s["moment2"],
            step=s["step"],
            learning_rate=s["learning_rate"],
            weight_decay=s["weight_decay"],
            active=s["active"],
            warmup_steps=self.shape.warmup_steps,
        )
        bad = (s["first_bad"] < 0) & ~losses.isfinite()
        s["first_bad"].copy_(torch.where(bad, s["step"], s["first_bad"]))
        s["step"].add_(s["active"].to(torch.int32))

    def _width(self, live: int) -> int:
        """Slots that a step computes: the live ones, or the bucket that holds them where each width is a graph."""
        return 1 << (live - 1).bit_length() if self.kernels.compiled else live

    def _batch(self, s: dict[str, Tensor]) -> Batch:
        """The rows of this step; the last batch of an epoch is ragged, as a DataLoader would give it."""
        size = self.shape.batch_size
        n = s["rows"].clamp(min=1)
        batches = (n + size - 1) // size
        at = (s["step"] % batches * size)[:, None] + torch.arange(size, device=self.device, dtype=torch.int32)
        there = at < n[:, None]
        rows = s["order"].gather(1, torch.where(there, at, 0).long()).long()
        table = self._table()
        positions = None if table.positions is None else table.positions[rows]
        return Batch(table.tokens[rows], positions, table.targets[rows], there.to(self.shape.torch_dtype))

    def _set_epoch(self, slot: int, seat: Seat) -> None:
        """Put the order of the seat's current epoch in place."""
        rows = seat.dataset.split.train
        config = seat.dataset.config
        if config.curriculum == "random":
            rows = rows[epoch_order(config.order_seed, seat.step // seat.batches, len(rows))]
        self.slots.order[slot, : len(rows)] = (rows + seat.first_row).to(torch.int32).to(self.device)

    # -- measuring

    def evaluate(self, seats: Sequence[Seat]) -> list[dict[str, float]]:
        """Metrics of each given trial, in their order (see `evaluation.evaluate`)."""
        out: dict[str, dict[str, float]] = {}
        for key in {seat.dataset.key for seat in seats}:
            group = [seat for seat in seats if seat.dataset.key == key]
            at = torch.tensor([self.slot(seat.trial) for seat in group], device=self.device)
            parameters = self.shape.layout.views(self.slots.parameters[at])
            part = torch.stack([seat.part for seat in group if seat.part is not None])
            metrics = evaluate(self.shape, parameters, self._tables[key][1], part)
            out.update(zip((seat.trial for seat in group), metrics, strict=True))
        return [out[seat.trial] for seat in seats]

    def first_bad(self, trial: str) -> int | None:
        """The first update whose loss was not finite, or None."""
        step = int(self.slots.first_bad[self.slot(trial)])
        return None if step < 0 else step

    # -- one trial's tensors

    def read(self, trial: str) -> dict[str, dict[str, Tensor]]:
        """Copies on the CPU of a trial's parameters and moments, by name."""
        slot = self.slot(trial)
        return {
            kind: {n: v[0].cpu().clone() for n, v in self.shape.layout.views(getattr(self.slots, kind)[[slot]]).items()}
            for kind in ("parameters", "moment1", "moment2")
        }

    def write(self, trial: str, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Put back what `read` gave."""
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

    # -- tables

    def _add_table(self, dataset: Dataset) -> int:
        """The first row of the dataset's table in the concatenated one, adding it if it is new."""
        if dataset.key not in self._tables:
            first = sum(len(table.tokens) for _, table in self._tables.values())
            positions = None if self.shape.uniform else dataset.table.positions.to(self.device)
            table = RowTable(dataset.table.tokens.to(self.device), positions, dataset.table.targets.to(self.device))
            self._tables[dataset.key] = (first, table)
            self._all = None
        return self._tables[dataset.key][0]

    def _table(self) -> RowTable:
        """All tables, one below the other."""
        if self._all is None:
            tables = [table for _, table in self._tables.values()]
            if len(tables) == 1:
                self._all = tables[0]
            else:
                positions = None if self.shape.uniform else torch.cat([t.positions for t in tables])  # type: ignore[misc]
                tokens, targets = torch.cat([t.tokens for t in tables]), torch.cat([t.targets for t in tables])
                self._all = RowTable(tokens, positions, targets)
        return self._all
