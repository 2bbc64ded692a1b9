"""Compiling buckets before the engine comes to them. What would be a GPU is this CPU, or a process that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from grokray.engine import ahead as of_ahead
from grokray.engine import stack as of_stack
from grokray.engine.ahead import Ahead, Kind, ahead_of
from grokray.engine.backends import Buckets
from grokray.engine.engine import Engine
from grokray.engine.kernels import LIMITS, Kernels, inductor_kernels
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.stack import Stack
from grokray.engine.tiles import buckets, powers
from grokray.engine.totals import RowSums
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import alone, curve, run, small
from tests.engine.replay import MUCH, pretend
from tests.engine.test_recordings import joined

NONE: frozenset[str] = frozenset()
WIDTHS = powers(64)


class Pretended:
    """Processes that compile, and what they have left on disk."""

    log = Path("the-log")

    def __init__(self) -> None:
        self.done: set[Kind] = set()
        self.begun: list[Kind] = []
        self.stopped: list[Kind] = []
        self.running = False

    def begin(self, kind: Kind) -> Pretended:
        self.begun.append(kind)
        self.running = True
        return self

    def end(self, *, well: bool = True) -> None:
        self.running = False
        if well:
            self.done.add(self.begun[-1])

    def stop(self) -> None:
        if self.running:
            self.stopped.append(self.begun[-1])
        self.running = False

    def ahead(self) -> Ahead:
        return Ahead(self.begin, self.done.__contains__)

    def widths(self) -> list[int]:
        return [width for width, _ in self.begun]


@pytest.fixture
def processes() -> Pretended:
    return Pretended()


def test_nobody_trains_before_the_first_bucket_is_compiled(processes):
    ahead = processes.ahead()
    assert not ahead.building
    assert ahead.tiles(20, WIDTHS, NONE) is None
    assert ahead.building
    assert ahead.tiles(20, WIDTHS, NONE) is None
    assert processes.widths() == [32]
    processes.end()
    assert ahead.tiles(20, WIDTHS, NONE) == [(0, 32)]
    assert not ahead.building


def test_trials_that_join_before_the_first_is_compiled_have_their_bucket_compiled_instead(processes):
    ahead = processes.ahead()
    for training in (1, 2, 3, 4, 5):
        assert ahead.tiles(training, WIDTHS, NONE) is None
    assert processes.widths() == [1, 2, 4, 8]
    assert [width for width, _ in processes.stopped] == [1, 2, 4]


def test_a_wider_bucket_is_compiled_while_the_trials_go_on_in_those_that_are_there(processes):
    ahead = processes.ahead()
    processes.done |= {(16, NONE)}
    assert ahead.tiles(30, WIDTHS, NONE) == [(0, 16), (16, 16)]
    assert ahead.building
    assert processes.widths() == [32]
    processes.end()
    assert ahead.tiles(30, WIDTHS, NONE) == [(0, 32)]


def test_a_narrower_bucket_is_compiled_while_there_is_room_to_spare_in_the_wide_one(processes):
    ahead = processes.ahead()
    processes.done |= {(64, NONE)}
    assert ahead.tiles(60, WIDTHS, NONE) == [(0, 64)]
    assert processes.begun == []
    assert ahead.tiles(48, WIDTHS, NONE) == [(0, 64)]
    assert processes.widths() == [32]
    assert not ahead.building  # nobody wants it yet
    assert ahead.tiles(32, WIDTHS, NONE) == [(0, 64)]
    assert ahead.building
    processes.end()
    assert ahead.tiles(32, WIDTHS, NONE) == [(0, 32)]


def test_buckets_that_are_much_too_narrow_do_not_do(processes):
    ahead = processes.ahead()
    processes.done |= {(4, NONE)}
    assert ahead.tiles(16, WIDTHS, NONE) == [(first, 4) for first in (0, 4, 8, 12)]
    assert ahead.tiles(17, WIDTHS, NONE) is None


def test_other_options_are_other_kernels(processes):
    ahead, dropout = processes.ahead(), frozenset({"dropout"})
    processes.done |= {(8, NONE)}
    assert ahead.tiles(8, WIDTHS, NONE) == [(0, 8)]
    assert ahead.tiles(8, WIDTHS, dropout) is None
    assert processes.begun == [(8, dropout)]


def test_what_the_engine_has_compiled_itself_is_there(processes):
    ahead = processes.ahead()
    ahead.compiled_here(8, NONE)
    assert ahead.tiles(8, WIDTHS, NONE) == [(0, 8)]
    assert processes.begun == []


def test_a_process_that_fails_leaves_the_compiling_to_the_engine_and_says_so_once(processes, capfd):
    ahead = processes.ahead()
    assert ahead.tiles(20, WIDTHS, NONE) is None
    processes.end(well=False)
    assert ahead.tiles(20, WIDTHS, NONE) == [(0, 32)]
    assert ahead.tiles(3, WIDTHS, NONE) == [(0, 4)]
    assert not ahead.building
    assert processes.widths() == [32]
    assert capfd.readouterr().err == (
        "grokray: kernels could not be compiled ahead, see the-log; compiling them when needed\n"
    )


def test_a_cache_that_cannot_be_written_leaves_the_compiling_to_the_engine(capfd):
    def begin(kind: Kind) -> Pretended:
        raise PermissionError("it is read-only")

    ahead = Ahead(begin, lambda kind: False)
    assert ahead.tiles(20, WIDTHS, NONE) == [(0, 32)]
    assert "it is read-only" in capfd.readouterr().err


def test_whatever_is_there_every_slot_is_in_one_tile():
    for training in range(1, 40):
        for there in ([1], [4], [2, 8], [1, 16], [64]):
            tiles = buckets(training, there)
            ends = [first + width for first, width in tiles]
            assert [first for first, _ in tiles] == [0, *ends[:-1]]
            assert ends[-1] >= training > tiles[-1][0]


def test_no_trial_feels_what_is_there(monkeypatch, processes):
    """Eager kernels in place of compiled ones: it is the tiles that change under the trials."""
    (stack, *_), engine = pretend(monkeypatch), joined(6, dropout=0.1, num_steps=50)
    recorded = stack.recordings.recorder.recorded
    stack.backend = _Eager(stack, processes.ahead())
    assert engine.next(should_yield=lambda: engine.building) == []
    assert recorded == []
    processes.end()
    found = engine.next()
    for gone in "345":
        engine.leave(gone)
    found += engine.next()
    assert recorded == [8]
    assert engine.building
    processes.end()
    found += [m for curve_of in run(engine).values() for m in curve_of]
    assert recorded == [8, 4]
    monkeypatch.undo()
    for i in range(3):
        config = small(seed=i, dropout=0.1, num_steps=50)
        assert curve([m for m in found if m.trial == str(i)]) == curve(alone(config))


class _Eager(Buckets):
    def __init__(self, stack: Stack, ahead: Ahead) -> None:
        super().__init__(stack.shape, stack.device, free=lambda: MUCH, ahead=ahead)
        self._plain = Buckets(stack.shape, stack.device, free=lambda: MUCH)

    def kernels(self, width: int, options: frozenset[str]) -> Kernels:
        return self._plain.kernels(width, options)

    def row_sums(self) -> tuple[RowSums, bool]:
        return self._plain.row_sums()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_trials_go_on_while_a_bucket_is_compiled(monkeypatch, tmp_path):
    """torch.compile of a CPU stands for that of a GPU: both look in the same cache."""
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)

    def backend(shape: ShapeKey, device: torch.device, *, compiled: bool) -> Buckets:
        return Buckets(shape, device, free=lambda: MUCH, ahead=ahead_of(shape, device))

    monkeypatch.setattr(of_stack, "backend_for", backend)
    check_that_trials_go_on_while_a_bucket_is_compiled("cpu")


def check_that_trials_go_on_while_a_bucket_is_compiled(device: str) -> None:
    """On a GPU too, see test_gpu."""
    ahead_of.cache_clear()
    inductor_kernels.cache_clear()
    lasting = {"num_steps": 10**6, "continue_training": True, "num_layers": 1, "dim_model": 24}
    engine = Engine(device=device, compile="on")
    for name in "ab":
        engine.join(name, small(**lasting))
    assert engine.next(should_yield=lambda: engine.building) == []
    assert len(engine.next()) == 2  # once both can train
    engine.join("c", small(**lasting))
    counters.clear()
    meanwhile = [m for m in engine.next() if engine.building]
    assert meanwhile
    while engine.building:
        engine.next()
    engine.next()
    # The engine has come to a bucket of four, and found it compiled.
    assert counters["inductor"]["fxgraph_cache_hit"] > 0
    assert counters["inductor"]["fxgraph_cache_miss"] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_as_many_graphs_are_compiled_as_there_are_widths_and_functions(monkeypatch):
    """They count as one function's, of which PyTorch compiles no more than so many. Here they are only traced."""
    compile_, shape = torch.compile, shape_of(build_dataset(small(dropout=0.1)))
    monkeypatch.setattr(torch, "compile", lambda function, options, **how: compile_(function, backend="eager", **how))
    inductor_kernels.cache_clear()
    with torch._dynamo.config.patch(dict.fromkeys(LIMITS, 2)):
        kernels = inductor_kernels(shape, torch.device("cpu"), frozenset({"dropout"}))
        for width in range(1, 5):
            key, count = (torch.zeros(width, *more, dtype=torch.int32) for more in ((2,), ()))
            assert kernels._stream(key, count).shape == (width,)
    inductor_kernels.cache_clear()


def test_who_does_not_want_it_gets_no_process(monkeypatch, tmp_path):
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path))
    monkeypatch.setenv(of_ahead.COMPILE_AHEAD, "0")
    ahead_of.cache_clear()
    ahead = ahead_of(shape_of(build_dataset(small())), torch.device("cpu"))
    assert ahead.tiles(20, WIDTHS, NONE) == [(0, 32)]
    assert not ahead.building
    ahead_of.cache_clear()
