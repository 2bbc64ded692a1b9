"""A GPU's way of training, on a CPU: buckets, recorded steps, orders through buffers.

`Replay` records every operation on tensors together with the very tensors, and replays them as a CUDA graph would: on
the same memory, with every number of the host as it was while recording. It refuses where a graph would read memory
that is no longer the stack's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grokray.engine.backends import Buckets
from grokray.engine.orders import Orders
from grokray.engine.recorder import Work
from grokray.engine.shape import ShapeKey
from grokray.engine.stack import Stack
from tests.engine.recorded import run_again

MUCH = 1 << 40
FREE_FOR_SLOTS: int | None = None  # bytes; None reserves nothing ahead, as on a CPU


class Outdated(Exception):
    pass


class Tape(TorchDispatchMode):
    """Operations with their arguments and what they gave."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation is not torch.ops.aten._local_scalar_dense.default, "the host reads a number of the device"
        out = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, out))
        return out

    def reads(self) -> set[int]:
        """Where the memory of all arguments begins."""
        leaves = tree_leaves([operation[1:3] for operation in self.operations])
        return {t.untyped_storage().data_ptr() for t in leaves if isinstance(t, Tensor)}

    def replay(self) -> None:
        run_again(self.operations)


class Replay:
    """`fits(width)` says whether a step of so many slots fits in memory. `recorded` lists the widths of steps,
    `evaluated` those of evaluations."""

    def __init__(self, stack: Stack, fits: Callable[[int], bool]) -> None:
        self.stack, self.fits = stack, fits
        self.peak_bytes: int | None = None
        self.recorded: list[int] = []
        self.evaluated: list[int] = []
        self.forgotten = 0
        self.failed: weakref.ref[Tensor] | None = None  # what the work that did not fit held
        self.held: list[bool] = []  # whether it still did when the next work was recorded

    def record(self, work: Work, changes: Sequence[Tensor]) -> Work:
        if self.failed is not None:
            self.held.append(self.failed() is not None)
            self.failed = None
        saved = [t.clone() for t in changes]
        with Tape() as tape:
            work()
        for t, old in zip(changes, saved, strict=True):
            t.copy_(old)
        read = tape.reads()
        bound = {name: place for name, place in self._places().items() if place in read}
        a_step = "parameters" in bound
        assert {"parameters", "order", "tokens"} <= bound.keys() if a_step else {"tokens", "targets"} <= bound.keys()
        (self.recorded if a_step else self.evaluated).append(len(changes[0]))
        if not self.fits(len(changes[0])):
            self.failed = weakref.ref(saved[0])
            raise torch.OutOfMemoryError("pretended")

        def replay() -> None:
            now = self._places()
            if replaced := sorted(name for name in bound if now[name] != bound[name]):
                raise Outdated(", ".join(replaced))
            tape.replay()

        return replay

    def forget(self) -> None:
        self.forgotten += 1

    def _places(self) -> dict[str, int]:
        table = self.stack.tables.all
        tensors = {**self.stack.slots.tensors, "tokens": table.tokens, "targets": table.targets}
        return {name: t.untyped_storage().data_ptr() for name, t in tensors.items()}


class NotedEvent:
    """Notes in `log` when it is recorded and waited for."""

    log: list[tuple[str, NotedEvent]] = []

    def record(self) -> None:
        self.log.append(("record", self))

    def synchronize(self) -> None:
        self.log.append(("synchronize", self))


def pretend(monkeypatch, *, free: int = MUCH, fits: Callable[[int], bool] = lambda width: True) -> list[Stack]:
    """Engines train as on a GPU from here on; their stacks, in the order in which they are made."""
    made: list[Stack] = []

    class Pretended(Stack):
        def __init__(self, shape: ShapeKey, *, device: torch.device, **options) -> None:
            super().__init__(shape, device=device, **options)
            self.backend = Buckets(shape, device, free=lambda: free)
            self.orders = Orders(self.slots, NotedEvent)
            self.recordings.recorder = Replay(self, fits)
            self.free = None if FREE_FOR_SLOTS is None else lambda: FREE_FOR_SLOTS or 0
            made.append(self)

    monkeypatch.setattr("grokray.engine.engine.Stack", Pretended)
    return made
