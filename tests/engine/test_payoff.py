"""Where `compile: auto` compiles."""

from __future__ import annotations

import math

import pytest
import torch

import grokray.engine.stack as of_stack
from grokray.engine import payoff
from grokray.engine.backends import backend_for
from grokray.engine.engine import Engine
from grokray.engine.payoff import BEGUN_S, BUILD_S, MARGIN, SAVED_S, Planned, compiling_pays, has_compiler
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.tiles import tile_width
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NARROW = {"dim_model": 32, "batch_size": 64, "num_layers": 2}
WIDE = {"dim_model": 128, "batch_size": 512, "num_layers": 2, "modulus": 97}
BASE_2 = {"operation": "x+y", "task_type": "sequence", "base": 2, "max_bit_length_train": 6}


@pytest.fixture
def _compiler(monkeypatch):
    monkeypatch.setattr(payoff, "has_compiler", lambda: True)


def shape(**changes) -> ShapeKey:
    return shape_of(build_dataset(small(**changes)))


def pays(shape: ShapeKey, device: torch.device, steps: float, company: float = math.inf) -> bool:
    return compiling_pays(shape, device, Planned(steps=steps, company=company))


def least(shape: ShapeKey, company: float = math.inf, most: int = 1 << 40) -> int:
    """From how many trial-steps on compiling pays, by bisection."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if pays(shape, CPU, middle, company) else (middle, high)
    return high


@pytest.mark.usefixtures("_compiler")
def test_it_pays_from_so_many_steps_on_that_they_save_the_compilers_time_with_a_margin():
    """64 rows of 4 tokens, width 32, 2 layers: 16,384 elements a trial-step; libraries of 1 and of 16 slots."""
    saved = 2 * BEGUN_S / 16 + 64 * 4 * 32 * 2 * SAVED_S["sums"]
    assert least(shape(**NARROW)) == pytest.approx(MARGIN * 2 * BUILD_S / saved, abs=1)


@pytest.mark.usefixtures("_compiler")
def test_larger_models_need_fewer_steps_and_those_of_one_width_one_library():
    narrow, wide = shape(**NARROW), shape(**WIDE)
    assert (tile_width(narrow), tile_width(wide)) == (16, 1)
    # Sixteen times what is saved to begin operations, 32 times the elements, half the libraries.
    assert 2 * 16 < least(narrow) / least(wide) < 2 * 32
    assert least(shape(**NARROW, accumulation_steps=4)) == pytest.approx(least(narrow) / 4, rel=1e-3)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(
    ("changes", "breaks_even"),
    [
        (NARROW, 163_000),
        ({**WIDE, "dim_model": 64, "batch_size": 256}, 14_120),
        (WIDE, 2_920),
        ({**BASE_2, "dim_model": 64, "batch_size": 64, "num_layers": 2}, 4_944),
        ({**WIDE, **BASE_2}, 1_253),
        ({**WIDE, **BASE_2, "base": 10}, 2_360),
    ],
)
def test_nothing_is_compiled_that_was_measured_not_to_break_even(changes, breaks_even):
    """Trial-steps, as measured by benchmarks/compile.py (docs/log.md); `auto` asks for some times that."""
    assert breaks_even < least(shape(**changes)) < 4.5 * breaks_even


@pytest.mark.usefixtures("_compiler")
def test_few_trials_win_more_of_each_step_and_need_one_library():
    """What eager kernels take to begin operations is theirs alone. Up to 9 trials do not fill a tile of 16."""
    narrow = shape(**NARROW)
    arithmetic = 64 * 4 * 32 * 2 * SAVED_S["sums"]
    for company, saved in ((1, BEGUN_S + arithmetic), (4, BEGUN_S / 4 + arithmetic), (9, BEGUN_S / 8 + arithmetic)):
        assert least(narrow, company) == pytest.approx(MARGIN * BUILD_S / saved, abs=1)
    assert least(narrow, 10) == least(narrow)
    assert least(shape(**WIDE), 1) == least(shape(**WIDE))


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(("company", "breaks_even"), [(1, 14_200), (2, 29_000), (4, 57_000)])
def test_few_trials_are_not_compiled_either_that_were_measured_not_to_break_even(company, breaks_even):
    """As above; one trial saved 3.5 ms of a step, two 1.7, four 0.9."""
    assert breaks_even < least(shape(**NARROW), company) < 4.5 * breaks_even


@pytest.mark.usefixtures("_compiler")
def test_a_quick_look_is_not_compiled_and_a_long_sweep_is():
    assert not pays(shape(**NARROW), CPU, 20_000)
    assert pays(shape(**NARROW), CPU, 100 * 20_000)
    assert pays(shape(**WIDE), CPU, 20_000)


def test_a_cpu_needs_a_compiler_and_a_gpu_brings_its_own(monkeypatch):
    monkeypatch.setattr(payoff, "has_compiler", lambda: False)
    assert not pays(shape(**NARROW), CPU, 1e12)
    assert pays(shape(**NARROW), GPU, 1e12)


def test_on_a_gpu_it_pays_for_sweeps_that_take_minutes_there():
    """An H200 does 4,648 trial-steps of these wide models a second eagerly, 9,060 compiled."""
    assert not pays(shape(**WIDE), GPU, 100 * 5_000)  # 108 s
    assert pays(shape(**WIDE), GPU, 200 * 5_000)  # 215 s, or 110 and the compiler's time
    assert not pays(shape(**NARROW), GPU, 200 * 5_000)


@pytest.mark.parametrize(
    ("programs", "cxx", "found"),
    [(["g++"], "", True), (["clang++"], "", True), (["mine"], "mine", True), (["mine"], "", False), ([], "g++", False)],
)
def test_a_compiler_is_looked_for_on_the_path(tmp_path, monkeypatch, programs, cxx, found):
    for name in programs:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", cxx)
    has_compiler.cache_clear()
    try:
        assert has_compiler() is found
    finally:
        has_compiler.cache_clear()


def test_the_choice_is_made_for_each_trial_when_it_joins(monkeypatch):
    monkeypatch.setattr(payoff, "has_compiler", lambda: True)
    monkeypatch.setattr(of_stack, "backend_for", lambda *args, compiled: backend_for(*args, compiled=False))
    engine = Engine(compile="auto")
    engine.join("few", small())
    engine.join("many", small(seed=1), planned=Planned(steps=1e9))
    engine.join("as it was", small(seed=2), planned=Planned(steps=1e9), compiled=False)
    assert [engine.is_compiled(name) for name in engine.trials] == [False, True, False]
    assert engine.training == 3
    off = Engine(compile="off")
    off.join("many", small(), planned=Planned(steps=1e9))
    off.join("as it was", small(seed=1), compiled=True)
    assert [off.is_compiled(name) for name in off.trials] == [False, True]
