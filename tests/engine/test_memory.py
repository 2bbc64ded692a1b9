"""How wide a GPU's buckets are."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grokray.engine.kernels import OPTIONS, Kernels
from grokray.engine.memory import AHEAD, Room, slots_ahead, step_bytes
from grokray.engine.shape import shape_of
from grokray.engine.slots import Slots
from grokray.engine.step import Part, Step
from grokray.engine.tables import Tables
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small


def test_room_is_a_power_of_two_by_estimate_then_by_what_was_seen_and_never_what_did_not_fit():
    room = Room(1000, lambda: 40_000)
    assert room.width == 16  # half of the memory holds 20
    room.needed(1, 4000)
    assert room.width == 4
    room.needed(4, 4 * 600)  # with more slots what is needed once counts less
    assert room.width == 32
    room.needed(2, 2 * 2000)
    assert room.width == 32
    assert room.exceeded(32)
    assert room.width == 16
    room.needed(16, 16 * 10)
    assert room.width == 16
    assert Room(1000, lambda: 0).width == 1
    assert not Room(1000, lambda: 0).exceeded(1)


def test_an_eighth_of_the_free_memory_is_reserved_ahead_at_most():
    assert AHEAD == 1 / 8
    assert slots_ahead(50, 1000, lambda: 10_000_000) == 50
    assert slots_ahead(50, 1000, lambda: 80_000) == 10
    assert slots_ahead(0, 1000, lambda: 80_000) == 0


class _Peak(TorchDispatchMode):
    """Counts the bytes of all tensors that are made, while somebody holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.held: set[int] = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and t.untyped_storage()._cdata not in self.held:
                self._hold(t.untyped_storage())
        return out

    def _hold(self, storage) -> None:
        place, size = storage._cdata, storage.nbytes()
        self.held.add(place)
        self.now += size
        self.peak = max(self.peak, self.now)

        def release() -> None:
            self.held.discard(place)
            self.now -= size

        weakref.finalize(storage, release)


@pytest.mark.parametrize("options", [(), OPTIONS], ids=["plain", "all options"])
@pytest.mark.parametrize(
    "model",
    [
        {"dim_model": 32, "batch_size": 64},
        {"dim_model": 128, "batch_size": 512},
        {"dim_model": 64, "batch_size": 128, "num_layers": 6},
        {"dim_model": 256, "num_layers": 1, "batch_size": 2048},
        {"dim_model": 512, "batch_size": 64},
        {"dim_model": 128, "batch_size": 512, "task_type": "sequence", "base": 2},
        {"dim_model": 128, "batch_size": 512, "dtype": "float64"},
        {"dim_model": 128, "batch_size": 512, "precision": "bf16"},
    ],
    ids=str,
)
def test_the_estimate_is_enough_and_not_much_more(model, options):
    """On device `meta`, which computes nothing."""
    used = {"dropout": 0.1, "input_noise": 0.1} if options else {}  # they decide the shape
    dataset = build_dataset(small(modulus=97, **model, **used))
    shape, meta, width = shape_of(dataset), torch.device("meta"), 4
    slots, tables = Slots(shape, meta), Tables(shape, meta)
    slots.reserve(width, len(dataset.split.train))
    tables.add(dataset)
    step = Step(shape, Kernels(shape, meta, options), slots.span(0, width), tables.all)
    with _Peak() as peak:
        step.part(Part(measured=True))()
    assert 1 <= step_bytes(shape) / (peak.peak / width) < 1.6
