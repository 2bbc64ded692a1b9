"""Teacher-forced evaluation of train, held-out and out-of-domain rows.

Greedy decoding emits the whole answer exactly when every teacher-forced argmax is right, so exact match needs no
decoding loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokray.engine.loss import log_probabilities
from grokray.engine.model import forward
from grokray.engine.shape import ShapeKey
from grokray.tasks.splits import Split

PARTS = ("train", "heldout", "out_of_domain")
CHUNK_ELEMENTS = 1 << 18  # of one slot's activations; a constant of the shape, so that neighbours change no sum


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`metrics` over all rows, `tasks` the same of each task where a table has several: names `{part}_loss`,
    `{part}_token_accuracy`, `{part}_exact_match`, empty parts left out. `logit_scale` (see `measures`) is None unless
    asked for."""

    metrics: dict[str, float]
    tasks: dict[str, dict[str, float]] = field(default_factory=dict)
    logit_scale: float | None = None


class RowTable:
    """A table's tensors on the engine's device: tokens (rows, length), positions (rows, answers) or None where the
    shape is uniform, targets (rows, answers), task (rows,) where there are several task names."""

    def __init__(
        self,
        tokens: Tensor,
        positions: Tensor | None,
        targets: Tensor,
        task: Tensor | None = None,
        task_names: tuple[str, ...] = (),
    ) -> None:
        self.tokens, self.positions, self.targets = tokens, positions, targets
        self.task, self.task_names = task, task_names


@torch.no_grad()
def evaluate(
    shape: ShapeKey, parameters: dict[str, Tensor], table: RowTable, part: Tensor, *, logit_scale: bool = False
) -> list[Evaluation]:
    """One evaluation per slot, in one pass over the rows.

    parameters (slots, *shape); part (slots, rows) from `part_of_rows`. Loss is the mean over rows of the mean over a
    row's answer tokens, in the kind that is trained; token accuracy the share of all answer tokens, exact match the
    share of whole answers.
    """
    groups = 1 + len(table.task_names)  # all rows, then each task's
    totals = torch.zeros(len(part), groups, len(PARTS), 5 + logit_scale, dtype=torch.float64, device=part.device)
    chunk = max(1, CHUNK_ELEMENTS // (shape.length * shape.dim_model))
    for start in range(0, len(table.tokens), chunk):
        sums = _row_sums(shape, parameters, table, start, chunk, logit_scale)
        here = part[:, start : start + chunk]
        for i in range(len(PARTS)):
            of_part = sums * (here == i)[..., None]
            totals[:, 0, i] += of_part.sum(1)
            for g in range(1, groups):
                totals[:, g, i] += (of_part * (table.task[start : start + chunk] == g - 1)[:, None]).sum(1)  # type: ignore[index]
    return [_evaluation(slot, table.task_names) for slot in totals.tolist()]


def part_of_rows(rows: int, split: Split) -> Tensor:
    """(rows,) int8: the index in PARTS that each row of a table belongs to in one trial, −1 for none."""
    part = torch.full((rows,), -1, dtype=torch.int8)
    for i, name in enumerate(PARTS):
        part[getattr(split, name)] = i
    return part


def _row_sums(
    shape: ShapeKey, parameters: dict[str, Tensor], table: RowTable, start: int, chunk: int, logit_scale: bool
) -> Tensor:
    """(slots, rows, columns) float64: mean loss, answer tokens, right tokens, whole answer right, one, and on demand
    the sum over answer tokens of the logits' variance."""
    slots = len(parameters["token_embedding"])

    def rows(t: Tensor) -> Tensor:
        piece = t[start : start + chunk]
        return piece.expand(slots, *piece.shape)

    positions = None if table.positions is None else rows(table.positions)
    logits = forward(shape, parameters, rows(table.tokens), positions)
    targets = rows(table.targets)
    scored, wanted = targets >= 0, targets.clamp(min=0)
    loss = -log_probabilities(logits, shape.loss).gather(-1, wanted[..., None]).squeeze(-1) * scored
    right = (logits.argmax(-1) == wanted) & scored
    tokens = scored.sum(-1)
    whole = (right | ~scored).all(-1)
    columns = [loss.sum(-1) / tokens.clamp(min=1), tokens, right.sum(-1), whole, torch.ones_like(tokens)]
    if logit_scale:
        columns.append((logits.to(torch.float64).var(-1, correction=0) * scored).sum(-1))
    return torch.stack([c.to(torch.float64) for c in columns], -1)


def _evaluation(groups: list[list[list[float]]], task_names: tuple[str, ...]) -> Evaluation:
    heldout = groups[0][PARTS.index("heldout")]
    asked = len(heldout) > 5
    return Evaluation(
        metrics=_metrics(groups[0]),
        tasks={name: _metrics(group) for name, group in zip(task_names, groups[1:], strict=True)},
        logit_scale=math.sqrt(heldout[5] / heldout[1]) if asked and heldout[1] else None,
    )


def _metrics(totals: list[list[float]]) -> dict[str, float]:
    out = {}
    for name, (loss, tokens, right, whole, rows, *_) in zip(PARTS, totals, strict=True):
        if rows:
            out[f"{name}_loss"] = loss / rows
            out[f"{name}_token_accuracy"] = right / tokens
            out[f"{name}_exact_match"] = whole / rows
    return out
