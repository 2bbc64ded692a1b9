"""Teacher-forced evaluation of train, held-out and out-of-domain rows.

Greedy decoding emits the whole answer exactly when every teacher-forced argmax is right, so exact match needs no
decoding loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokray.engine.attention import Form
from grokray.engine.chunks import PARTS, Chunks
from grokray.engine.loss import log_probabilities
from grokray.engine.model import forward, keys_values
from grokray.engine.shape import ShapeKey

COLUMNS = 6


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`metrics` over all rows, `tasks` the same of each task where a table has several: names `{part}_loss`,
    `{part}_token_accuracy`, `{part}_exact_match`, empty parts left out. `logit_scale` (see `measures`) is None where
    nothing is held out."""

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


RowSums = Callable[..., Tensor]  # `row_sums` of one shape, perhaps compiled, from `rows` on


@torch.no_grad()
def totals_of(
    shape: ShapeKey,
    parameters: Tensor,
    table: RowTable,
    chunks: Sequence[Chunks],
    sums_of: RowSums,
    *,
    one_size: bool = False,
) -> Tensor:
    """One pass over all that is evaluated: (slots, groups, PARTS, COLUMNS) float64, for `evaluations_of`. Nothing is
    read from the device.

    parameters (slots, row_size); `chunks` are what each slot is evaluated on, of the same sizes. `one_size` says that
    `sums_of` takes whole chunks only.
    """
    rows, part, prefixes, at = (torch.stack(columns) for columns in zip(*(c.tensors for c in chunks), strict=True))
    groups = 1 + len(table.task_names)  # all rows, then each task's
    totals = torch.zeros(len(rows), groups, len(PARTS), COLUMNS, dtype=torch.float64, device=rows.device)
    for i, size in enumerate(chunks[0].sizes):
        stop = None if one_size else size
        numbers = rows[:, i, :stop].long()
        sums = sums_of(parameters, *_inputs(shape, table, numbers, prefixes[:, i], at[:, i, :stop]))
        task = None if table.task is None else table.task[numbers[:, :size]]
        totals += _totals(sums[:, :size], part[:, i, :size], task, groups)
    return totals


def evaluations_of(totals: Tensor, table: RowTable) -> list[Evaluation]:
    """One of each slot; waits for the device. Loss is the mean over rows of the mean over a row's answer tokens, in the
    kind that is trained; token accuracy the share of all answer tokens, exact match the share of whole answers."""
    return [_evaluation(slot, table.task_names) for slot in totals.tolist()]


def _inputs(shape: ShapeKey, table: RowTable, rows: Tensor, prefixes: Tensor, at: Tensor) -> list[Tensor]:
    """What `row_sums` takes after the parameters."""
    shared = shape.sharing.length
    inputs = [table.tokens[rows][..., shared:].contiguous(), table.targets[rows]]
    if table.positions is not None:
        inputs.append(table.positions[rows])
    return [*inputs, table.tokens[prefixes][..., :shared].contiguous(), at.contiguous()] if shared else inputs


def _totals(sums: Tensor, part: Tensor, task: Tensor | None, groups: int) -> Tensor:
    """sums (slots, n, COLUMNS) to (slots, groups, len(PARTS), COLUMNS): over all rows, then over each task's."""
    masks = [part == i for i in range(len(PARTS))]
    if task is not None:
        masks += [of_part & (task == i) for i in range(groups - 1) for of_part in masks[: len(PARTS)]]
    return torch.stack([(sums * mask[..., None]).sum(1) for mask in masks], 1).unflatten(1, (groups, len(PARTS)))


@torch.no_grad()
def row_sums(
    shape: ShapeKey, rows: Tensor, tokens: Tensor, targets: Tensor, *more: Tensor, form: Form = "products"
) -> Tensor:
    """(slots, n, COLUMNS) float64: mean loss, answer tokens, right tokens, whole answer right, one, and the sum over
    answer tokens of the logits' variance over the vocabulary.

    rows (slots, row_size), tokens (slots, n, length), targets (slots, n, answers), and positions like these where the
    shape is not uniform. Where it shares prefixes, `tokens` are those after the prefix, and two more follow: the
    prefixes' tokens (slots, prefixes, shared length), and where among them each row's is (slots, n).
    """
    rest, parameters = list(more), shape.layout.views(rows)
    where = None if shape.uniform else rest.pop(0)
    past = None
    if shape.sharing.length:
        prefixes, at = rest
        past = [_of_rows(kept, at) for kept in keys_values(shape, parameters, prefixes, form=form)]
    logits = forward(shape, parameters, tokens, where, form=form, past=past)
    scored, wanted = targets >= 0, targets.clamp(min=0)
    loss = -log_probabilities(logits, shape.loss).gather(-1, wanted[..., None]).squeeze(-1) * scored
    right = (logits.argmax(-1) == wanted) & scored
    tokens_of_row = scored.sum(-1)
    whole = (right | ~scored).all(-1)
    spread = (logits - logits.mean(-1, keepdim=True)).square().mean(-1) * scored
    columns = (
        *(loss.sum(-1) / tokens_of_row.clamp(min=1), tokens_of_row, right.sum(-1)),
        *(whole, torch.ones_like(tokens_of_row), spread.sum(-1)),
    )
    return torch.stack([c.to(torch.float64) for c in columns], -1)


def _of_rows(kept: Tensor, at: Tensor) -> Tensor:
    """kept (slots, prefixes, length, width) to (slots, n, length, width), what each row has in its place."""
    slots, prefixes = kept.shape[:2]
    first = torch.arange(slots, device=at.device)[:, None] * prefixes
    return kept.flatten(0, 1)[at + first]


def _evaluation(groups: list[list[list[float]]], task_names: tuple[str, ...]) -> Evaluation:
    heldout = groups[0][PARTS.index("heldout")]
    return Evaluation(
        metrics=_metrics(groups[0]),
        tasks={name: _metrics(group) for name, group in zip(task_names, groups[1:], strict=True)},
        logit_scale=math.sqrt(heldout[5] / heldout[1]) if heldout[1] else None,
    )


def _metrics(totals: list[list[float]]) -> dict[str, float]:
    out = {}
    for name, (loss, tokens, right, whole, rows, *_) in zip(PARTS, totals, strict=True):
        if rows:
            out[f"{name}_loss"] = loss / rows
            out[f"{name}_token_accuracy"] = right / tokens
            out[f"{name}_exact_match"] = whole / rows
    return out
