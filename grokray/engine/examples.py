"""Examples of what a trial answers: some rows of each part, the same ones at every evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from grokray.engine.decode import decode_rows
from grokray.engine.mistakes import mistake
from grokray.engine.shape import ShapeKey
from grokray.tasks.codes import decode_answer
from grokray.tasks.dataset import Dataset
from grokray.tasks.export import words
from grokray.tasks.tables import Table
from grokray.trial import PARTS


def example_rows(dataset: Dataset, number: int) -> dict[str, Tensor]:
    """Up to `number` row numbers of each part that has rows, in rising order: a function of the trial's split_seed."""
    chosen = {}
    for index, part in enumerate(PARTS):
        rows = getattr(dataset.split, part)
        if len(rows):
            seed = dataset.config.split_seed * len(PARTS) + index
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed % 2**63))
            chosen[part] = rows[order[:number]].sort().values
    return chosen


def examples(
    shape: ShapeKey, parameters: Mapping[str, Tensor], dataset: Dataset, rows: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """What the model answers to these rows, decoded greedily, as plain values:

    part, example ("8 + 5"), prediction ("14"; None where the tokens spell no answer), truth ("13"), match, error (a
    `mistakes.Kind`, or None), wrong_digit (its position, for `digit`), and the tokens themselves as texts:
    input_tokens, prediction_tokens, truth_tokens.
    """
    table = dataset.table
    out = []
    for part, numbers in rows.items():
        answers = decode_rows(shape, parameters, table, numbers)
        pairs = zip(numbers.tolist(), answers.tolist(), strict=True)
        out += [{"part": part, **example(table, row, answer)} for row, answer in pairs]
    return out


def example(table: Table, row: int, answer: list[int]) -> dict[str, Any]:
    """One row's record without its part; `answer` as `decode` gives it."""
    prompt = table.tokens[row, : int(table.positions[row, 0]) + 1].tolist()
    return judged(table, question(table, row), prompt, answer, table.targets[row].tolist())


def judged(table: Table, asked: str, prompt: list[int], answer: list[int], truth: list[int]) -> dict[str, Any]:
    """A record from token ids of the table's vocabulary; −1 fills answers."""
    predicted, right = written(answer), written(truth)
    wrong = mistake(predicted, right, table.code, one_token=table.targets.shape[1] == 1)
    names = words(table)
    return {
        "example": asked,
        "prediction": spoken(predicted, table),
        "truth": spoken(right, table),
        "match": wrong is None,
        "error": wrong.kind if wrong else None,
        "wrong_digit": wrong.position if wrong else None,
        "input_tokens": [names[i] for i in prompt],
        "prediction_tokens": [names[i] for i in predicted],
        "truth_tokens": [names[i] for i in right],
    }


def question(table: Table, row: int) -> str:
    """`8 + 5`; where rows are no pairs of numbers, the prompt's tokens."""
    if table.x is None or table.y is None:
        names, end = words(table), int(table.positions[row, 0])
        return " ".join(names[i] for i in table.tokens[row, :end].tolist())
    op = table.vocabulary.for_task(int(table.task[row])).op
    return f"{int(table.x[row])} {table.vocabulary.symbols[op]} {int(table.y[row])}"


def spoken(ids: list[int], table: Table) -> str | None:
    """An answer in words: its number, or its tokens without `<EOS>` where answers are no numbers."""
    if table.code is not None:
        number = decode_answer(ids, table.code)
        return None if number is None else str(number)
    names = words(table)
    return " ".join(names[i] for i in ids if i != table.vocabulary.eos)


def written(ids: list[int]) -> list[int]:
    """Token ids without the −1 that fills a row."""
    return [i for i in ids if i >= 0]
