"""Rows of a dataset as files for other programs: Arrow tables of numbers and token words, and lists of token ids.

`5 - 12` in base 10 becomes x 5, y 12, z −7, input ["5", "-", "1", "2", "="] and answer ["-", "7", "<EOS>"].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grokray.tasks.dataset import Dataset
from grokray.tasks.tables import Table

if TYPE_CHECKING:
    import pyarrow as pa

SIGN = "-"


def words(table: Table) -> list[str]:
    """Each token id's word; the sign is a minus, whatever it is called inside."""
    sign = table.vocabulary.sign
    return [SIGN if token == sign else symbol for token, symbol in enumerate(table.vocabulary.symbols)]


def arrow_table(table: Table, rows: Tensor) -> pa.Table:
    """Columns x, y, z (int64, null where rows have none), input and answer (lists of strings); of several tasks also
    `task`, the operation."""
    import pyarrow as pa

    names = pa.array(words(table), pa.string())
    columns: dict[str, Any] = {
        name: pa.nulls(len(rows), pa.int64()) if column is None else pa.array(column[rows].numpy())
        for name, column in (("x", table.x), ("y", table.y), ("z", table.z))
    }
    for name, (ids, lengths) in (("input", _inputs(table, rows)), ("answer", _answers(table, rows))):
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets.numpy()), names.take(pa.array(ids.numpy())))
    if len(table.task_names) > 1:
        columns["task"] = pa.array(table.task_names, pa.string()).take(pa.array(table.task[rows].long().numpy()))
    return pa.table(columns)


def token_ids(table: Table, rows: Tensor) -> dict[str, list[list[int]]]:
    """`inputs` up to the equals sign, and `labels`, the whole answers; a row has the tokens it has, without padding."""
    both = {"inputs": _inputs(table, rows), "labels": _answers(table, rows)}
    return {name: [part.tolist() for part in ids.split(lengths.tolist())] for name, (ids, lengths) in both.items()}


def vocabulary(dataset: Dataset) -> dict[str, Any]:
    """`tokens[id]` is the word; the ids of the marks, and of each task's operator and equals sign, are named."""
    vocabulary, names = dataset.table.vocabulary, dataset.table.task_names
    marks = [vocabulary.for_task(task) for task in range(len(names))]
    return {
        "tokens": words(dataset.table),
        "sign": vocabulary.sign,
        "end": vocabulary.eos,
        "padding": vocabulary.pad,
        "operators": {name: mark.op for name, mark in zip(names, marks, strict=True)},
        "equals": {name: mark.equals for name, mark in zip(names, marks, strict=True)},
    }


def in_words(table: Table, row: int) -> str:
    """`5 - 12 = -7`, or the tokens where rows are no numbers."""
    if table.x is None or table.y is None or table.z is None:
        return " ".join(in_tokens(table, row))
    operator = table.vocabulary.symbols[table.vocabulary.for_task(int(table.task[row])).op]
    return f"{int(table.x[row])} {operator} {int(table.y[row])} = {int(table.z[row])}"


def in_tokens(table: Table, row: int) -> list[str]:
    """Prompt and answer as token words."""
    names, one = words(table), torch.tensor([row])
    return [names[token] for ids, _ in (_inputs(table, one), _answers(table, one)) for token in ids.tolist()]


def _inputs(table: Table, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The prompts' token ids one after the other (tokens,), and the length of each (rows,)."""
    lengths = table.positions[rows, 0] + 1
    tokens = table.tokens[rows].long()
    return tokens[torch.arange(tokens.shape[1]) < lengths[:, None]], lengths


def _answers(table: Table, rows: Tensor) -> tuple[Tensor, Tensor]:
    targets = table.targets[rows]
    return targets[targets >= 0], (targets >= 0).sum(1)
