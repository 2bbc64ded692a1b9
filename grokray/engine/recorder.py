"""Work that is done over and over on the same tensors, recorded once and replayed.

On a GPU a training step is hundreds of small kernels, and launching them one by one from Python takes longer than
computing them. A CUDA graph launches all of them at once. It repeats exactly what was recorded, on the very memory that
was recorded: whatever the host decides must lie in tensors, and none of them may be replaced (see `recordings`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Work = Callable[[], None]
WARM_UPS = 2  # cuBLAS and the compiler set things up in the first, which must not happen while recording


class Recorder(Protocol):
    peak_bytes: int | None
    """What the work recorded last needs at most besides the tensors that it is done on; None where that is unknown."""

    def record(self, work: Work, changes: Sequence[Tensor]) -> Work:
        """The same work, to be called as often as wanted. `changes` are all tensors that the work changes and others
        see; recording leaves them as they are. Raises torch.OutOfMemoryError if the work does not fit."""
        ...

    def forget(self) -> None:
        """Every recording is gone, and its memory may go too."""
        ...


def recorder_for(device: torch.device) -> Recorder:
    return CudaRecorder(device) if device.type == "cuda" else NoRecorder()


class NoRecorder:
    """Does the work each time anew, as is best on a CPU."""

    peak_bytes: int | None = None

    def record(self, work: Work, changes: Sequence[Tensor]) -> Work:
        return work

    def forget(self) -> None:
        """There is nothing to forget."""


class CudaRecorder:
    """CUDA graphs, which share one pool of memory: none of them leaves anything there for another, and they are
    replayed one after the other."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak_bytes: int | None = None
        self._pool: Any = None
        # The same for all: cuBLAS keeps memory to work in for each stream that it has been used on.
        self._stream: torch.cuda.Stream | None = None
        self._failed = False

    def record(self, work: Work, changes: Sequence[Tensor]) -> Work:
        with torch.cuda.device(self.device):
            self._warm_up(work, changes)
            if self._failed:
                return work
            graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            try:
                # Nothing of this work is done in other threads; what those do meanwhile is no reason to give up.
                capture = torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                )
                with capture:
                    work()
            except RuntimeError as error:
                torch.cuda.set_stream(current)  # where ending the capture fails, PyTorch leaves its own in place
                for cause in (error, error.__context__):
                    if isinstance(cause, torch.OutOfMemoryError):
                        raise cause from None
                return self._give_up(work, error)
            self._pool = graph.pool()
        return graph.replay

    def forget(self) -> None:
        self._pool = None  # a pool that no graph uses any more cannot be used again
        torch.cuda.empty_cache()

    def _warm_up(self, work: Work, changes: Sequence[Tensor]) -> None:
        """Do the work on a stream apart, note its peak, and put everything back."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        saved = [t.clone() for t in changes]
        self._stream = stream = self._stream or torch.cuda.Stream()
        current = torch.cuda.current_stream()
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    work()
            self.peak_bytes = torch.cuda.max_memory_allocated(self.device) - before
        finally:
            current.wait_stream(stream)
            for t, old in zip(changes, saved, strict=True):
                t.copy_(old)

    def _give_up(self, work: Work, error: RuntimeError) -> Work:
        self._failed = True
        print(f"grokray: steps could not be recorded as CUDA graphs, {error}; going on without", file=sys.stderr)
        return work
