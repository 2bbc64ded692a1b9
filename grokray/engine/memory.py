"""How wide a bucket may be so that its step fits in a GPU's memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grokray.engine.shape import ShapeKey

FreeMemory = Callable[[], int]  # bytes
SHARE = 0.5  # of the free memory; the rest is for other stacks, more trials and evaluations


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


def slot_bytes(shape: ShapeKey) -> int:
    """About what one slot of an eager step needs besides the slot's own tensors: activations that wait for their
    gradients, and rows of gradients and their intermediate results."""
    tokens = shape.batch_size * shape.length
    layer = 30 * tokens * shape.dim_model + 4 * tokens * shape.length * shape.num_heads
    logits = 4 * shape.batch_size * shape.answers * shape.vocabulary_size
    return shape.torch_dtype.itemsize * (shape.num_layers * layer + logits + 6 * shape.layout.row_size)


def cuda_free(device: torch.device) -> FreeMemory:
    """What PyTorch can have of the device's memory: what nobody has, and what it holds without using it."""

    def free() -> int:
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused

    return free
