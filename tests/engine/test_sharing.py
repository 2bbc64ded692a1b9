"""Evaluations that compute shared prefixes once, against the plain pass over whole rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from grokray.engine.chunks import Chunks, chunks_of, evaluated_rows, side_by_side
from grokray.engine.evaluation import Evaluation, evaluations_of, row_sums
from grokray.engine.randomness import initial_parameters
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.sharing import Sharing, chunk_rows, sharing_of
from grokray.engine.tables import Tables
from grokray.engine.totals import Totals, totals_of
from grokray.tasks.dataset import Dataset, build_dataset
from grokray.tasks.resolve import resolve
from tests.engine.conftest import small

CPU = torch.device("cpu")
SEQUENCE = {"operation": "x+y", "modulus": None, "operand_limit": 32, "task_type": "sequence", "base": 2}
GRIDS = Path(__file__).parents[2] / "search_spaces" / "arc_tasks"
TASKS = {
    "classification": {},
    "division": {"operation": "x/y_mod", "operand_limit_out": 11, "operand_limit": 9},
    "fixed length": {**SEQUENCE, "fixed_sequence_length": True},
    "variable length": {**SEQUENCE, "fixed_sequence_length": False},
    "lists": {"operation": "sort", "modulus": None, "list_length": 3, "base": 5, "task_type": "sequence"},
    "bits": {"operation": "parity", "modulus": None, "list_length": 7, "parity_bits": 2},
    "multitask": {"operation": "x+y_mod,x*y_mod"},
    "grids": {"operation": "arc", "modulus": None, "data_dir": str(GRIDS)},
    "label noise": {"label_noise": 0.2},
    "a sample": {"eval_train_rows": 10},
}


def shared(dataset: Dataset) -> ShapeKey:
    """A shape that shares something, where rows share anything at all before their first answer."""
    shape = shape_of(dataset)
    if shape.sharing.length:
        return shape
    length = int(dataset.table.positions.min())
    assert length > 0
    return replace(shape, sharing=Sharing(length, min(5, dataset.table.sorted_rows.distinct(length))))


def evaluate(
    shape: ShapeKey, rows: torch.Tensor, trials: Sequence[Dataset], sums_of, *, whole: bool = False
) -> list[Evaluation]:
    """Of trials of one table, each with its row of parameters; whole: as what is recorded takes chunks."""
    tables = Tables(shape, CPU)
    other = replace(trials[0], key=("other",))
    tables.add(other)  # so that row numbers are not those of the table alone
    firsts = torch.tensor([tables.add(trial) for trial in trials])
    chunks = side_by_side([chunks_of(shape, trial) for trial in trials], firsts)
    groups = 1 + len(trials[0].tasks_apart)
    if whole:
        totals = Totals(shape, sums_of, tables.all, rows, chunks, groups)
        for _ in range(2):  # the second time too
            found = totals.of(rows, chunks, totals.add)
    else:
        found = totals_of(shape, sums_of, tables.all, rows, chunks, groups)
    return evaluations_of(found, trials[0].tasks_apart)


def measured(shape: ShapeKey, dataset: Dataset, *, whole: bool = False) -> Evaluation:
    """Of large weights, so that answers differ."""
    initial = initial_parameters(shape, 3)
    row = shape.layout.rows({name: 3 * tensor[None] for name, tensor in initial.items()})
    return evaluate(shape, row, [dataset], partial(row_sums, shape), whole=whole)[0]


def assert_near(found: Evaluation, wanted: Evaluation, tolerance: float) -> None:
    assert found.metrics == pytest.approx(wanted.metrics, rel=tolerance)
    assert found.logit_scale == pytest.approx(wanted.logit_scale, rel=tolerance)
    assert found.tasks.keys() == wanted.tasks.keys()
    for name, metrics in wanted.tasks.items():
        assert found.tasks[name] == pytest.approx(metrics, rel=tolerance)


@pytest.mark.parametrize("norm", ["pre", "post", "input", "none"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_equals_the_plain_pass(task, norm, dtype, tolerance):
    dataset = build_dataset(small(**task, norm=norm, dtype=dtype))
    shape = shared(dataset)
    wanted = measured(replace(shape, sharing=Sharing()), dataset)
    assert wanted.metrics["heldout_loss"] > 0.1
    assert_near(measured(shape, dataset), wanted, tolerance)
    assert_near(measured(shape, dataset, whole=True), wanted, tolerance)


@pytest.mark.parametrize(
    ("task", "form"),
    [("fixed length", "products"), ("fixed length", "sums"), ("fixed length", "unrolled"), ("variable length", "sums")],
)
@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_equals_the_plain_pass_with_each_attention_and_any_depth(task, form, by_token, layers):
    dataset = build_dataset(small(dtype="float64", num_layers=layers, **TASKS[task]))
    shape = replace(shared(dataset), by_token=by_token)
    plain = replace(shape, sharing=Sharing(), by_token=False)
    row = shape.layout.rows({name: tensor[None] for name, tensor in initial_parameters(shape, 0).items()})
    found, wanted = (evaluate(key, row, [dataset], partial(row_sums, key, form=form))[0] for key in (shape, plain))
    assert_near(found, wanted, 1e-10)


def test_where_few_rows_share_few_tokens_the_plain_pass_is_used():
    """The shortest prompt, `0 + 0 =`, leaves 3 tokens to share of up to 18."""
    table = build_dataset(small(**TASKS["variable length"])).table
    assert table.positions.min() == 3
    assert sharing_of(table, num_layers=2, dim_model=16) == Sharing()


def test_how_much_is_shared_at_the_default_model():
    assert shape_of(build_dataset(resolve({}))).sharing == Sharing(2, 16)


def test_what_is_shared_in_words():
    assert str(Sharing(2, 24)) == "24 × 2 tokens"
    assert str(Sharing()) == "nothing"


def test_the_choice_is_that_of_the_table_whatever_the_trial():
    trials = [small(), small(seed=4, training_fraction=0.9), small(eval_train_rows=5), small(label_noise=0.3)]
    assert len({shape_of(build_dataset(trial)) for trial in trials}) == 1


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_chunks_hold_every_row_once_with_its_part_and_its_prefix(task):
    dataset = build_dataset(small(**task))
    shape = shared(dataset)
    chunks = chunks_of(shape, dataset)
    rows, part = evaluated_rows(dataset)
    there = chunks.part >= 0
    assert there.sum(1).tolist() == [*chunks.sizes]
    assert all(mask[:size].all() for mask, size in zip(there, chunks.sizes, strict=True))
    found = dict(zip(chunks.rows[there].tolist(), chunks.part[there].tolist(), strict=True))
    assert sum(chunks.sizes) == len(rows)
    assert found == dict(zip(rows.tolist(), part.tolist(), strict=True))
    assert_prefixes(chunks, dataset, shape.sharing)


def assert_prefixes(chunks: Chunks, dataset: Dataset, sharing: Sharing) -> None:
    assert chunks.prefixes.shape == (len(chunks.sizes), sharing.prefixes)
    begin = dataset.table.tokens[:, : sharing.length]
    for rows, prefixes, at, size in zip(chunks.rows, chunks.prefixes, chunks.at, chunks.sizes, strict=True):
        assert torch.equal(begin[prefixes[at[:size]]], begin[rows[:size]])


def test_a_chunk_ends_where_it_would_have_too_many_prefixes():
    dataset = build_dataset(small())
    shape = replace(shape_of(dataset), sharing=Sharing(2, 3))
    chunks = chunks_of(shape, dataset)
    assert chunks.sizes == (33, 33, 33, 22)  # of 11 prefixes with 11 rows each
    assert_near(measured(shape, dataset), measured(replace(shape, sharing=Sharing()), dataset), 1e-5)


@pytest.mark.parametrize("task", [TASKS["classification"], TASKS["multitask"], TASKS["fixed length"]], ids=str)
def test_several_trials_at_once_as_on_a_gpu(task):
    """Trials of one table, each with rows, parts and weights of its own."""
    trials = [build_dataset(small(**task, dtype="float64", seed=seed, eval_train_rows=12)) for seed in range(3)]
    shape = shared(trials[0])
    initial = [initial_parameters(shape, seed) for seed in range(3)]
    row = shape.layout.rows({name: torch.stack([of_one[name] for of_one in initial]) for name in initial[0]})
    chunks = [chunks_of(shape, trial) for trial in trials]
    assert len({of_one.sizes for of_one in chunks}) == 1
    sums_of = partial(row_sums, shape)
    for whole in (False, True):
        for i, found in enumerate(evaluate(shape, row, trials, sums_of, whole=whole)):
            assert_near(found, evaluate(shape, row[i : i + 1], trials[i : i + 1], sums_of)[0], 1e-10)


def test_tasks_of_one_modulus_share_a_stack():
    """Division has a few rows less than the others."""
    operations = ("x+y_mod", "x/y_mod", "x*y_mod", "x^2+y^2_mod")
    assert len({shape_of(build_dataset(resolve({"operation": operation}))) for operation in operations}) == 1


def test_chunks_are_about_equally_full():
    assert (
        chunk_rows(9312, 2, 128) == chunk_rows(9409, 2, 128) == 960
    )  # x/y and x+y mod 97: ten each, not nine and a bit
    assert chunk_rows(930, 2, 48) == chunk_rows(961, 2, 48) == 992  # of mod 31 all at once, and hardly more than all
    for rows in range(1, 20_000, 37):
        size = chunk_rows(rows, 4, 64)
        computed = -(-rows // size) * size
        side = math.isqrt(rows - 1) + 1
        assert rows <= computed < side * side + 33 * -(-rows // size)
        assert size <= 1024
