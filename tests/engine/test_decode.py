"""Greedy decoding against teacher forcing and against its slow twin, which reads everything anew for each token."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import grokray
from grokray.engine.decode import decode, decode_rows, end_token
from grokray.engine.engine import Engine
from grokray.engine.model import forward
from grokray.engine.randomness import initial_parameters
from grokray.engine.shape import ShapeKey, shape_of
from grokray.tasks.dataset import Dataset, build_dataset
from grokray.tasks.tables import Table
from grokray.trial import TrialConfig
from tests.engine.conftest import small

REPRESENTATIONS = {
    "classification": {"operation": "x/y_mod", "modulus": 11, "operand_limit": 8, "operand_limit_out": 11},
    "variable": {"operation": "x+y", "task_type": "sequence", "base": 3, "operand_limit": 9, "operand_limit_out": 12},
    "least first": {
        **{"operation": "x+y", "task_type": "sequence", "base": 10, "digit_order": "least_first"},
        **{"operand_limit": 12, "operand_limit_out": 14},
    },
    "negative": {"operation": "x-y", "task_type": "sequence", "base": 2, "operand_limit": 8, "operand_limit_out": 10},
    "fixed": {
        **{"operation": "x+y", "task_type": "sequence", "base": 2, "fixed_sequence_length": True},
        **{"operand_limit": 8, "operand_limit_out": 12},
    },
    "fixed negative": {
        **{"operation": "x-y", "task_type": "sequence", "base": 3, "fixed_sequence_length": True},
        **{"operand_limit": 9, "operand_limit_out": 12},
    },
}
OTHERS = {
    "several tasks": {
        **{"operation": "x+y,x-y", "task_type": "sequence", "base": 3, "multitask": True},
        **{"operand_limit": 7, "operand_limit_out": 9},
    },
    "list": {"operation": "sort", "task_type": "sequence", "base": 4, "list_length": 3},
    "fixed list": {
        **{"operation": "reverse", "task_type": "sequence", "base": 3, "list_length": 4},
        **{"fixed_sequence_length": True},
    },
    "bits": {"operation": "parity", "list_length": 7, "parity_bits": 2},
    "expression": {"operation": "expr:x*y - 3", "task_type": "sequence", "base": 5, "operand_limit": 8},
    "group": {"operation": "s5"},
    "grids": {"operation": "arc", "data_dir": "search_spaces/arc_tasks", "training_fraction": 0.7},
}
STEPS = 60  # after which each model has some answers right, and not all
SMALL_MODEL = {"learning_rate": 1e-2, "dtype": "float64", "threshold": 1.0, "sustain": 100}


@cache
def model(representation: str, norm: str, steps: int) -> tuple[TrialConfig, dict[str, Tensor]]:
    config = small(**{**SMALL_MODEL, **REPRESENTATIONS[representation], "norm": norm})
    return config, after(config, steps)


def after(config: TrialConfig, steps: int) -> dict[str, Tensor]:
    """A trial's parameters after so many steps."""
    engine = Engine(compile="off")
    engine.join("a", config.model_copy(update={"num_steps": 10**6, "eval_interval": max(steps, 1)}))
    if steps:
        engine.next()
    return engine.save("a").tensors["parameters"]


def teacher_forced(shape: ShapeKey, parameters: dict[str, Tensor], table: Table) -> Tensor:
    """Which rows' answers are right as a whole (rows,), as evaluation has it."""
    stacked = {name: p[None] for name, p in parameters.items()}
    positions = None if table.uniform else table.positions[None]
    guesses = forward(shape, stacked, table.tokens[None], positions)[0].argmax(-1)
    return ((guesses == table.targets) | (table.targets < 0)).all(1)


def without_cache(shape: ShapeKey, parameters: dict[str, Tensor], dataset: Dataset, row: int) -> list[int]:
    """One row's answer, from a full pass over all that stands there for each of its tokens."""
    table = dataset.table
    stacked = {name: p[None] for name, p in parameters.items()}
    start = int(table.positions[row, 0])
    tokens, answer = table.tokens[row, : start + 1].tolist(), []
    most = shape.answers if end_token(table) is not None else int((table.targets[row] >= 0).sum())
    while len(answer) < most and len(tokens) <= shape.length:
        if answer and answer[-1] == end_token(table):
            break
        at = torch.full((1, 1, shape.answers), len(tokens) - 1)
        logits = forward(shape, stacked, torch.tensor([[tokens]]), at)[0, 0, 0]
        answer.append(int(logits.argmax()))
        tokens.append(answer[-1])
    return answer


