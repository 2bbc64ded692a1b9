"""The order of each epoch's rows: when it is due, and how it gets into its place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokray.engine import orders
from grokray.engine.orders import Due, Orders, epochs_due
from grokray.engine.randomness import epoch_order
from grokray.engine.seat import Seat
from grokray.engine.shape import shape_of
from grokray.engine.slots import Slots
from grokray.events import EventTracker
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small
from tests.engine.replay import NotedEvent


def seat(**changes) -> Seat:
    config = small(**changes)
    tracker = EventTracker(threshold=config.threshold, sustain=config.sustain)
    return Seat(trial="a", dataset=build_dataset(config), tracker=tracker)


@pytest.fixture
def seats() -> list[Seat]:
    out = [seat(seed=i, training_fraction=0.2 + 0.2 * i) for i in range(4)]
    for i, one in enumerate(out):
        one.first_row = 1000 * i
    return out


@pytest.fixture
def slots(seats) -> Slots:
    slots = Slots(shape_of(seats[0].dataset), torch.device("cpu"))
    slots.reserve(6, 121)
    return slots


def expected(due: Due) -> torch.Tensor:
    rows = due.seat.dataset.split.train
    return rows[epoch_order(due.seat.dataset.config.order_seed, due.epoch, len(rows))] + due.seat.first_row


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 5))
def test_an_epoch_is_due_before_the_first_batch_of_it(step, steps, accumulated):
    """121 pairs, 60 of them to train on: 2 batches of 32."""
    one = seat()
    one.step = step
    due = epochs_due([one], 3, steps, accumulated)
    done = [step * accumulated + i for i in range(steps * accumulated)]
    wanted = {i: [(3, one, d // 2)] for i, d in enumerate(done) if d % 2 == 0 and d > 0}
    assert due == wanted


@pytest.mark.parametrize("make_event", [None, NotedEvent], ids=["in place", "through buffers"])
@pytest.mark.parametrize("buffer_bytes", [1, 600, 1 << 26])
def test_orders_are_those_of_the_epoch_and_other_slots_keep_theirs(monkeypatch, seats, slots, make_event, buffer_bytes):
    monkeypatch.setattr(orders, "BUFFER_BYTES", buffer_bytes)
    slots.order.fill_(-7)
    putter = Orders(slots, make_event)
    for epoch in range(5):
        due = [Due(slot, one, epoch + slot) for slot, one in zip((4, 0, 3, 1), seats, strict=True)][: 4 - epoch % 2]
        putter.put(due)
        for d in due:
            found = slots.order[d.slot, : len(d.seat.dataset.split.train)]
            assert torch.equal(found, expected(d).to(torch.int32))
    assert (slots.order[[2, 5]] == -7).all()


def test_a_buffer_is_filled_again_only_after_its_last_copy(seats, slots):
    """Two buffers take turns."""
    NotedEvent.log.clear()
    putter = Orders(slots, NotedEvent)
    for epoch in range(3):
        putter.put([Due(0, seats[0], epoch)])
    (first, a), (second, b), (third, c), (fourth, d), (fifth, e), (sixth, f) = NotedEvent.log
    assert (first, second, third, fourth, fifth, sixth) == ("synchronize", "record") * 3
    assert a is b is e is f
    assert c is d is not a


def test_an_ordered_curriculum_keeps_its_order(slots):
    one = seat(curriculum="ordered")
    Orders(slots, None).put([Due(1, one, 7)])
    assert torch.equal(slots.order[1, :60], one.dataset.split.train.to(torch.int32))


def test_what_an_ordered_curriculum_drops_differs_from_epoch_to_epoch(slots):
    one = seat(curriculum="ordered", drop_last=True)  # 60 rows, of which an epoch has one batch of 32
    place = {row: at for at, row in enumerate(one.dataset.split.train.tolist())}
    assert one.epoch_rows == 32 < len(place)
    seen = []
    for epoch in range(12):
        Orders(slots, None).put([Due(1, one, epoch)])
        places = [place[row] for row in slots.order[1, :32].tolist()]
        assert places == sorted(set(places))
        seen += places
    assert set(seen) == set(place.values())
