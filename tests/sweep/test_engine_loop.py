"""Whether the thread that trains comes on, as others see it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from grokray.sweep import engine_loop
from grokray.sweep.engine_loop import EngineLoop
from grokray.sweep.line import Line


class Trainer:
    """Trains one trial, and waits in the middle of a turn wherever `gates` say so."""

    def __init__(self) -> None:
        self.seated_steps, self.busy, self.training = 0, True, 1
        self.waits, self.gate = threading.Event(), threading.Event()

    def turn(self, should_yield):
        while self.busy and not should_yield():
            self.waits.set()
            self.gate.wait(30)
            self.gate.clear()
        return []


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(engine_loop, "time", clock)
    return clock


def test_a_thread_that_waits_stands_still_and_says_where_and_steps_and_rounds_are_progress(clock):
    trainer = Trainer()
    line = Line(trainer, seats=1, failed=lambda *_: None)  # pyright: ignore[reportArgumentType]
    loop = EngineLoop(lambda: line, lambda report: None, lambda error: None)
    assert trainer.waits.wait(30)
    loop.still_s()
    clock.now += 600
    assert loop.still_s() == 600
    trainer.seated_steps += 1  # in the same turn
    assert loop.still_s() == 0
    clock.now += 600
    assert loop.still_s() == 600
    assert loop.place().startswith("line.py:")  # the innermost line of grokray, of which this trainer is none
    trainer.waits.clear()
    trainer.gate.set()  # it comes round
    assert trainer.waits.wait(30)
    assert loop.still_s() == 0
    trainer.busy = False
    stopped = loop.submit(lambda line: None)
    trainer.gate.set()
    stopped.result(30)
    while not loop._idle:
        pass
    clock.now += 600  # nothing to do is no standing still
    assert loop.still_s() == 0
