from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from grokray.engine import measuring
from grokray.engine.engine import Engine
from grokray.engine.measures import effective_rank, fourier_gini, gini, residues
from grokray.engine.sums import norms
from grokray.tasks.dataset import build_dataset
from grokray.trial import MEASURES
from tests.engine.conftest import alone, curve, run, small
from tests.engine.plain_training import PlainTraining
from tests.engine.test_options import SEQUENCE

ALL = ",".join(MEASURES)


def test_norms_are_those_of_each_row_however_long():
    for size in (16, 1024, 1040, 1_100_000):
        rows = torch.randn(2, size, generator=torch.Generator().manual_seed(size))
        torch.testing.assert_close(norms(rows), rows.double().norm(dim=1), rtol=1e-12, atol=0)


def test_gini_by_hand():
    x = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1], [4, 2, 3, 1]], dtype=torch.float64)
    torch.testing.assert_close(gini(x), torch.tensor([0.0, 0.75, 0.5, 0.25], dtype=torch.float64))


def test_fourier_gini_equals_the_written_out_transform():
    p, width = 11, 6
    embedding = torch.randn(2, p, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = fourier_gini(embedding)
    for slot in range(2):
        power = []
        for k in range(1, p // 2 + 1):
            angles = [2 * math.pi * k * x / p for x in range(p)]
            cosine = sum(math.cos(a) * embedding[slot, x] for x, a in enumerate(angles))
            sine = sum(math.sin(a) * embedding[slot, x] for x, a in enumerate(angles))
            power.append(float((cosine**2 + sine**2).sum()))
        pairs = sum(abs(a - b) for a in power for b in power)
        assert found[slot].item() == pytest.approx(pairs / (2 * len(power) * sum(power)), rel=1e-10)


def test_an_embedding_of_one_frequency_has_the_largest_fourier_gini_and_noise_a_small_one():
    p = 97
    x = torch.arange(p, dtype=torch.float64)
    wave = torch.stack([torch.cos(2 * math.pi * 5 * x / p), torch.sin(2 * math.pi * 5 * x / p)], 1) + 3.0
    noise = torch.randn(p, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert fourier_gini(wave[None]).item() == pytest.approx(1 - 1 / 48, rel=1e-9)
    assert fourier_gini(noise[None]).item() < 0.1


def effective_rank_by_hand(matrix: torch.Tensor) -> float:
    values = np.linalg.svd(matrix.detach().double().numpy(), compute_uv=False).tolist()
    return math.exp(-sum(v / sum(values) * math.log(v / sum(values)) for v in values if v > 1e-12))


def test_the_effective_rank_counts_directions():
    g = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(2, 7, 7, generator=g, dtype=torch.float64))[0]
    lengths = torch.tensor([[1.0] * 7, [2.0, 2, 2, 0, 0, 0, 0]], dtype=torch.float64)
    found = effective_rank(5 * turned * lengths[:, None] @ turned.transpose(1, 2))
    torch.testing.assert_close(found, torch.tensor([7.0, 3.0], dtype=torch.float64))
    some = torch.randn(3, 9, 5, generator=g)
    assert effective_rank(some).tolist() == pytest.approx([effective_rank_by_hand(one) for one in some], rel=1e-6)
    assert effective_rank(torch.zeros(1, 4, 3)).item() == 1
    some[1, 2, 3] = math.inf
    ranks = effective_rank(some).tolist()
    assert math.isnan(ranks[1])
    assert ranks[::2] == pytest.approx([effective_rank_by_hand(one) for one in some[::2]], rel=1e-6)


def test_residues_are_the_numbers_tokens_in_a_classification_modulo_p_only():
    symbols = build_dataset(small()).table.vocabulary.symbols
    assert symbols[residues(build_dataset(small()))] == tuple(map(str, range(11)))
    assert residues(build_dataset(small(operand_limit=7))) == slice(0, 11)
    assert residues(build_dataset(small(operation="x-y", modulus=None, operand_limit=7))) is None
    assert residues(build_dataset(small(task_type="sequence", base=3))) is None


@pytest.mark.parametrize("changes", [{}, SEQUENCE], ids=["classification", "sequence"])
def test_measures_equal_a_plain_model_of_the_same_parameters(changes):
    config = small(**changes, dtype="float64", measure=ALL)
    metrics = alone(config)[0].metrics
    plain = PlainTraining(config)
    plain.train(10)
    with torch.no_grad():
        everything = torch.cat([p.reshape(-1) for p in plain.model.parameters()])
        table, rows = plain.dataset.table, plain.dataset.split.heldout
        logits = plain.model(table.tokens[rows].long())
        answers = [
            out[at[targets >= 0]]
            for out, at, targets in zip(logits, table.positions[rows], table.targets[rows], strict=True)
        ]
        centred = torch.cat([a - a.mean(1, keepdim=True) for a in answers])
        embedding = plain.model.token_embedding.weight[None, :11]
    wanted = {
        "weight_norm": everything.norm().item(),
        "gradient_norm": plain.gradient_norm,
        "update_norm": plain.update_norm,
        "gradient_alignment": plain.gradient_alignment,
        "logit_scale": centred.square().mean().sqrt().item(),
        "embedding_rank": effective_rank_by_hand(plain.model.token_embedding.weight),
        "softmax_collapse": 0.0,
    }
    wanted |= {} if changes else {"fourier_gini": fourier_gini(embedding).item()}
    assert {name: metrics[name] for name in MEASURES if name in metrics} == pytest.approx(wanted, rel=1e-7)


def test_measuring_changes_nothing_and_each_trial_has_what_it_asked_for():
    engine = Engine()
    wishes = {"nothing": "", "all": ALL, "one": "weight_norm", "two": "update_norm,logit_scale"}
    for name, measure in wishes.items():
        engine.join(name, small(measure=measure))
    assert len(engine._stacks) == 1
    curves = run(engine)
    for name, measure in wishes.items():
        for m, plain in zip(curves[name], curves["nothing"], strict=True):
            extra = {key: value for key, value in m.metrics.items() if key not in plain.metrics}
            assert list(extra) == [key for key in measure.split(",") if key]
            assert all(
                math.isfinite(value) and (value > 0 or key in ("gradient_alignment", "softmax_collapse"))
                for key, value in extra.items()
            )
            assert m.metrics | extra == plain.metrics | extra
    assert curve(curves["all"]) == curve(alone(small(measure=ALL)))


def test_measures_are_the_same_with_one_and_two_threads():
    config = small(measure=ALL, dim_model=64, num_steps=3, eval_interval=3)
    one = curve(alone(config))
    torch.set_num_threads(2)
    assert curve(alone(config)) == one


def test_a_measure_that_is_not_finite_is_no_divergence(monkeypatch):
    monkeypatch.setattr(
        measuring, "of_parameters", lambda shape, dataset, rows, wanted: {"weight_norm": rows[:, 0] * math.nan}
    )
    last = alone(small(measure="weight_norm"))[-1]
    assert math.isnan(last.metrics["weight_norm"])
    assert last.outcome == "budget"
    assert not last.events["diverged"]


def test_norms_of_a_step_are_left_out_where_no_step_was_done():
    engine = Engine()
    engine.join("a", small(measure=ALL))
    seated = engine._where["a"]
    assert seated.measure(seated.seats)[0].metrics.keys() & {*MEASURES} == {
        "weight_norm",
        "logit_scale",
        "embedding_rank",
        "fourier_gini",
        "softmax_collapse",
    }


class Products(TorchFunctionMode):
    """Counts products of matrices."""

    number = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.number += func in (torch.bmm, torch.baddbmm, torch.matmul)
        return func(*args, **(kwargs or {}))


def test_what_an_evaluation_adds_up_takes_no_product_more():
    engine = Engine()
    for name, measure in {"plain": "", "measured": "logit_scale,softmax_collapse"}.items():
        engine.join(name, small(measure=measure))
    seated = engine._where["plain"]
    counts = []
    for seat in seated.seats:
        with Products() as counted:
            seated.measure([seat])
        counts.append(counted.number)
    assert counts[0] == counts[1] > 0
