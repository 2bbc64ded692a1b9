"""Each training option against a plain loop, stacked with trials that use other values of it."""

from __future__ import annotations

import pytest
import torch

from grokray.engine.checkpoint import from_bytes, to_bytes
from grokray.engine.engine import Engine
from grokray.engine.start import before_training
from grokray.trial import MEASURES
from tests.engine.conftest import alone, curve, run, small
from tests.engine.plain_training import PlainTraining
from tests.engine.reference import ours

SEQUENCE = {"operation": "x+y", "modulus": None, "operand_limit": 10, "task_type": "sequence", "base": 3}
NEIGHBOURS = [
    {"seed": 3, "weight_decay": 0.3, "learning_rate": 1e-3, "warmup_steps": 0, "learning_rate_schedule": "cosine"},
    {"seed": 4, "weight_noise": 0.1, "input_noise": 0.2, "gradient_noise": 0.1, "dropout": 0.3},
]
OPTIONS = {
    "plain": {},
    "sequence, warm-up": {"warmup_steps": 20, **SEQUENCE},
    "no warm-up": {"warmup_steps": 0},
    "linear": {"learning_rate_schedule": "linear", "warmup_steps": 4, "learning_rate_end": 0.1},
    "cosine": {"learning_rate_schedule": "cosine", "warmup_steps": 0},
    "large batches": {"batch_size": 64},  # the first layer is computed by token
    "one layer": {"batch_size": 64, "num_layers": 1},  # and it alone, of which queries are at the answers
    "shared prefixes": {"batch_size": 160, "dim_model": 48, "modulus": 23},  # and computed once for a batch
    "accumulation": {"accumulation_steps": 3, "training_fraction": 0.3},  # a step reaches over an epoch's end
    "drop last": {"drop_last": True},
    "weight noise": {"weight_noise": 0.05},
    "input noise": {"input_noise": 0.3},
    "gradient noise": {"gradient_noise": 0.02},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "muon": {"optimizer": "muon", "norm": "post", "weight_decay": 0.1},
    "grokfast": {"gradient_filter": "grokfast_ema", "grokfast_alpha": 0.9, "grokfast_lambda": 5.0},
    "orthograd": {"gradient_filter": "orthograd", "weight_decay": 0.0},
    "stablemax": {"loss": "stablemax", **SEQUENCE},
    "relu without layer norms": {"activation": "relu", "norm": "none"},
    "initial weights, moments": {
        **{"init_scale": 4.0, "embedding_scale": 1 / 16},
        **{"beta1": 0.5, "beta2": 0.999, "epsilon": 1e-3},
    },
    "sgd, mse": {
        **{"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.01, "beta1": 0.8, "warmup_steps": 4},
        **{"loss": "mse", **SEQUENCE},
    },
    "embeddings apart": {"embedding_learning_rate": 3e-4, "embedding_weight_decay": 0.1},
    "embeddings at rest, adam": {"embedding_learning_rate": 0.0, "optimizer": "adam", "weight_decay": 0.01},
    "frozen head, sgd": {"frozen_parts": "head", "optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.01},
    "frozen blocks, muon": {
        **{"frozen_parts": "blocks", "optimizer": "muon", "embedding_weight_decay": 0.5},
        **{"learning_rate_schedule": "cosine", "warmup_steps": 3},
    },
    "embeddings apart, muon": {"embedding_learning_rate": 2e-3, "optimizer": "muon", "embedding_weight_decay": 0.0},
    "all": {
        "accumulation_steps": 2,
        "optimizer": "muon",
        "loss": "stablemax",
        "gradient_filter": "grokfast_ema",
        "weight_noise": 0.02,
        "input_noise": 0.1,
        "gradient_noise": 0.01,
        "warmup_steps": 3,
    },
}
KIND = (
    "frozen_parts",
    "embedding_learning_rate",
    "embedding_weight_decay",
    "batch_size",
    "num_layers",
    "dim_model",
    "accumulation_steps",
    "optimizer",
    "loss",
    "gradient_filter",
    "norm",
    "activation",
    *SEQUENCE,
)


def beside(engine: Engine, options: dict[str, object], **changes: object) -> None:
    """Seat neighbours that sit in the same stack."""
    kind = {name: value for name, value in options.items() if name in KIND}
    (stack,) = engine._stacks.values()
    if stack.shape.by_token:  # then those with noisy inputs sit elsewhere, see test_first_layer
        changes["input_noise"] = 0.0
    if stack.shape.batch_sharing.length:  # and those with dropout, see test_batch_sharing
        changes["dropout"] = 0.0
    for i, neighbour in enumerate(NEIGHBOURS):
        engine.join(f"neighbour {i}", small(**{**kind, **neighbour, **changes}))
    assert len(engine._stacks) == 1


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_equals_a_plain_loop(options):
    steps = 12
    changes = {"dtype": "float64", "eval_interval": steps, "num_steps": 2 * steps}
    config = small(**{**options, **changes}, measure="gradient_norm,update_norm")
    engine = Engine()
    engine.join("watched", config)
    beside(engine, options, **changes)
    metrics = next(m.metrics for m in engine.next() if m.trial == "watched")
    plain = PlainTraining(config)
    plain.train(steps)
    for name, tensor in engine.save("watched").tensors["parameters"].items():
        found, wanted = ours(name, tensor), plain.parameters[name].detach()
        if name.endswith("qkv.bias"):
            # The keys' bias changes nothing, so its gradient is rounding, which Adam makes as large as any other.
            query, _, value = range(3)
            found, wanted = (t.unflatten(0, (3, -1))[[query, value]] for t in (found, wanted))
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)
    assert metrics["gradient_norm"] == pytest.approx(plain.gradient_norm, rel=1e-7)
    assert metrics["update_norm"] == pytest.approx(plain.update_norm, rel=1e-2 if "adam" in options.values() else 1e-7)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_a_float32_trial_is_bit_identical_alone_in_company_and_after_a_move(options):
    measure = ",".join(MEASURES)
    changes = {"num_steps": 12, "eval_interval": 4, "measure": measure}
    config = small(**{**options, **changes})
    engine = Engine()
    engine.join("watched", config)
    beside(engine, options, **changes)
    head = [m for m in engine.next() if m.trial == "watched"]
    data, digest = to_bytes(engine.save("watched"))
    tail = run(engine)["watched"]
    moved = Engine()
    moved.join("first", small(**options, seed=8))
    moved.restore("watched", config, from_bytes(data, digest))
    expected = curve(alone(config))
    assert curve(head + tail) == expected
    assert curve(head + run(moved)["watched"]) == expected


@pytest.mark.parametrize(
    "option",
    [
        {"warmup_steps": 3},
        {"drop_last": True},
        {"accumulation_steps": 2},
        {"weight_noise": 0.05},
        {"input_noise": 0.05},
        {"gradient_noise": 0.05},
        {"optimizer": "adam"},
        {"optimizer": "muon"},
        {"gradient_filter": "grokfast_ema"},
        {"gradient_filter": "orthograd"},
        {"optimizer": "sgd"},
        {"loss": "stablemax"},
        {"loss": "mse"},
        {"beta1": 0.8},
        {"beta2": 0.99},
        {"epsilon": 1e-4},
        {"embedding_scale": 0.5},
        {"norm": "none"},
        {"activation": "relu"},
        {"init_scale": 1.1},
        {"embedding_learning_rate": 1e-3},
        {"embedding_weight_decay": 0.0},
        {"frozen_parts": "embeddings"},
        {"frozen_parts": "blocks"},
        {"frozen_parts": "head"},
    ],
    ids=str,
)
def test_every_option_makes_a_difference(option):
    steps = {"num_steps": 5, "eval_interval": 5}
    assert curve(alone(small(**option, **steps))) != curve(alone(small(**steps)))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "muon"])
