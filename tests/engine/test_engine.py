from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from grokray.engine import measuring
from grokray.engine.checkpoint import from_bytes, hash_of, to_bytes
from grokray.engine.chunks import evaluated_rows
from grokray.engine.engine import Engine
from grokray.engine.shape import shape_of
from grokray.errors import CheckpointError
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve
from tests.engine.conftest import alone, curve, run, small

FIVE = [
    {"learning_rate": 1e-3, "weight_decay": 0.0, "dropout": 0.0, "training_fraction": 0.5},
    {"learning_rate": 3e-3, "weight_decay": 1.0, "dropout": 0.2, "training_fraction": 0.4},
    {"learning_rate": 1e-2, "weight_decay": 0.3, "dropout": 0.0, "training_fraction": 0.7, "seed": 4},
    {"learning_rate": 5e-4, "weight_decay": 3.0, "dropout": 0.5, "training_fraction": 0.3, "order_seed": 9},
    {"learning_rate": 2e-3, "weight_decay": 0.1, "dropout": 0.1, "training_fraction": 0.6, "init_seed": 7},
]
WIDE = {"operation": "x/y_mod", "modulus": 97, "num_steps": 4, "eval_interval": 4}
STRICT = 0x10000  # MKL_CBWR_STRICT of mkl_types.h
SEQUENCE = {"operation": "x+y", "modulus": None, "operand_limit": 10, "task_type": "sequence", "base": 3}


def configs(**changes):
    return [small(**(five | changes)) for five in FIVE]


def assert_same(a, b, tolerance):
    assert [step for step, _ in a] == [step for step, _ in b]
    for (_, x), (_, y) in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for name in x:
            assert math.isclose(x[name], y[name], rel_tol=tolerance, abs_tol=tolerance), name


@pytest.mark.parametrize("norm", ["pre", "post", "input", "none"])
def test_five_stacked_trials_equal_the_same_trials_alone(norm):
    trials = configs(dtype="float64", num_steps=60, eval_interval=20, norm=norm)
    engine = Engine()
    for i, config in enumerate(trials):
        engine.join(str(i), config)
    together = run(engine)
    for i, config in enumerate(trials):
        assert_same(curve(together[str(i)]), curve(alone(config)), 1e-9)


@pytest.mark.parametrize("changes", [{}, SEQUENCE], ids=["classification", "sequence"])
def test_float32_curves_are_bit_identical_alone_and_in_company(changes):
    trials = [small(**(five | changes)) for five in FIVE]
    engine = Engine()
    for i, config in enumerate(trials):
        engine.join(str(i), config)
    together = run(engine)
    for i, config in enumerate(trials):
        assert curve(together[str(i)]) == curve(alone(config))


def test_neighbours_that_join_leave_park_or_diverge_are_not_felt():
    watched = small(dropout=0.2, num_steps=100)
    engine = Engine()
    engine.join("wild", small(learning_rate=10.0, weight_decay=0.0, seed=3, num_steps=100))
    engine.join("watched", watched)
    engine.join("parked", small(seed=5, num_steps=100))
    seen, diverged, turn = [], [], 0
    while "watched" in engine.trials:
        for m in engine.next():
            seen += [m] if m.trial == "watched" else []
            diverged += [m] if m.outcome == "diverged" else []
        turn += 1
        if turn == 1:
            engine.park("parked")
            engine.join("late", small(seed=6, training_fraction=0.9, num_steps=100))
            engine.join("other shape", small(dim_model=32, num_steps=20))
        if turn == 3:
            engine.leave("late")
            engine.unpark("parked")
    assert curve(seen) == curve(alone(watched))
    assert len(seen) == 10


def test_a_trial_with_an_infinite_loss_ends_as_diverged_and_spares_the_rest():
    engine = Engine()
    engine.join("fine", small())
    engine.join("broken", small(seed=1))
    stack = engine._where["broken"]
    stack.slots.parameters[stack.slot("broken")] = float("inf")
    curves = run(engine)
    assert curves["broken"][-1].outcome == "diverged"
    assert curves["broken"][-1].step == 10
    assert curves["broken"][-1].events["diverged"]
    assert curve(curves["fine"]) == curve(alone(small()))


