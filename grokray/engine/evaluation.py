"""Teacher-forced evaluation of train, held-out and out-of-domain rows.

Greedy decoding emits the whole answer exactly when every teacher-forced argmax is right, so exact match needs no
decoding loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.loss import log_probabilities
from grokray.engine.model import forward
from grokray.engine.randomness import generator
from grokray.engine.shape import ShapeKey
from grokray.tasks.dataset import Dataset

PARTS = ("train", "heldout", "out_of_domain")
COLUMNS = 6
CHUNK_ROWS = 2048  # at most: what is compiled is computed whole, also for a table of few rows
CHUNK_ELEMENTS = 1 << 18  # of one slot's activations; a constant of the shape, so that neighbours change no sum


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
def evaluate(
    shape: ShapeKey,
    parameters: Tensor,
    table: RowTable,
    rows: Tensor,
    part: Tensor,
    sums_of: RowSums,
    *,
    one_size: bool = False,
) -> list[Evaluation]:
    """One evaluation per slot, in one pass.

    parameters (slots, row_size); rows and part (slots, n) are what each slot is evaluated on, see `evaluated_rows`.
    Loss is the mean over rows of the mean over a row's answer tokens, in the kind that is trained; token accuracy the
    share of all answer tokens, exact match the share of whole answers. `one_size` says that `sums_of` takes
    `chunk_rows(shape)` rows and no other number.
    """
    groups = 1 + len(table.task_names)  # all rows, then each task's
    totals = torch.zeros(len(rows), groups, len(PARTS), COLUMNS, dtype=torch.float64, device=rows.device)
    chunk = chunk_rows(shape)
    for start in range(0, rows.shape[1], chunk):
        at, here = rows[:, start : start + chunk], part[:, start : start + chunk]
        if one_size and at.shape[1] < chunk:
            at, here = F.pad(at, (0, chunk - at.shape[1])), F.pad(here, (0, chunk - here.shape[1]), value=-1)
        positions = [] if table.positions is None else [table.positions[at]]
        sums = sums_of(parameters, table.tokens[at], table.targets[at], *positions)
        for i in range(len(PARTS)):
            of_part = sums * (here == i)[..., None]
            totals[:, 0, i] += of_part.sum(1)
            for g in range(1, groups):
                totals[:, g, i] += (of_part * (table.task[at] == g - 1)[..., None]).sum(1)  # type: ignore[index]
    return [_evaluation(slot, table.task_names) for slot in totals.tolist()]


def chunk_rows(shape: ShapeKey) -> int:
    """Rows of one pass; a function of the shape alone, so that neighbours change no sum."""
    return max(1, min(CHUNK_ROWS, CHUNK_ELEMENTS // (shape.length * shape.dim_model)))


def evaluated_rows(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The rows (n,) int64 of its table that a trial is evaluated on, rising, and of each the index (n,) int8 in PARTS.

    Of the training rows `eval_train_rows` are drawn, if it says so, the same at every evaluation.
    """
    split, most = dataset.split, dataset.config.eval_train_rows
    part = torch.full((len(dataset.table.tokens),), -1, dtype=torch.int8)
    for i, name in enumerate(PARTS):
        rows = getattr(split, name)
        if name == "train" and most is not None and most < len(rows):
            rows = rows[torch.randperm(len(rows), generator=generator(dataset.config.split_seed, "evaluation"))[:most]]
        part[rows] = i
    rows = (part >= 0).nonzero().squeeze(1)
    return rows, part[rows]


@torch.no_grad()
def row_sums(
    shape: ShapeKey, rows: Tensor, tokens: Tensor, targets: Tensor, *positions: Tensor, small: bool = False
) -> Tensor:
    """(slots, n, COLUMNS) float64: mean loss, answer tokens, right tokens, whole answer right, one, and the sum over
    answer tokens of the logits' variance over the vocabulary.

    rows (slots, row_size), tokens (slots, n, length), targets (slots, n, answers), and positions like these where the
    shape is not uniform.
    """
    where = positions[0] if positions else None
    logits = forward(shape, shape.layout.views(rows), tokens, where, small=small)
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