@pytest.mark.parametrize("norm", ["pre", "post", "input", "none"])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("steps", [0, STEPS])
def test_an_answer_is_right_exactly_when_teacher_forcing_says_so(representation, norm, steps):
    config, parameters = model(representation, norm, steps)
    dataset = build_dataset(config)
    table, shape = dataset.table, shape_of(dataset)
    answers = decode_rows(shape, parameters, table, torch.arange(len(table.tokens)))
    right = (answers == table.targets).all(1)
    assert torch.equal(right, teacher_forced(shape, parameters, table))
    assert len(dataset.split.out_of_domain)
    if steps:
        assert right.any()
        assert not right.all()


@pytest.mark.parametrize("task", OTHERS)
def test_so_it_is_with_every_other_kind_of_task(task, monkeypatch):
    monkeypatch.chdir(Path(grokray.__file__).parents[1])
    config = small(**{**SMALL_MODEL, **OTHERS[task]})
    dataset = build_dataset(config)
    table, shape = dataset.table, shape_of(dataset)
    parameters = after(config, 200 if task == "grids" else STEPS)
    answers = decode_rows(shape, parameters, table, torch.arange(len(table.tokens)))
    right = (answers == table.targets).all(1)
    assert torch.equal(right, teacher_forced(shape, parameters, table))
    assert right.any()
    rows = torch.arange(0, len(table.tokens), len(table.tokens) // 9)
    expected = [without_cache(shape, parameters, dataset, row) for row in rows.tolist()]
    assert [[i for i in answer if i >= 0] for answer in answers[rows].tolist()] == expected


@pytest.mark.parametrize("norm", ["pre", "post", "input", "none"])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_the_cache_equals_a_full_pass_for_each_token(representation, norm):
    config, parameters = model(representation, norm, STEPS)
    dataset = build_dataset(config)
    shape = shape_of(dataset)
    rows = torch.arange(0, len(dataset.table.tokens), 5)
    answers = decode_rows(shape, parameters, dataset.table, rows)
    expected = [without_cache(shape, parameters, dataset, row) for row in rows.tolist()]
    assert [[i for i in answer if i >= 0] for answer in answers.tolist()] == expected


def test_what_follows_the_prompt_is_not_read_and_rows_do_not_see_each_other():
    config, parameters = model("variable", "pre", STEPS)
    dataset = build_dataset(config)
    table, shape = dataset.table, shape_of(dataset)
    starts = table.positions[:, 0]
    answers = decode(shape, parameters, table.tokens, starts, eos=end_token(table))
    beyond = torch.arange(shape.length) > starts[:, None]
    noise = torch.randint(shape.vocabulary_size, beyond.shape, generator=torch.Generator().manual_seed(0))
    noisy = torch.where(beyond, noise, table.tokens.long())
    assert torch.equal(decode(shape, parameters, noisy, starts, eos=end_token(table)), answers)
    for row in (0, len(answers) // 2, len(answers) - 1):
        alone = decode(shape, parameters, noisy[[row]], starts[[row]], eos=end_token(table))
        assert torch.equal(alone[0], answers[row])


def test_chunks_make_no_difference(monkeypatch):
    config, parameters = model("negative", "post", STEPS)
    dataset = build_dataset(config)
    shape, rows = shape_of(dataset), torch.arange(len(dataset.table.tokens))
    answers = decode_rows(shape, parameters, dataset.table, rows)
    monkeypatch.setattr("grokray.engine.decode.CHUNK_ELEMENTS", 7 * shape.length * shape.dim_model)
    assert torch.equal(decode_rows(shape, parameters, dataset.table, rows), answers)
    assert decode_rows(shape, parameters, dataset.table, rows[:0]).shape == (0, shape.answers)


def test_an_answer_ends_with_the_end_token_and_never_beyond_the_last_position():
    """|7 − 7| = 0 in base 2 stands near the end of the longest row, and leaves no room for 111 <EOS>."""
    config = small(operation="xy_abs_diff", task_type="sequence", base=2, operand_limit=8)
    dataset = build_dataset(config)
    table, shape = dataset.table, shape_of(dataset)
    parameters = initial_parameters(shape, 0)
    assert (table.vocabulary.eos, table.vocabulary.symbols[1]) == (5, "1")

    def answers_of(always: int) -> Tensor:
        bias = torch.zeros(shape.vocabulary_size)
        bias[always] = 1e6
        return decode_rows(shape, {**parameters, "head.bias": bias}, table, torch.arange(len(table.tokens)))

    ended = answers_of(5)
    assert (ended[:, 0] == 5).all()
    assert (ended[:, 1:] == -1).all()
    endless = answers_of(1)
    room = shape.length - table.positions[:, 0]
    assert torch.equal((endless == 1).sum(1), room.clamp(max=shape.answers))
    assert int(room.min()) < shape.answers == 4
