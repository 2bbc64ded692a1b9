"""Rounding of matrix products, and what it may do to training: softmax collapse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from grokray.engine.chunks import chunks_of, side_by_side
from grokray.engine.engine import Engine
from grokray.engine.kernels import Kernels
from grokray.engine.loss import Loss, answer_losses
from grokray.engine.model import forward
from grokray.engine.precision import in_precision, matrix_products, product
from grokray.engine.randomness import initial_parameters
from grokray.engine.shape import shape_of
from grokray.engine.stack import Stack
from grokray.engine.tables import RowTable
from grokray.engine.totals import totals_of
from grokray.errors import ConfigError
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig
from tests.engine.conftest import alone, curve, run, small
from tests.engine.test_engine import FIVE, SEQUENCE

CUDA = torch.device("cuda")


# -- as a parameter


def test_the_default_leaves_ids_as_they_were_and_others_change_them():
    assert TrialConfig(precision="float32").id == "ede0de8074924080"
    assert TrialConfig(weight_decay=0.5, dropout=0.1).id == "a1397a577e3eb816"
    ids = {TrialConfig(precision=p).id for p in ("float32", "tf32", "bf16")}
    assert len(ids) == 3


def test_double_precision_has_no_other():
    rule = "precision is bf16, but must be float32 where dtype is float64"
    with pytest.raises(ValueError, match=rule):
        TrialConfig(dtype="float64", precision="bf16")
    with pytest.raises(ConfigError) as caught:
        resolve({"dtype": "float64", "precision": "bf16", "num_heads": 3})
    found = {(problem.field, problem.message) for problem in caught.value.problems}
    assert found == {("precision", rule), ("num_heads", "num_heads is 3, but must divide dim_model, which is 128")}


def test_trials_of_other_precision_sit_in_another_stack():
    engine = Engine()
    for precision in ("float32", "tf32", "bf16"):
        engine.join(precision, small(precision=precision))
    assert len(engine._stacks) == 3


# -- what it does


def test_a_product_in_bf16_rounds_factors_and_result():
    a, b = torch.tensor([[1.0, 2**-9 + 2**-4]]), torch.tensor([[3.0], [1.0]])
    assert product("float32", torch.matmul, a, b).item() == 3 + 2**-4 + 2**-9
    found = product("bf16", torch.matmul, a, b)
    assert found.dtype == torch.float32
    assert found.item() == 3.0625


def test_on_a_cpu_tf32_computes_as_float32():
    steps = {"num_steps": 20, "dropout": 0.1}
    assert curve(alone(small(precision="tf32", **steps))) == curve(alone(small(**steps)))


def test_on_a_gpu_the_process_is_left_as_it_was():
    def now() -> str:
        return torch.get_float32_matmul_precision()

    assert now() == "highest"
    for precision, wanted in (("tf32", "high"), ("float32", "highest"), ("bf16", "highest")):
        assert in_precision(precision, CUDA, now)() == wanted
        assert now() == "highest"
    with pytest.raises(ZeroDivisionError), matrix_products("tf32", CUDA):
        _ = 1 / 0
    assert now() == "highest"
    with matrix_products("tf32", torch.device("cpu")):
        assert now() == "highest"


def test_on_a_gpu_gradients_and_evaluations_are_in_the_trials_precision_and_the_optimiser_is_not(monkeypatch):
    """With CPU tensors: only the process's setting is looked at."""
    seen = {}

    def noted(name, function):
        def wrapped(*args):
            seen.setdefault(name, torch.get_float32_matmul_precision())
            return function(*args)

        return wrapped

    monkeypatch.setattr("grokray.engine.shape.Layout.used", lambda self, device: torch.ones(1))
    dataset = build_dataset(small(precision="tf32", optimizer="muon"))
    stack = Stack(shape_of(dataset), device=torch.device("cpu"))
    kernels = Kernels(stack.shape, CUDA, compile=noted)
    stack.slots.reserve(1, 1)
    s = stack.slots.span(0, 1)
    rows = torch.zeros(1, 32, dtype=torch.int64)
    table = dataset.table
    kernels._gradient(s["parameters"], table.tokens[rows], table.targets[rows], torch.ones(1, 32))
    row_table = RowTable(table.tokens, None, table.targets, table.task)
    chunks = side_by_side([chunks_of(stack.shape, dataset)], torch.tensor([0]))
    totals_of(stack.shape, kernels.row_sums, row_table, s["parameters"], chunks, 1)
    kernels.step(s, s["parameters"] * 0)
    assert {name: seen[name] for name in ("gradient", "row_sums", "update")} == {
        "gradient": "high",
        "row_sums": "high",
        "update": "highest",
    }