@pytest.mark.parametrize("changes", [{}, SEQUENCE, {"curriculum": "ordered"}], ids=["plain", "sequence", "ordered"])
def test_save_and_restore_into_another_slot_of_another_engine(changes):
    config = small(**({"dropout": 0.3, "num_steps": 50} | changes))
    first, second = Engine(), Engine()
    first.join("moved", config)
    head = first.next() + first.next()
    data, digest = to_bytes(first.save("moved"))
    for i in range(3):
        second.join(f"neighbour {i}", small(**({"seed": i + 1} | changes)))
    second.restore("moved", config, from_bytes(data, digest))
    tail = run(second)["moved"]
    whole = alone(config)
    assert curve(head + tail) == curve(whole)
    assert tail[-1].events == whole[-1].events
    assert tail[-1].outcome == whole[-1].outcome
    assert tail[-1].wall_time_s > head[-1].wall_time_s


def test_parked_trials_do_not_train():
    engine = Engine()
    engine.join("a", small())
    engine.next()
    engine.park("a")
    assert engine.next() == []
    assert engine.save("a").step == 10
    engine.unpark("a")
    assert engine.next()[0].step == 20


def test_ends_at_the_budget_even_between_evaluations():
    measurements = alone(small(num_steps=25))
    assert [m.step for m in measurements] == [10, 20, 25]
    assert [m.outcome for m in measurements] == [None, None, "budget"]


def test_ends_when_grokking_is_sustained_and_goes_on_if_asked():
    easy = {"operation": "xy_avg", "modulus": None, "operand_limit": 11, "threshold": 0.05, "sustain": 2}
    easy |= {"training_fraction": 0.8, "num_steps": 100}
    measurements = alone(small(**easy))
    last = measurements[-1]
    assert last.outcome == "grokked"
    assert last.events["grok_step"] == last.step - 10
    longer = alone(small(**easy, continue_training=True))
    assert longer[-1].step == 100 > last.step
    assert longer[-1].outcome == "grokked"
    assert curve(longer)[: len(measurements)] == curve(measurements)


def test_a_small_task_memorizes_then_groks():
    model = {"num_layers": 1, "dim_model": 32, "num_heads": 4, "batch_size": 128}
    training = {"learning_rate": 1e-2, "weight_decay": 0.3, "training_fraction": 0.7, "num_steps": 1500}
    measurements = alone(small(modulus=31, **model, **training, eval_interval=50))
    events = measurements[-1].events
    assert measurements[-1].outcome == "grokked"
    assert 0 < events["memorization_step"] < events["grok_step"]
    assert measurements[0].metrics["heldout_exact_match"] < 0.5


def test_different_tasks_of_one_shape_share_a_stack():
    engine = Engine()
    engine.join("sum", small())
    engine.join("difference", small(operation="x-y_mod"))
    assert len(engine._stacks) == 1
    curves = run(engine)
    assert curve(curves["difference"]) == curve(alone(small(operation="x-y_mod")))


def test_another_trials_checkpoint_is_refused():
    engine = Engine()
    engine.join("a", small())
    engine.next()
    with pytest.raises(CheckpointError, match="belongs to trial"):
        Engine().restore("b", small(seed=1), engine.save("a"))


def test_a_damaged_checkpoint_is_refused():
    engine = Engine()
    engine.join("a", small())
    engine.next()
    data, digest = to_bytes(engine.save("a"))
    flipped = data[:2000] + bytes([data[2000] ^ 1]) + data[2001:]
    with pytest.raises(CheckpointError, match="damaged"):
        from_bytes(flipped, digest)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        from_bytes(data[:1000])


@pytest.mark.parametrize("change", [Tensor.bfloat16, lambda t: torch.empty_like(t, device="meta")])
def test_a_checkpoint_of_other_tensors_than_the_engine_has_is_refused(change):
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        from_bytes(_with_parameters(change))


def test_a_checkpoint_may_be_made_of_a_modules_parameters():
    parameters = from_bytes(_with_parameters(torch.nn.Parameter)).tensors["parameters"]
    assert hash_of(parameters) == hash_of(from_bytes(_with_parameters(Tensor.clone)).tensors["parameters"])


def _with_parameters(change: Callable[[Tensor], Tensor]) -> bytes:
    engine = Engine()
    engine.join("a", small())
    found = engine.save("a")
    changed = {name: change(tensor) for name, tensor in found.tensors["parameters"].items()}
    return to_bytes(replace(found, tensors={**found.tensors, "parameters": changed}))[0]


