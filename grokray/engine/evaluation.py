"""Teacher-forced evaluation of train, held-out and out-of-domain rows.

Greedy decoding emits the whole answer exactly when every teacher-forced argmax is right, so exact match needs no
decoding loop.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokray.engine.model import forward
from grokray.engine.shape import ShapeKey
from grokray.tasks.splits import Split

PARTS = ("train", "heldout", "out_of_domain")
CHUNK_ELEMENTS = 1 << 18  # of one slot's activations; a constant of the shape, so that neighbours change no sum


@torch.no_grad()
def evaluate(shape: ShapeKey, parameters: dict[str, Tensor], table: RowTable, part: Tensor) -> list[dict[str, float]]:
    """Metrics per slot: `{part}_loss`, `{part}_token_accuracy`, `{part}_exact_match`; empty parts are left out.

    parameters (slots, *shape); part (slots, rows) from `part_of_rows`. Loss is the mean over rows of the mean over a
    row's answer tokens, token accuracy the share of all answer tokens, exact match the share of whole answers.
    """
    totals = torch.zeros(len(part), len(PARTS), 5, dtype=torch.float64, device=table.tokens.device)
    chunk = max(1, CHUNK_ELEMENTS // (shape.length * shape.dim_model))
    for start in range(0, len(table.tokens), chunk):
        sums = _row_sums(shape, parameters, table, start, chunk)
        here = part[:, start : start + chunk]
        for i in range(len(PARTS)):
            totals[:, i] += (sums * (here == i)[..., None]).sum(1)
    return [_metrics(row) for row in totals.tolist()]


class RowTable:
    """A table's tensors on the engine's device: tokens (rows, length), positions (rows, answers) or None where the
    shape is uniform, targets (rows, answers)."""

    def __init__(self, tokens: Tensor, positions: Tensor | None, targets: Tensor) -> None:
        self.tokens, self.positions, self.targets = tokens, positions, targets


def part_of_rows(rows: int, split: Split) -> Tensor:
    """(rows,) int8: the index in PARTS that each row of a table belongs to in one trial, −1 for none."""
    part = torch.full((rows,), -1, dtype=torch.int8)
    for i, name in enumerate(PARTS):
        part[getattr(split, name)] = i
    return part


def _row_sums(shape: ShapeKey, parameters: dict[str, Tensor], table: RowTable, start: int, chunk: int) -> Tensor:
    """(slots, rows, 5) float64: mean loss, answer tokens, right tokens, whole answer right, one."""
    slots = len(parameters["token_embedding"])

    def rows(t: Tensor) -> Tensor:
        piece = t[start : start + chunk]
        return piece.expand(slots, *piece.shape)

    positions = None if table.positions is None else rows(table.positions)
    logits = forward(shape, parameters, rows(table.tokens), positions)
    targets = rows(table.targets)
    scored, wanted = targets >= 0, targets.clamp(min=0)
    loss = -logits.log_softmax(-1).gather(-1, wanted[..., None]).squeeze(-1) * scored
    right = (logits.argmax(-1) == wanted) & scored
    tokens = scored.sum(-1)
    whole = (right | ~scored).all(-1)
    columns = [loss.sum(-1) / tokens.clamp(min=1), tokens, right.sum(-1), whole, torch.ones_like(tokens)]
    return torch.stack([c.to(torch.float64) for c in columns], -1)


def _metrics(totals: list[list[float]]) -> dict[str, float]:
    out = {}
    for name, (loss, tokens, right, whole, rows) in zip(PARTS, totals, strict=True):
        if rows:
            out[f"{name}_loss"] = loss / rows
            out[f"{name}_token_accuracy"] = right / tokens
            out[f"{name}_exact_match"] = whole / rows
    return out
