"""The order of each epoch's training rows, drawn on the host, put in place on the engine's device.

On a GPU each copy costs a launch and, from ordinary memory, a wait. So all orders that are due at a step are gathered
in one page-locked buffer and copied at once, while the GPU is still busy with earlier steps. There are two buffers: one
is filled while the other may still be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from grokray.engine.randomness import epoch_order
from grokray.engine.seat import Seat
from grokray.engine.slots import Slots

BUFFER_BYTES = 1 << 26  # of one buffer; more is copied in pieces


class Due(NamedTuple):
    """An epoch that a seat begins."""

    slot: int
    seat: Seat
    epoch: int


class Event(Protocol):
    """As torch.cuda.Event."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def epochs_due(seats: Sequence[Seat], first: int, steps: int, accumulated: int) -> dict[int, list[Due]]:
    """Which epochs begin within the next `steps` steps of seats that sit from slot `first` on, by the number of the
    batch, counted from now, before which their order must be in place."""
    out: dict[int, list[Due]] = {}
    for slot, seat in enumerate(seats, first):
        done, batches = seat.step * accumulated, seat.batches
        following = max(-(-done // batches), 1)  # the order of epoch 0 is there from the start
        for at in range(following * batches, done + steps * accumulated, batches):
            out.setdefault(at - done, []).append(Due(slot, seat, at // batches))
    return out


class Orders:
    """`make_event`: of torch.cuda.Event's kind, where copies go through buffers; None writes in place, as on a CPU."""

    def __init__(self, slots: Slots, make_event: Callable[[], Event] | None) -> None:
        self.slots = slots
        self._buffers = [] if make_event is None else [_Buffer(slots.device, make_event()) for _ in range(2)]

    @classmethod
    def on(cls, slots: Slots) -> Orders:
        return cls(slots, torch.cuda.Event if slots.device.type == "cuda" else None)

    def put(self, due: Sequence[Due]) -> None:
        if not self._buffers:
            for one in due:
                _write(self.slots.order[one.slot], one)
            return
        while due:
            longest = max(len(one.seat.dataset.split.train) for one in due)
            number = max(1, BUFFER_BYTES // (longest * 4))
            self._buffers.reverse()
            self._buffers[0].send(due[:number], longest, self.slots.order)
            due = due[number:]


class _Buffer:
    """Page-locked memory of the host for some orders, and when its last copy is over."""

    def __init__(self, device: torch.device, event: Event) -> None:
        self.device, self.event = device, event
        self._rows, self._slots = self._room(torch.int32, 0), self._room(torch.int64, 0)

    def send(self, due: Sequence[Due], longest: int, order: Tensor) -> None:
        """Copy the orders to their slots' rows of `order` (slots, max_rows), without waiting for it."""
        self.event.synchronize()  # never recorded, or long past: two steps of copies lie between
        number = len(due)
        if number * longest > len(self._rows):
            self._rows = self._room(torch.int32, number * longest)
        if number > len(self._slots):
            self._slots = self._room(torch.int64, number)
        rows, slots = self._rows[: number * longest].view(number, longest), self._slots[:number]
        for target, one in zip(rows, due, strict=True):
            _write(target, one)
        slots.copy_(torch.tensor([one.slot for one in due]))
        there = slots.to(self.device, non_blocking=True), rows.to(self.device, non_blocking=True)
        order[:, :longest].index_copy_(0, *there)
        self.event.record()

    def _room(self, dtype: torch.dtype, size: int) -> Tensor:
        # Zeros, since what lies behind a short order is copied too, though never read.
        return torch.zeros(size, dtype=dtype, pin_memory=self.device.type == "cuda")


def _write(target: Tensor, due: Due) -> None:
    """Put the epoch's rows at the front of `target` (max_rows,) int32."""
    config, rows = due.seat.dataset.config, due.seat.dataset.split.train
    if config.curriculum == "random":
        rows = rows.index_select(0, epoch_order(config.order_seed, due.epoch, len(rows)))
    elif (kept := due.seat.epoch_rows) < len(rows):
        # Whatever an epoch leaves out is drawn anew: the last ones of this order would never be trained on.
        rows = rows.index_select(0, epoch_order(config.order_seed, due.epoch, len(rows))[:kept].sort().values)
    torch.add(rows, due.seat.first_row, out=target[: len(rows)])
