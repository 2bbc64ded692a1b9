"""One optimiser step of a tile as a function of tensors alone, which stay where they are and hold all that it needs.

A step is as many parts as batches are accumulated in it, since a batch may begin an epoch, whose order the host puts in
place before. A part computes a batch's gradient; the last one changes the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokray.engine.kernels import Kernels
from grokray.engine.measures import OF_THE_STEP
from grokray.engine.model import Batch
from grokray.engine.recorder import Work
from grokray.engine.shape import ShapeKey
from grokray.engine.sums import dots, norms
from grokray.engine.tables import RowTable

CHANGED = (*OF_THE_STEP, "first_bad", "step")  # and the slots' states


@dataclass(frozen=True)
class Part:
    """Whether it is the first and the last of its step, and whether measures of the step are wanted."""

    first: bool = True
    last: bool = True
    measured: bool = False


def parts_of(number: int, *, measured: bool) -> list[Part]:
    """The parts of a step that accumulates `number` batches."""
    return [Part(i == 0, i == number - 1, measured and i == number - 1) for i in range(number)]


class Step:
    """`s` are the tile's tensors (`Slots.span`), `table` has the rows that their `order` speaks of."""

    def __init__(self, shape: ShapeKey, kernels: Kernels, s: dict[str, Tensor], table: RowTable) -> None:
        self.shape, self.kernels, self.s, self.table = shape, kernels, s, table
        # Over the batches of a step, where there are several: which one it is, the sums of gradients and of losses.
        self._index = torch.zeros((), dtype=torch.int32, device=s["step"].device)
        several = shape.accumulation_steps > 1
        self._sums = torch.zeros_like(s["parameters"]) if several else s["parameters"].new_zeros(0)
        self._losses = s["parameters"].new_zeros(len(s["step"]) if several else 0)

    def part(self, part: Part) -> Work:
        return partial(self._do, part)

    @property
    def changes(self) -> list[Tensor]:
        """All tensors that a part changes and that outlive it."""
        states = [t for name, t in self.s.items() if name in (*CHANGED, "parameters", "moment1", "moment2", "average")]
        return [*states, self._index, self._sums, self._losses]

    def _do(self, part: Part) -> None:
        gradients, losses = self._pass(part)
        if part.first and part.last:
            self._update(gradients, losses, part.measured)
            return
        if part.first:
            self._sums.copy_(gradients)
            self._losses.copy_(losses)
        else:
            self._sums.add_(gradients)
            self._losses.add_(losses)
        if part.last:
            self._update(self._sums / self.shape.accumulation_steps, self._losses, part.measured)

    def _pass(self, part: Part) -> tuple[Tensor, Tensor]:
        """Gradient rows and losses of the next batch."""
        number, step = self.shape.accumulation_steps, self.s["step"]
        if number == 1:
            return self.kernels.one_pass(self.s, self._batch(step), step)
        if part.first:
            self._index.zero_()
        else:
            self._index.add_(1)
        count = step * number + self._index  # may wrap around: hashes do not mind
        return self.kernels.one_pass(self.s, self._batch(step.long() * number + self._index), count)

    def _batch(self, done: Tensor) -> Batch:
        """The rows of each slot's batch after `done` (slots,) ones; the last of an epoch is ragged, as in a
        DataLoader."""
        size, device = self.shape.batch_size, done.device
        n = self.s["rows"].clamp(min=1)
        batches = (n + size - 1) // size
        at = (done % batches * size)[:, None] + torch.arange(size, device=device, dtype=torch.int32)
        there = at < n[:, None]
        rows = self.s["order"].gather(1, torch.where(there, at, 0).long()).long()
        table, shared = self.table, self.shape.batch_sharing.length
        positions = None if table.positions is None else table.positions[rows]
        prefixes, at = None, None
        if table.prefix is not None:
            prefixes, at = table.tokens[self.s["prefixes"].long()][..., :shared].contiguous(), table.prefix[rows]
        tokens, weight = table.tokens[rows][..., shared:].contiguous(), there.to(self.shape.torch_dtype)
        return Batch(tokens, positions, table.targets[rows], weight, prefixes, at)

    def _update(self, gradients: Tensor, losses: Tensor, measured: bool) -> None:
        s = self.s
        before = s["parameters"].clone() if measured else None
        if measured:
            of_gradient = norms(gradients)
            s["gradient_norm"].copy_(of_gradient)
            s["gradient_alignment"].copy_(-dots(gradients, s["parameters"]) / (of_gradient * norms(s["parameters"])))
        self.kernels.step(s, gradients)
        if before is not None:
            s["update_norm"].copy_(norms(s["parameters"] - before))
        bad = (s["first_bad"] < 0) & ~losses.isfinite() & (s["active"] > 0)
        s["first_bad"].copy_(torch.where(bad, s["step"], s["first_bad"]))
        s["step"].add_(s["active"].to(torch.int32))
