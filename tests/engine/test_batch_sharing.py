"""Batches that compute shared prefixes once, against the same of whole rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from grokray.engine.engine import Engine
from grokray.engine.gradient import eager_gradient, functional_gradient
from grokray.engine.model import Batch
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.sharing import Sharing
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve
from tests.engine.conftest import alone, curve, run, small
from tests.engine.replay import pretend
from tests.engine.test_model import key
from tests.engine.test_options import OPTIONS

SHARED, PREFIXES = 2, 3


def whole_rows(shape: ShapeKey, shared: int = SHARED) -> tuple[Batch, torch.Tensor, torch.Tensor]:
    """Of three slots; every row begins with one of the slot's prefixes, which come with the rows that do so."""
    g = torch.Generator().manual_seed(1)

    def draw(most: int, *size: int) -> torch.Tensor:
        return torch.randint(most, (3, *size), generator=g)

    prefixes, at = draw(shape.vocabulary_size, PREFIXES, shared), draw(PREFIXES, shape.batch_size)
    late = draw(shape.vocabulary_size, shape.batch_size, shape.length - shared)
    early = torch.stack([of_slot[i] for of_slot, i in zip(prefixes, at, strict=True)])
    targets = draw(shape.vocabulary_size, shape.batch_size, shape.answers)
    positions = None if shape.uniform else shared + draw(shape.length - shared, shape.batch_size, shape.answers)
    weight = torch.ones(3, shape.batch_size, dtype=torch.float64)
    return Batch(torch.cat([early, late], 2), positions, targets, weight), prefixes, at


@pytest.mark.parametrize("norm", ["pre", "post", "input", "none"])
@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("uniform", "form"), [(True, None), (True, "sums"), (True, "unrolled"), (False, None), (False, "products")]
)
def test_losses_and_all_gradients_are_those_of_whole_rows(norm, by_token, layers, uniform, form):
    plain = key(norm=norm, uniform=uniform, num_layers=layers)
    shape = replace(plain, by_token=by_token, batch_sharing=Sharing(SHARED, PREFIXES))
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(3, plain.layout.row_size, generator=g, dtype=torch.float64) * 0.3
    whole, prefixes, at = whole_rows(plain)
    shared = whole._replace(tokens=whole.tokens[..., SHARED:], prefixes=prefixes, at=at)
    wanted, losses = eager_gradient(plain)(rows, whole, None)
    gradient = functional_gradient(shape, form) if form else eager_gradient(shape)
    found, same_losses = gradient(rows, shared, None)
    torch.testing.assert_close(same_losses, losses, rtol=1e-12, atol=1e-12)
    # Where no norm bounds what passes from layer to layer gradients are large, and so is their rounding.
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12 * max(1.0, float(wanted.abs().max())))
    assert all(view.abs().max() > 0 for view in shape.layout.views(found).values())


def test_a_single_token_can_be_what_rows_share():
    """As of x+y below 256 in base 16, four layers; eagerly, where rows have several lengths."""
    plain = key(uniform=False, num_layers=2)
    shape = replace(plain, batch_sharing=Sharing(1, PREFIXES))
    rows = torch.randn(3, plain.layout.row_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.3
    whole, prefixes, at = whole_rows(plain, 1)
    shared = whole._replace(tokens=whole.tokens[..., 1:], prefixes=prefixes, at=at)
    wanted, losses = eager_gradient(plain, "eager")(rows, whole, None)
    found, same_losses = eager_gradient(shape, "eager")(rows, shared, None)
    torch.testing.assert_close(same_losses, losses, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


WIDE = OPTIONS["shared prefixes"]
SEQUENCE = {"operation": "x+y", "modulus": None, "operand_limit": 12, "task_type": "sequence", "base": 2}
TASKS = {
    "classification": {},
    "fixed length": {**SEQUENCE, "fixed_sequence_length": True},
    "variable length": {**SEQUENCE, "fixed_sequence_length": False},
    "out of domain": {"operand_limit": 20, "operand_limit_out": 23},
    "label noise": {"label_noise": 0.2},
}


def sharing(**changes) -> Sharing:
    return shape_of(build_dataset(resolve(changes))).batch_sharing


def test_it_is_done_where_it_saves_much_and_no_two_rows_differ_by_chance():
    assert sharing() == Sharing(2, 104)  # of 97 prefixes
    assert sharing(weight_noise=0.1, gradient_noise=0.1) == Sharing(2, 104)
    assert sharing(dropout=0.1) == sharing(input_noise=0.1) == Sharing()
    assert sharing(batch_size=64) == Sharing()  # more prefixes than rows
    assert sharing(modulus=11, dim_model=16, batch_size=32) == Sharing()  # too little to be worth the detours


def test_prefixes_out_of_domain_are_not_computed():
    assert sharing(operation="x+y_mod", modulus=48, operand_limit=24, operand_limit_out=48) == Sharing(2, 24)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_curves_are_those_of_whole_rows_but_for_rounding(monkeypatch, task):
    monkeypatch.setattr("grokray.engine.sharing.WORTH", 1.0)  # or rows of variable length would not share
    config = small(**{**WIDE, **task}, dtype="float64", num_steps=20, measure="gradient_norm,update_norm")
    assert shape_of(build_dataset(config)).batch_sharing.length > 0
    found = alone(config)
    monkeypatch.setattr("grokray.engine.sharing.LEAST_SAVED", 1 << 60)
    wanted = alone(config)
    assert [m.step for m in found] == [m.step for m in wanted]
    for m, whole in zip(found, wanted, strict=True):
        assert m.metrics == pytest.approx(whole.metrics, rel=1e-9)


def trials() -> list:
    """Of two tables that share a stack, with all that a slot may have for itself."""
    operations, fractions = ("x+y_mod", "x-y_mod"), (0.3, 0.6, 0.8)
    return [
        small(**WIDE, seed=i, operation=operations[i % 2], training_fraction=fractions[i % 3], weight_noise=0.01 * i)
        for i in range(5)
    ]


def test_curves_are_bit_identical_alone_and_in_company_and_when_tables_move():
    configs, engine = trials(), Engine()
    for i, config in enumerate(configs):
        engine.join(str(i), config)
    engine.join("dropout", small(**WIDE, dropout=0.1))
    assert len(engine._stacks) == 2
    curves = {"0": [m for m in engine.next() if m.trial == "0"]}
    for i in (1, 3):
        engine.leave(str(i))  # with their table
    for name, more in run(engine).items():
        curves.setdefault(name, []).extend(more)
    for i in (0, 2, 4):
        assert curve(curves[str(i)])[-1:] == curve(alone(configs[i]))[-1:]
    assert curve(curves["0"])[-3:] == curve(alone(configs[0]))[-3:]


def test_recorded_steps_follow_tables_that_move(monkeypatch):
    """Label noise gives each trial a table of its own."""
    configs = [small(**WIDE, label_noise=0.2, split_seed=i, num_steps=30) for i in range(3)]
    pretend(monkeypatch)
    engine = Engine()
    for i, config in enumerate(configs):
        engine.join(str(i), config)
    found = [m for m in engine.next() if m.trial == "2"]
    engine.leave("0")
    engine.leave("1")
    found += run(engine)["2"]
    monkeypatch.undo()
    assert curve(found) == curve(alone(configs[2]))