@pytest.mark.parametrize("frozen", ["embeddings", "blocks", "head", "embeddings,head"])
def test_a_frozen_part_stays_as_it_began_to_the_last_bit_and_all_else_moves(optimizer, frozen):
    config = small(frozen_parts=frozen, optimizer=optimizer, gradient_noise=0.01, eval_interval=5)
    engine = Engine()
    engine.join("watched", config)
    engine.join("neighbour", small(frozen_parts="head", optimizer=optimizer, gradient_noise=0.5, eval_interval=5))
    engine.next()
    first = before_training(config).tensors["parameters"]
    for name, found in engine.save("watched").tensors["parameters"].items():
        part = "embeddings" if "embedding" in name else "head" if name.startswith("head") else "blocks"
        assert torch.equal(found, first[name]) == (part in frozen), name


def test_a_part_of_its_own_rates_that_are_the_others_trains_as_the_rest():
    """In another stack, by other kernels."""
    rates = {"embedding_learning_rate": 3e-3, "embedding_weight_decay": 1.0}
    assert curve(alone(small(**rates))) == curve(alone(small()))


def test_numbers_share_a_stack_and_kinds_do_not():
    engine = Engine()
    engine.join("plain", small())
    given = [
        {"warmup_steps": 2},
        {"weight_noise": 0.1},
        {"input_noise": 0.1, "dropout": 0.1},
        {"beta1": 0.5, "epsilon": 1e-3},
        {"embedding_learning_rate": None, "frozen_parts": None},
    ]
    for i, numbers in enumerate(given):
        engine.join(f"number {i}", small(**numbers))
    assert len(engine._stacks) == 1
    for i, kind in enumerate([{"optimizer": "adam"}, {"loss": "stablemax"}, {"gradient_filter": "grokfast_ema"}]):
        engine.join(f"kind {i}", small(**kind))
    assert len(engine._stacks) == 4
    engine.join("two filters", small(gradient_filter="grokfast_ema", grokfast_lambda=3.0))
    assert len(engine._stacks) == 4


def test_only_filtered_stacks_hold_an_average():
    engine = Engine()
    engine.join("plain", small())
    engine.join("filtered", small(gradient_filter="grokfast_ema"))
    assert set(engine.save("plain").tensors) == {"parameters", "moment1", "moment2"}
    assert set(engine.save("filtered").tensors) == {"parameters", "moment1", "moment2", "average"}


def test_the_filters_numbers_are_no_part_of_a_trial_without_it():
    assert small(grokfast_alpha=0.5, grokfast_lambda=9.0) == small()
    assert small(grokfast_alpha=0.5, gradient_filter="grokfast_ema").grokfast_alpha == 0.5