@pytest.mark.parametrize("changes", [{}, SEQUENCE], ids=["classification", "sequence"])
def test_bf16_curves_are_near_and_bit_identical_alone_and_in_company(changes):
    trials = [small(**(five | changes | {"precision": "bf16", "num_steps": 20})) for five in FIVE]
    engine = Engine()
    for i, config in enumerate(trials):
        engine.join(str(i), config)
    together = run(engine)
    for i, config in enumerate(trials):
        assert curve(together[str(i)]) == curve(alone(config))
        exact = alone(TrialConfig(**config.model_dump() | {"precision": "float32"}))[-1].metrics
        found = together[str(i)][-1].metrics
        assert found["heldout_loss"] != exact["heldout_loss"]
        assert found["heldout_loss"] == pytest.approx(exact["heldout_loss"], rel=0.1)


def test_bf16_keeps_parameters_and_everything_between_the_products_in_float32():
    shape = shape_of(build_dataset(small(precision="bf16")))
    parameters = {n: p[None] for n, p in initial_parameters(shape, 0).items()}
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    tokens = torch.randint(11, (1, 5, shape.length), generator=torch.Generator().manual_seed(0))
    logits = forward(shape, parameters, tokens, None)
    assert logits.dtype == torch.float32
    exact = forward(replace(shape, precision="float32"), parameters, tokens, None)
    assert 1e-4 < (logits - exact).abs().max() < 0.1
    # Nearly all roundings are the same, however attention is computed.
    assert (logits - forward(shape, parameters, tokens, None, form="unrolled")).abs().max() < 2e-3
    assert not torch.equal(exact, forward(shape, parameters, tokens, None, form="unrolled"))


# -- softmax collapse


def collapsed(gap: float, dtype: torch.dtype, loss: Loss = "cross_entropy") -> bool:
    """Of a token whose logit is larger by `gap` than each of 10 others."""
    logits = torch.zeros(11, dtype=dtype)
    logits[3] = gap
    return bool(answer_losses(logits, torch.tensor(3), loss) == 0)


def test_a_token_collapses_where_the_others_are_absorbed():
    """1 + e^−gap is 1 in float32 (24 bits) from 16.7 on, in float64 (53 bits) from 36.8; ten of them together later."""
    assert [collapsed(gap, torch.float32) for gap in (5.0, 16.0, 20.0)] == [False, False, True]
    assert [collapsed(gap, torch.float64) for gap in (20.0, 36.0, 40.0)] == [False, False, True]
    assert not collapsed(10_000.0, torch.float32, loss="stablemax")
    assert not collapsed(-100.0, torch.float32)


def test_a_collapsed_token_has_no_gradient_and_others_have():
    for gap, collapses in ((20.0, True), (15.0, False)):
        logits = torch.zeros(11)
        logits[3] = gap
        logits.requires_grad_()
        loss = torch.nn.functional.cross_entropy(logits[None], torch.tensor([3]))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (loss.item() == 0.0) == collapses
        assert (gradient[3].item() == 0.0) == collapses


@pytest.mark.parametrize("changes", [{}, SEQUENCE], ids=["classification", "sequence"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_share_of_collapsed_tokens_equals_a_plain_count(dtype, changes):
    """Logits scaled up by a factor of the head's weights, until right answers collapse."""
    engine = Engine()
    steps = {"num_steps": 60, "eval_interval": 60}
    engine.join("a", small(dtype=dtype, eval_train_rows=20, measure="softmax_collapse", **steps, **changes))
    engine.next(lambda: True)
    stack = engine._where["a"]
    shares = {}
    for scale in (1.0, 30.0, 300.0):
        views = stack.shape.layout.views(stack.slots.parameters[:1])
        heads = {name: views[name].clone() for name in ("head.weight", "head.bias")}
        for name in heads:
            views[name].mul_(scale)
        seat = stack.seats[0]
        at = seat.chunks.rows[seat.chunks.part == 0].long()
        table, count, all_ = stack.tables.all, 0, 0
        logits = forward(stack.shape, views, table.tokens[at][None], _given(table.positions, at))
        for row, targets in zip(logits[0], table.targets[at], strict=True):
            for answer, target in zip(row, targets, strict=True):
                if target >= 0:
                    all_ += 1
                    count += torch.nn.functional.cross_entropy(answer, target).item() == 0.0
        assert stack.measure([seat])[0].metrics["softmax_collapse"] == count / all_
        shares[scale] = count / all_
        for name, head in heads.items():
            views[name].copy_(head)
    assert shares[1.0] == 0
    assert shares[300.0] > 0.1


def _given(positions, at):
    return None if positions is None else positions[at][None]


def test_it_is_measured_where_it_is_asked_for():
    last = alone(small(measure="softmax_collapse"))[-1].metrics
    assert 0 <= last["softmax_collapse"] <= 1
    assert math.isfinite(last["softmax_collapse"])
