"""How wide a bucket may be so that its step fits in a GPU's memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grokray.engine.shape import ShapeKey

FreeMemory = Callable[[], int]  # bytes
SHARE = 0.5  # of the free memory; the rest is for other stacks, more trials and evaluations
AHEAD = 0.125  # of it for slots that nobody sits in yet


class Room:
    """The widest bucket, a power of two: by an estimate of what a slot needs, then by what one was seen to need, and
    in any case narrower than what did not fit."""

    def __init__(self, slot_bytes: int, free: FreeMemory) -> None:
        self.slot_bytes: float = slot_bytes
        self._bytes = SHARE * free()  # once: what is recorded later takes from what was free
        self._measured = self._limit = 0
        self.width = self._fitting()

    def needed(self, width: int, peak_bytes: int) -> None:
        """A step of so many slots has been seen to need so much. Wider ones tell more: some of it is needed once."""
        if width >= self._measured:
            self._measured, self.slot_bytes = width, max(peak_bytes / width, 1)
            self.width = self._fitting()

    def exceeded(self, width: int) -> bool:
        """A step of so many slots did not fit: whether fewer can be tried."""
        self._limit = width // 2
        self.width = min(self.width, max(self._limit, 1))
        return width > 1

    def _fitting(self) -> int:
        slots = max(int(self._bytes / self.slot_bytes), 1)
        width = 1 << (slots.bit_length() - 1)
        return min(width, self._limit) if self._limit else width


def slots_ahead(capacity: int, slot_bytes: int, free: FreeMemory) -> int:
    """How many slots a stack reserves for trials to come, if `capacity` are expected: growing outdates what is recorded
    on its tensors. `slot_bytes` are those of one slot's tensors."""
    return min(capacity, int(AHEAD * free() / slot_bytes))


def state_bytes(shape: ShapeKey) -> int:
    """What is kept of one trial from step to step: weights, two moments, and the average of a gradient filter."""
    rows = 3 + shape.averages_gradients
    return rows * shape.layout.row_size * shape.torch_dtype.itemsize


def step_bytes(shape: ShapeKey) -> int:
    """About what one slot of an eager step needs at its peak besides the slot's own tensors.

    That is either when all activations wait for their gradients, some 20 tensors as large as a layer's input, fewer in
    the last layer, which computes little but the answers, and what the tokens were embedded as; or in the update, some
    11 rows as large as the parameters.
    """
    shared, prefixes = shape.batch_sharing
    read = shape.batch_size * (shape.length - shared) + prefixes * shared  # tokens of a batch, and of its answers
    asked = shape.batch_size * shape.answers
    past = 4 * shape.batch_size * shared * shape.dim_model * shape.num_layers  # keys, values, and their gradients
    layer = 20 * read * shape.dim_model + 4 * read * shape.length * shape.num_heads
    last = (8 * read + 14 * asked) * shape.dim_model + 4 * asked * shape.length * shape.num_heads
    waiting = past + read * shape.dim_model + (shape.num_layers - 1) * layer + last + 4 * asked * shape.vocabulary_size
    row = shape.layout.row_size
    return shape.torch_dtype.itemsize * max(waiting + 3 * row, 11 * row)


def cuda_free(device: torch.device) -> FreeMemory:
    """What PyTorch can have of the device's memory: what nobody has once it has given back what it holds without using
    it. It keeps what recordings have set aside, which nobody else can use."""

    def free() -> int:
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]

    return free
