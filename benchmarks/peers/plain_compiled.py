"""`plain` with forward and backward compiled; the fused optimiser is one operation already."""

from __future__ import annotations

from peers.case import Case, Rows, Training, compiled
from peers.plain import loss, training_of


def make(case: Case, trials: int, *, device: str = "cpu", rows: Rows | None = None) -> Training:
    return training_of(case, trials, device, rows, compiled(loss))