LONG = {"operation": "x+y", "modulus": None, "operand_limit": 32, "task_type": "sequence", "base": 2, "num_steps": 20}


THREADED = {
    "narrow": small(dropout=0.1),
    "wide": resolve(WIDE),
    "long": small(**LONG, training_fraction=0.2),
    "few numbers": small(modulus=17, dim_model=16),
    "few rows": small(modulus=13, dim_model=32, batch_size=10),
}


@pytest.mark.parametrize("config", THREADED.values(), ids=THREADED)
def test_curves_are_the_same_with_one_and_two_threads(config):
    """Of a wide model alone some gradients are sums of so many rows that MKL would split them, and products of fewer
    than 24 by 24 are others with two threads."""
    one = curve(alone(config))
    torch.set_num_threads(2)
    assert curve(alone(config)) == one


def test_products_are_strictly_reproducible_whatever_the_threads():
    """Not every processor would show it in the test before."""
    try:
        mode = ctypes.CDLL(str(Path(torch.__file__).parent / "lib/libtorch_cpu.so")).mkl_serv_cbwr_get
    except (OSError, AttributeError):
        pytest.skip("this PyTorch has no MKL that tells its mode")
    torch.ones(2, 2) @ torch.ones(2, 2)
    assert mode(-1) & STRICT


def test_a_sample_of_the_training_rows_is_measured_in_place_of_all():
    config = small(dropout=0.1)
    sampled = small(dropout=0.1, eval_train_rows=20)
    engine = Engine()
    engine.join("all", config)
    engine.join("sample", sampled)
    curves = run(engine)
    assert curve(curves["sample"]) == curve(alone(sampled))
    for m, reference in zip(curves["sample"], curves["all"], strict=True):
        heldout = {name for name in reference.metrics if not name.startswith("train_")}
        assert {n: m.metrics[n] for n in heldout} == {n: reference.metrics[n] for n in heldout}
        # Of 20 rows, not of all 60, whose shares are finer.
        assert (m.metrics["train_exact_match"] * 20).is_integer()
        assert abs(m.metrics["train_loss"] - reference.metrics["train_loss"]) < 1.0
    assert curves["sample"][-1].metrics["train_loss"] != curves["all"][-1].metrics["train_loss"]


def test_more_rows_than_there_are_to_train_on_are_all_of_them():
    assert curve(alone(small(eval_train_rows=10_000))) == curve(alone(small()))


def test_tables_that_nobody_uses_any_more_are_dropped_and_the_others_go_on_as_they_were():
    """Label noise gives each trial a table of its own."""
    watched = small(label_noise=0.2, dropout=0.1, num_steps=50)
    engine = Engine()
    for seed in range(1, 4):
        engine.join(f"passing {seed}", small(label_noise=0.2, split_seed=seed, num_steps=50))
    engine.join("watched", watched)
    (stack,) = engine._stacks.values()
    rows = len(stack.tables.all.tokens)
    head = [m for m in engine.next() if m.trial == "watched"]
    for seed in range(1, 4):
        engine.leave(f"passing {seed}")
    assert len(stack.tables.all.tokens) == rows / 4
    assert curve(head + run(engine)["watched"]) == curve(alone(watched))


def test_several_trials_are_saved_as_each_by_itself():
    engine = Engine()
    for i, config in enumerate(configs()):
        engine.join(str(i), config)
    engine.join("other shape", small(dim_model=32))
    engine.next()
    engine.park("3")
    names = ["3", "other shape", "0"]
    many = engine.save_many(names)
    assert set(many) == set(names)
    for name, found in many.items():
        single = engine.save(name)
        assert replace(found, tensors={}, wall_time_s=0.0) == replace(single, tensors={}, wall_time_s=0.0)
        assert found.tensors.keys() == single.tensors.keys()
        for kind, by_name in single.tensors.items():
            assert by_name.keys() == found.tensors[kind].keys()
            assert all(torch.equal(found.tensors[kind][n], tensor) for n, tensor in by_name.items())
        assert len(to_bytes(found)[0]) == len(to_bytes(single)[0])  # no tensor drags its neighbours along
    assert engine.save_many([]) == {}


