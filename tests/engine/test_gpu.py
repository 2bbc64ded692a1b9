"""What is promised of a GPU. Each test runs on one only; the same code is tested on a CPU by test_recordings."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch

from grokray.arguments import COMPILE_AHEAD
from grokray.engine import stack as of_stack
from grokray.engine.ahead import ahead_of
from grokray.engine.engine import Engine, Measurement
from grokray.engine.recorder import CudaRecorder, NoRecorder
from grokray.trial import MEASURES
from tests.engine.conftest import alone, curve, of_three_at_most, run, small
from tests.engine.test_ahead import check_that_trials_go_on_while_a_bucket_is_compiled
from tests.engine.test_options import OPTIONS

pytestmark = [
    *(pytest.mark.gpu, pytest.mark.usefixtures("cuda")),
    pytest.mark.filterwarnings("ignore::Warning:torch"),  # of its compiler, and that its search for waits is new
]
# Sums are taken in another order: over 30 steps of float32 curves drift apart by less than this.
TOLERANCE = 1e-2
LEARNING = {"learning_rate": 1e-3, "dropout": 0.1, "measure": "gradient_norm,update_norm,weight_norm"}


@pytest.fixture(autouse=True)
def _compiled_when_needed(monkeypatch):
    """Beside each test another process would compile what the test is about to compile itself."""
    monkeypatch.setenv(COMPILE_AHEAD, "0")
    ahead_of.cache_clear()
    yield
    ahead_of.cache_clear()


@pytest.fixture(params=["off", "on"], ids=["eager", "compiled"])
def compile_(request) -> str:
    return request.param


def together(configs, **options) -> list[list[Measurement]]:
    engine = Engine(device="cuda", **options)
    for i, config in enumerate(configs):
        engine.join(str(i), config)
    curves = run(engine)
    return [curves[str(i)] for i in range(len(configs))]


def assert_near(found, reference, tolerance: float) -> None:
    assert [m.step for m in found] == [m.step for m in reference]
    for m, wanted in zip(found, reference, strict=True):
        assert m.metrics.keys() == wanted.metrics.keys()
        for name, value in wanted.metrics.items():
            if not name.endswith(("accuracy", "exact_match")):  # one answer more or less is a large step of these
                assert math.isclose(m.metrics[name], value, rel_tol=tolerance, abs_tol=tolerance), (m.step, name)


def test_in_one_bucket_curves_are_identical_beside_other_neighbours_and_in_other_slots(compile_):
    watched = small(seed=1, **LEARNING)
    first = together([watched, *(small(seed=i, **LEARNING) for i in (2, 3, 4))], compile=compile_)[0]
    others = [small(seed=i, weight_decay=0.1, training_fraction=0.7, **LEARNING) for i in (5, 6)]
    second = together([*others, watched], compile=compile_)[2]  # a bucket of four with one to spare
    assert curve(first) == curve(second)


def test_between_buckets_and_against_the_cpu_curves_are_near(compile_):
    config = small(seed=1, **LEARNING)
    reference = alone(config)
    single = together([config], compile=compile_)[0]
    of_many = together([config, *(small(seed=i, **LEARNING) for i in range(2, 9))], compile=compile_)[0]
    assert_near(single, reference, TOLERANCE)
    assert_near(of_many, reference, TOLERANCE)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_in_float64_a_gpu_computes_what_a_cpu_does(options):
    changes = {"dtype": "float64", "num_steps": 12, "eval_interval": 6}
    config = small(**{**options, **changes})
    neighbour = small(**{**options, **changes, "seed": 3})
    assert_near(together([config, neighbour], compile="off")[0], alone(config), 1e-9)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_recorded_steps_equal_those_that_are_not(monkeypatch, options, compile_):
    configs = [small(**{**options, "seed": seed, "num_steps": 12, "eval_interval": 4}) for seed in range(3)]
    recorded = together(configs, compile=compile_)
    monkeypatch.setattr(of_stack, "recorder_for", lambda device: NoRecorder())
    for found, wanted in zip(together(configs, compile=compile_), recorded, strict=True):
        assert curve(found) == curve(wanted)


def test_steps_and_evaluations_are_really_recorded(compile_, capfd):
    engine = Engine(device="cuda", compile=compile_)
    engine.join("a", small(**LEARNING))
    engine.next()
    (stack,) = engine._stacks.values()
    recorder = stack.recordings.recorder
    assert isinstance(recorder, CudaRecorder)
    assert recorder.peak_bytes > 0
    works = [*stack.recordings._recorded.values(), *(work for _, work in stack.recordings._totals.values())]
    assert len(works) == 3  # a step, one that norms are measured of, and a chunk of an evaluation
    assert all(work.__self__.__class__ is torch.cuda.CUDAGraph for work in works)
    assert "could not be recorded" not in capfd.readouterr().err


def test_the_host_waits_for_nothing_between_two_evaluations(compile_):
    engine = Engine(device="cuda", compile=compile_)
    for seed in range(5):
        engine.join(str(seed), small(seed=seed, eval_interval=1000, num_steps=1000, dropout=0.1))
    (stack,) = engine._stacks.values()
    stack.advance(5)  # recorded here
    torch.cuda.set_sync_debug_mode("error")
    try:
        stack.advance(200)  # many epochs begin
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert {seat.step for seat in stack.seats} == {205}


def test_the_host_waits_for_no_evaluation_before_all_are_begun(compile_):
    engine = Engine(device="cuda", compile=compile_)
    for seed in range(4):
        engine.join(str(seed), small(seed=seed, measure="weight_norm,update_norm,fourier_gini,logit_scale"))
    engine.next()  # recorded here
    (stack,) = engine._stacks.values()
    at = torch.tensor([(seat.slot, seat.first_row) for seat in stack.seats], device=stack.device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        begun = [stack._measuring._begin(stack.seats, at) for _ in range(2)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    first, second = ([e.metrics for e in finish()] for (finish,) in begun)
    assert first == second
    assert len(first) == len(stack.seats)


def test_stacks_grow_and_shrink_and_neighbours_are_not_felt():
    config = small(seed=1, num_steps=100, **LEARNING)
    engine, seen = Engine(device="cuda", compile="off"), []
    engine.join("watched", config)
    for turn in range(9):
        if turn < 4:
            engine.join(str(turn), small(seed=turn + 2, operation=("x-y_mod", "x+y_mod")[turn % 2], num_steps=100))
        elif turn < 6:
            engine.leave(str(turn - 4))
        seen += [m for m in engine.next() if m.trial == "watched"]
    assert_near(seen[:3], alone(small(seed=1, **LEARNING)), TOLERANCE)
    assert len(seen) == 9


@pytest.mark.parametrize("operation", ["x+y_mod", "x+y_mod,x-y_mod"])
def test_all_that_can_be_measured_is_near_what_a_cpu_finds(operation):
    config = small(operation=operation, measure=",".join(MEASURES), dtype="float64")
    neighbour = small(operation=operation, seed=2, dtype="float64")
    found, reference = together([config, neighbour], compile="off")[0], alone(config)
    assert_near(found, reference, 1e-9)
    for m, wanted in zip(found, reference, strict=True):
        assert m.tasks.keys() == wanted.tasks.keys()
        assert m.events == wanted.events


def test_a_trial_goes_on_on_a_cpu_and_on_a_gpu_again():
    config = small(dtype="float64", num_steps=40, dropout=0.1)
    seen, checkpoint = [], None
    for device in ("cuda", "cpu", "cuda", "cpu"):
        engine = Engine(device=device, compile="off")
        for seed in range(2, 4):
            engine.join(str(seed), small(dtype="float64", seed=seed))
        if checkpoint is None:
            engine.join("watched", config)
        else:
            engine.restore("watched", config, checkpoint)
        seen += [m for m in engine.next() if m.trial == "watched"]
        checkpoint = engine.save_many(engine.trials).get("watched")
    assert_near(seen, alone(config), 1e-9)


def test_an_evaluation_that_does_not_fit_is_done_in_halves(monkeypatch):
    configs = [small(seed=seed, num_steps=10) for seed in range(7)]
    whole = together(configs, compile="off")
    sizes = of_three_at_most(monkeypatch)
    for found, wanted in zip(together(configs, compile="off"), whole, strict=True):
        assert_near(found, wanted, TOLERANCE)
    assert sizes == [8, 4, 2, 2, 2, 2]  # the eighth is there to fill the bucket


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_other_precisions_are_near_and_not_the_same(precision, compile_):
    # Wide enough for tensor cores to be used.
    config = {"dim_model": 128, "num_heads": 4, "batch_size": 128, **LEARNING}
    exact, found = (together([small(precision=p, **config)], compile=compile_)[0] for p in ("float32", precision))
    assert found[0].metrics["train_loss"] != exact[0].metrics["train_loss"]
    assert_near(found[:1], exact[:1], 0.1)
    assert torch.get_float32_matmul_precision() == "highest"


ANEW = """
from tests.engine.test_gpu import LEARNING, together
from tests.engine.conftest import curve, small
wide = {"dim_model": 128, "num_heads": 4, "batch_size": 512, "modulus": 97, **LEARNING}
print(curve(together([small(seed=seed, **wide) for seed in range(4)], compile="on")[0]))
"""


def test_what_is_compiled_anew_computes_the_same_curve(tmp_path):
    """On another machine it would be: what the compiler tries out must not decide how sums are taken."""
    curves = set()
    for folder in (tmp_path / "first", tmp_path / "second"):
        caches = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TRITON_CACHE_DIR": str(folder / "triton")}
        command = [sys.executable, "-c", ANEW]
        done = subprocess.run(command, env={**os.environ, **caches}, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
        curves.add(done.stdout)
    assert len(curves) == 1


def test_a_bucket_is_compiled_by_another_process_while_the_trials_go_on(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path))
    monkeypatch.setenv(COMPILE_AHEAD, "1")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    check_that_trials_go_on_while_a_bucket_is_compiled("cuda")
    assert "could not be compiled" not in capfd.readouterr().err
