"""Label noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from grokray.errors import ConfigError
from grokray.tasks import Dataset, build_dataset, decode_answer
from grokray.tasks.resolve import resolve

TASKS: list[dict[str, Any]] = [
    {},
    {"operation": "x-y", "task_type": "sequence"},
    {"operation": "x-y", "task_type": "sequence", "fixed_sequence_length": True, "base": 3},
    {"operation": "x+y_mod,x-y", "task_type": "sequence", "base": 2},
    {"operation": "sort", "base": 4},
]


def dataset_of(**parameters: Any) -> Dataset:
    return build_dataset(resolve({"modulus": 23, **parameters}))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_noisy_rows_alone_are_changed_and_hold_another_row_s_whole_answer(task: dict[str, Any], share: float) -> None:
    clean, made = dataset_of(**task), dataset_of(**task, label_noise=share)
    noisy, table = made.noisy, made.table
    assert noisy is not None
    assert set(noisy.tolist()) <= set(made.split.train.tolist())
    assert torch.equal(made.split.train, clean.split.train)
    assert table.tokens.shape == clean.table.tokens.shape
    per_task = [int((clean.table.task[clean.split.train] == i).sum()) for i in range(len(table.task_names))]
    assert len(noisy) == sum(int(rows * share) for rows in per_task)

    rest = torch.ones(len(table.tokens), dtype=torch.bool)
    rest[noisy] = False
    for column in ("tokens", "targets", "positions"):
        assert torch.equal(getattr(table, column)[rest], getattr(clean.table, column)[rest])
    trained_answers = {tuple(row) for row in clean.table.targets[clean.split.train].tolist()}
    for row in noisy.tolist():
        tokens, positions = table.tokens[row].tolist(), table.positions[row].tolist()
        start = int(clean.table.positions[row, 0])
        answer = [target for target in table.targets[row].tolist() if target >= 0]
        assert table.targets[row].tolist() != clean.table.targets[row].tolist()
        assert tuple(table.targets[row].tolist()) in trained_answers
        assert tokens[: start + 1] == clean.table.tokens[row, : start + 1].tolist(), "the question stays"
        assert positions[: len(answer)] == list(range(start, start + len(answer)))
        assert max(positions) < len(tokens)
        assert tokens[start + 1 : start + len(answer)] == answer[:-1], "teacher forcing reads the new answer"
        assert set(tokens[start + len(answer) :]) <= {table.vocabulary.pad}
        if table.z is not None and table.code is not None:
            assert decode_answer(answer, table.code) == int(table.z[row])


def test_noise_comes_from_the_split_seed_and_a_larger_share_only_adds_rows() -> None:
    small, large = dataset_of(label_noise=0.2), dataset_of(label_noise=0.4)
    assert small.noisy is not None
    assert large.noisy is not None
    assert set(small.noisy.tolist()) < set(large.noisy.tolist())
    assert torch.equal(small.table.targets[small.noisy], large.table.targets[small.noisy])
    other = dataset_of(label_noise=0.2, split_seed=1)
    assert other.noisy is not None
    assert not torch.equal(other.noisy, small.noisy)
    same = dataset_of(label_noise=0.2, init_seed=5, order_seed=6, curriculum="ordered")
    assert same.table is small.table, "trials of one split and noise share a table"
    assert same.key == small.key
    assert torch.equal(same.noisy, small.noisy)  # type: ignore[arg-type]
    assert len({small.key, large.key, other.key, dataset_of().key}) == 4


def test_which_training_rows_are_noisy_is_even() -> None:
    count = torch.zeros(23 * 22)
    for seed in range(200):
        made = dataset_of(label_noise=0.5, split_seed=seed)
        count[made.noisy] += 1
    assert int(count.sum()) == 200 * 126
    assert (count / 200 - 0.25).abs().max() < 0.17, "five and a half standard errors"


def test_without_noise_the_table_is_the_shared_one() -> None:
    assert dataset_of(label_noise=0).noisy is None
    assert dataset_of(label_noise=0.0).table is dataset_of(split_seed=3).table
    clean = dataset_of().table
    before = clean.targets.clone()
    dataset_of(label_noise=0.9)
    assert torch.equal(clean.targets, before), "nobody writes into a shared table"


def test_where_all_answers_are_one_nothing_is_noisy() -> None:
    made = dataset_of(operation="expr:5", operand_limit=6, label_noise=0.5)
    assert made.noisy is not None
    assert len(made.noisy) == 0
    assert made.table.z is not None
    assert set(made.table.z.tolist()) == {5}


def test_a_share_is_below_one() -> None:
    with pytest.raises(ConfigError, match="label_noise is 1.0, but must be less than 1"):
        resolve({"label_noise": 1})