def test_saving_more_slots_takes_no_more_copies_off_the_device():
    engine = Engine()
    for i, config in enumerate(configs()):
        engine.join(str(i), config)
    assert copies_off(engine, ["0"]) == copies_off(engine, list("01234")) == 3  # parameters and two moments


def copies_off(engine: Engine, trials: list[str]) -> int:
    with CountCopies() as counted:
        engine.save_many(trials)
    return counted.number


class CountCopies(TorchFunctionMode):
    """Counts tensors asked for on the CPU, which a GPU answers with a copy each."""

    number = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.number += func is torch.Tensor.cpu
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("training_fraction", "changes", "rows"),
    [
        (0.5, {}, 64),  # of 60
        (0.3, {}, 48),  # of 36
        (0.5, {"batch_size": 50}, 50),
        (0.5, {"dropout": 0.1}, 1000),
        (0.5, {"input_noise": 0.1}, 1000),
    ],
)
def test_a_batch_has_room_for_little_more_rows_than_there_are(training_fraction, changes, rows):
    config = small(**{"batch_size": 1000, "training_fraction": training_fraction, **changes})
    assert shape_of(build_dataset(config)).batch_size == rows


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_a_batch_larger_than_the_training_rows_is_all_of_them(accumulation_steps):
    options = {"dtype": "float64", "accumulation_steps": accumulation_steps}
    larger, exact = alone(small(batch_size=1000, **options)), alone(small(batch_size=60, **options))
    for a, b in zip(larger, exact, strict=True):
        assert a.metrics == pytest.approx(b.metrics, rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 1, "modulus": 7, "dim_model": 128},
        {"batch_size": 1, "operation": "x+y", "modulus": None, "operand_limit": 6, "task_type": "sequence", "base": 2},
        {"dim_model": 1, "num_heads": 1, "norm": "none", "modulus": 7, "task_type": "sequence", "base": 2},
    ],
    ids=["wide", "digits", "width 1"],
)
def test_products_of_vectors_are_the_same_alone_and_in_company(changes):
    common = {**changes, "num_steps": 4, "eval_interval": 1}
    engine = Engine(compile="off")
    for seed in range(4):
        engine.join(str(seed), small(**common, seed=seed))
    together = run(engine)
    for seed in range(4):
        assert curve(together[str(seed)]) == curve(alone(small(**common, seed=seed), compile="off"))


def test_a_sample_of_training_rows_has_some_of_each_task():
    config = small(operation="x+y_mod,x-y_mod,x*y_mod", modulus=7, eval_train_rows=1, num_steps=20, eval_interval=10)
    for m in alone(config):
        assert all("train_exact_match" in metrics for metrics in m.tasks.values())
    rows, part = evaluated_rows(build_dataset(config))
    assert int((part == 0).sum()) == 3


def test_answers_of_a_model_that_is_no_number_are_wrong():
    config = small(
        learning_rate=10, init_scale=1000, optimizer="sgd", warmup_steps=0, num_steps=20, eval_interval=1, norm="none"
    )
    last = alone(config)[-1]
    assert last.outcome == "diverged"
    assert math.isnan(last.metrics["heldout_loss"])
    assert last.metrics["heldout_exact_match"] == last.metrics["train_token_accuracy"] == 0


def test_trials_of_few_rows_are_evaluated_together_whatever_their_tables(monkeypatch):
    """Each with its own table, as its answers are noisy; one of another split, one of another task, in turns."""
    calls = []
    real = measuring.totals_of
    monkeypatch.setattr(measuring, "totals_of", lambda *args: calls.append(len(args[3])) or real(*args))
    trials = [small(label_noise=0.2, seed=seed, num_steps=10, measure="fourier_gini,logit_scale") for seed in range(3)]
    trials += [small(operation="x-y_mod", training_fraction=0.7, num_steps=10, eval_train_rows=121)]
    trials += [small(eval_train_rows=5, num_steps=10), small(seed=4, num_steps=10, eval_interval=5)]
    engine = Engine()
    for i in (0, 4, 1, 3, 2, 5):
        engine.join(str(i), trials[i])
    together = run(engine)
    assert calls == [1, 5, 1]  # after 5 steps the last one, after 10 it and the others, but for that of fewer rows
    for i, config in enumerate(trials):
        assert curve(together[str(i)]) == curve(alone(config))
