"""Tables of lists: `sort 3 1 2 =` asks for `1 2 3 <EOS>`, in fixed length for `1 2 3`; and `parity 0 1 1 0 1 =` for `0`
where the first three bits matter.

The rows are all lists of `list_length` digits in their lexicographic order. Where there are more than `list_rows` of
them, or than LIST_CAP, it is that many, drawn evenly and once each, always the same ones for a base, a length and a
number: no seed of a trial enters. Which of the bits matter makes no difference: their places are learned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grokray.tasks.codes import digit_vocabulary, digits, value_vocabulary
from grokray.tasks.list_door import LIST_CAP, PARITY, list_count
from grokray.tasks.tables import Table, one_task
from grokray.trial import TrialConfig

# Of the sample, where not all lists are taken; part of the table's key.
SAMPLE_SEED = 0

LIST_OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sort": lambda lists: lists.sort(dim=1).values,
    "reverse": lambda lists: lists.flip(1),
    "copy": lambda lists: lists,
}


def key(config: TrialConfig) -> tuple[object, ...]:
    """What shapes the table beside the operation, and which lists are drawn where not all are taken."""
    sample = (config.list_rows, LIST_CAP, SAMPLE_SEED)
    return config.base, config.list_length, config.parity_bits, config.fixed_sequence_length, *sample


def build(config: TrialConfig) -> Table:
    """One row a list, in lexicographic order: all of them, or the number that is taken. Every row is in domain."""
    base, length = config.base or 2, config.list_length or 1
    return table_of(config, _lists(base, length, list_count(base, length, config.list_rows)))


def table_of(config: TrialConfig, lists: Tensor) -> Table:
    """The table of these lists (lists, list_length) int64."""
    if config.operation == PARITY:
        vocabulary = value_vocabulary(0, 1, [PARITY])
        answers = lists[:, : config.parity_bits].sum(1, keepdim=True) % 2
    else:
        vocabulary = digit_vocabulary(config.base or 2, [config.operation])
        answers = LIST_OPERATIONS[config.operation](lists)
    if not config.fixed_sequence_length and vocabulary.eos is not None:
        answers = torch.cat([answers, torch.full_like(answers[:, :1], vocabulary.eos)], dim=1)
    op, equals = (torch.full_like(lists[:, :1], mark) for mark in (vocabulary.op, vocabulary.equals))
    tokens = torch.cat([op, lists, equals, answers[:, :-1]], dim=1).int()
    width = answers.shape[1]
    return Table(
        tokens=tokens,
        positions=torch.arange(tokens.shape[1] - width, tokens.shape[1]).expand(answers.shape),
        targets=answers.contiguous(),
        in_domain=len(lists),
        uniform=True,
        vocabulary=vocabulary,
        task_names=(config.operation,),
        task=one_task(len(lists)),
    )


def _lists(base: int, length: int, rows: int) -> Tensor:
    """(rows, length) int64, in lexicographic order."""
    if rows == base**length:
        return digits(torch.arange(rows), base, length, "most_first")
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    found = torch.empty(0, length, dtype=torch.int64)
    while len(found) < rows:
        more = torch.randint(base, (rows, length), generator=generator)
        found = torch.cat([found, more]).unique(dim=0)
    chosen = torch.randperm(len(found), generator=generator)[:rows]
    return found[chosen.sort().values]
