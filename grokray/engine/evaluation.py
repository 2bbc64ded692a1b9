"""Teacher-forced evaluation of train, held-out and out-of-domain rows.

Greedy decoding emits the whole answer exactly when every teacher-forced argmax is right, so exact match needs no
decoding loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokray.engine.attention import Form
from grokray.engine.embedding import look_up
from grokray.engine.first_layer import looked_up, tables_of
from grokray.engine.loss import answer_losses
from grokray.engine.model import forward, keys_values
from grokray.engine.shape import ShapeKey
from grokray.trial import PARTS

COLUMNS = 7


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`metrics` over all rows, `tasks` the same of each task where a table has several: names `{part}_loss`,
    `{part}_token_accuracy`, `{part}_exact_match`, empty parts left out. `logit_scale` and `softmax_collapse`: see
    `measures`; None where nothing is held out, and where nothing is trained on."""

    metrics: dict[str, float]
    tasks: dict[str, dict[str, float]] = field(default_factory=dict)
    logit_scale: float | None = None
    softmax_collapse: float | None = None


def evaluations_of(totals: Tensor, task_names: Sequence[str]) -> list[Evaluation]:
    """One of each slot; waits for the device. Loss is the mean over rows of the mean over a row's answer tokens, in the
    kind that is trained; token accuracy the share of all answer tokens, exact match the share of whole answers.

    totals (slots, groups, PARTS, COLUMNS) are sums of what `row_sums` gives: over all rows, then those of each task.
    """
    return [_evaluation(slot, task_names) for slot in totals.tolist()]


@torch.no_grad()
def row_sums(
    shape: ShapeKey, rows: Tensor, tokens: Tensor, targets: Tensor, *more: Tensor, form: Form = "products"
) -> Tensor:
    """(slots, n, COLUMNS) float64: mean loss, answer tokens, right tokens, whole answer right, one, the sum over
    answer tokens of the logits' variance over the vocabulary, and answer tokens whose loss is exactly 0.

    rows (slots, row_size), tokens (slots, n, length), targets (slots, n, answers), and positions like these where the
    shape is not uniform. Where it shares prefixes, `tokens` are those after the prefix, and two more follow: the
    prefixes' tokens (slots, prefixes, shared length), and where among them each row's is (slots, n).
    """
    rest, parameters = list(more), shape.layout.views(rows)
    where = None if shape.uniform else rest.pop(0)
    tables, past = tables_of(shape, parameters), None
    if shape.sharing.length:
        prefixes, at = rest
        of_prefixes = keys_values(shape, parameters, looked_up(shape, tables, prefixes), form=form)
        past = [look_up(kept, at) for kept in of_prefixes]
    begin = looked_up(shape, tables, tokens, shape.sharing.length)
    logits = forward(shape, parameters, tokens, where, form=form, past=past, begin=begin)
    scored, wanted = targets >= 0, targets.clamp(min=0)
    losses = answer_losses(logits, wanted, shape.loss)
    loss = losses * scored
    right = (logits.argmax(-1) == wanted) & scored & ~loss.isnan()  # the largest of no numbers is the first of them
    tokens_of_row = scored.sum(-1)
    whole = (right | ~scored).all(-1)
    spread = (logits - logits.mean(-1, keepdim=True)).square().mean(-1) * scored
    columns = (
        *(loss.sum(-1) / tokens_of_row.clamp(min=1), tokens_of_row, right.sum(-1)),
        *(whole, torch.ones_like(tokens_of_row), spread.sum(-1), ((losses == 0) & scored).sum(-1)),
    )
    return torch.stack([c.to(torch.float64) for c in columns], -1)


def _evaluation(groups: list[list[list[float]]], task_names: Sequence[str]) -> Evaluation:
    train, heldout = (groups[0][PARTS.index(name)] for name in ("train", "heldout"))
    return Evaluation(
        metrics=_metrics(groups[0]),
        tasks={name: _metrics(group) for name, group in zip(task_names, groups[1:], strict=True)},
        logit_scale=math.sqrt(heldout[5] / heldout[1]) if heldout[1] else None,
        softmax_collapse=train[6] / train[1] if train[1] else None,
    )


def _metrics(totals: list[list[float]]) -> dict[str, float]:
    out = {}
    for name, (loss, tokens, right, whole, rows, *_) in zip(PARTS, totals, strict=True):
        if rows:
            out[f"{name}_loss"] = loss / rows
            out[f"{name}_token_accuracy"] = right / tokens
            out[f"{name}_exact_match"] = whole / rows
    return out
