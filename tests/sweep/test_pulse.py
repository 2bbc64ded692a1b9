"""Engines that hang: when it is said, when they are ended, and when they must not be."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field, replace

import pytest
import ray
from ray.exceptions import ActorDiedError

from grokray.sweep import engine_handle, engines, pulse
from grokray.sweep.engine_actor import EngineActor
from grokray.sweep.engines import EnginePool
from grokray.sweep.introduction import Introduction
from grokray.sweep.messages import Whereabouts, WorkerOptions
from grokray.sweep.placement import EngineSpec
from grokray.sweep.pulse import GIVEN_UP_S, MISSED_AT_START_S, MISSED_S, STILL_S, cpu_seconds

HERE = Whereabouts(node="n", host="vm", pid=7)


@dataclass(eq=False)
class Engine:
    """The far end of an engine, and of its node."""

    up: bool = True
    answers: bool = True
    computes: float = 0.0  # CPU-seconds a second
    node_answers: bool = True
    computed: float = 0.0
    looked: float = 0.0
    killed: bool = False
    still_s: float = 0.0

    def __getattr__(self, method: str):
        return Call(self, method)


@dataclass(eq=False)
class Call:
    engine: Engine
    method: str

    def remote(self, *args, **kwargs) -> Call:
        return self


@dataclass
class FakeRay:
    made: list[Engine] = field(default_factory=list)
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, references, *, timeout, num_returns=1):
        return [r for r in references if self._has_come(r)], []

    def _has_come(self, call: Call) -> bool:
        engine = call.engine
        if call.method == "cpu_seconds":
            return engine.node_answers
        return {"introduce": engine.up, "until_death": engine.killed}.get(call.method, engine.answers)

    def get(self, call: Call):
        if call.method == "until_death":
            raise ActorDiedError
        if call.method == "cpu_seconds":
            call.engine.computed += call.engine.computes * (self.now - call.engine.looked)
            call.engine.looked = self.now
            return call.engine.computed
        return {"seats": 3} if call.method == "introduce" else replace(HERE, still_s=call.engine.still_s)

    def kill(self, engine: Engine) -> None:
        engine.killed = True


@dataclass
class Driver:
    pool: EnginePool
    ray: FakeRay
    said: list[tuple[str, str]]

    def tick(self, seconds: float, step: float = 10.0) -> None:
        """Time passes, and the driver looks again and again."""
        until = self.ray.now + seconds
        while self.ray.now < until:
            self.jump(step)

    def jump(self, seconds: float) -> None:
        self.ray.now += seconds
        self.pool.tend()


@pytest.fixture
def driver(monkeypatch) -> Driver:
    return make_driver(monkeypatch)


def make_driver(monkeypatch, *, elastic: bool = False) -> Driver:
    fake, said = FakeRay(), []

    def start(self, *, alone):
        number, self._started = self._started, self._started + 1
        fake.made.append(Engine(up=number < 2, answers=number < 2))
        return engine_handle.EngineHandle(fake.made[-1], number=number, slots=self.spec.slots)

    for module in (engine_handle, pulse):
        monkeypatch.setattr(module, "ray", fake)
    monkeypatch.setattr(pulse, "_look_at", lambda where: Call(suspect(fake), "cpu_seconds"))
    monkeypatch.setattr(EnginePool, "_start", start)
    monkeypatch.setattr(engines, "time", fake)
    spec = EngineSpec(count=2, slots=3, line=2, elastic=elastic)
    pool = EnginePool(
        spec, WorkerOptions(store_uri="unused"), say=lambda text, name="", state=None: said.append((name, state))
    )
    driver = Driver(pool, fake, said)
    driver.tick(30)
    return driver


def suspect(fake: FakeRay) -> Engine:
    return next(engine for engine in fake.made if not engine.answers)


def test_an_engine_whose_process_was_stopped_is_said_gets_nobody_and_is_ended_at_last(driver):
    driver.ray.made[0].answers = False
    driver.tick(MISSED_S + 10)
    assert driver.said == [("engine-0", "silent")]
    assert {engine.number for engine in driver.pool._with_places} == {1}
    driver.tick(GIVEN_UP_S - MISSED_S - 40)
    assert not driver.ray.made[0].killed
    driver.tick(90)
    assert driver.ray.made[0].killed
    assert driver.said == [("engine-0", "silent"), ("engine-0", "ended")]
    assert [engine.number for engine in driver.pool._engines] == [1, 2]


def test_why_it_was_ended_is_the_reason_of_its_trials_failures_and_no_nodes_fault(driver):
    (engine, _), driver.ray.made[0].answers = driver.pool._engines, False
    driver.tick(GIVEN_UP_S + 60)
    assert engine.dead
    assert engine.last_words == "engine-0 did not answer for 10 min, and was ended"


def test_an_engine_that_goes_on_meanwhile_is_not_ended(driver):
    driver.ray.made[0].answers = False
    driver.tick(GIVEN_UP_S - 60)
    driver.ray.made[0].answers = True
    driver.tick(2 * GIVEN_UP_S)
    assert driver.said == [("engine-0", "silent"), ("engine-0", "answers")]
    assert not driver.ray.made[0].killed
    assert len(driver.pool._with_places) == 2


def test_one_that_dies_while_it_is_silent_is_said_to_have_ended(driver):
    driver.ray.made[0].answers = False
    driver.tick(MISSED_S + 10)
    driver.ray.made[0].killed = True
    driver.tick(20)
    assert driver.said == [("engine-0", "silent"), ("engine-0", "ended")]


def test_an_engine_that_answers_but_trains_nothing_is_said_and_gets_nobody_but_is_never_ended(driver):
    driver.ray.made[0].still_s = STILL_S - 1
    driver.tick(60)
    assert driver.said == []
    driver.ray.made[0].still_s = STILL_S
    driver.tick(20 * GIVEN_UP_S)
    assert driver.said == [("engine-0", "silent")]
    assert not driver.ray.made[0].killed
    assert {engine.number for engine in driver.pool._with_places} == {1}
    driver.ray.made[0].still_s = 0.0
    driver.tick(30)
    assert driver.said == [("engine-0", "silent"), ("engine-0", "answers")]
    assert len(driver.pool._with_places) == 2


def test_a_step_that_takes_hours_without_letting_an_answer_through_is_no_hang(driver):
    driver.ray.made[0].answers, driver.ray.made[0].computes = False, 0.2  # of a core that others use as well
    driver.tick(20 * GIVEN_UP_S)
    assert driver.said == [("engine-0", "silent")]
    assert not driver.ray.made[0].killed
    driver.ray.made[0].computes = 0.0  # should it hang after all, the time before does not count
    driver.tick(GIVEN_UP_S / 4)
    assert not driver.ray.made[0].killed


def test_it_is_watched_long_enough_also_where_its_node_tells_late(driver):
    driver.ray.made[0].answers, driver.ray.made[0].node_answers = False, False
    driver.tick(GIVEN_UP_S)
    driver.ray.made[0].node_answers = True
    driver.tick(GIVEN_UP_S - MISSED_S - 20)
    assert not driver.ray.made[0].killed
    driver.tick(60)
    assert driver.ray.made[0].killed


def test_an_engine_of_a_node_that_does_not_tell_is_not_ended(driver):
    driver.ray.made[0].answers, driver.ray.made[0].node_answers = False, False
    driver.tick(3 * GIVEN_UP_S)
    assert not driver.ray.made[0].killed


@pytest.mark.parametrize("hours", [1, 100])
def test_a_laptop_that_was_shut_misses_nobody(driver, hours):
    for engine in driver.ray.made:
        engine.answers = False
    driver.jump(hours * 3600)
    for engine in driver.ray.made:
        engine.answers = True
    driver.tick(60)
    assert driver.said == []


def test_an_engine_that_does_not_get_up_is_ended_but_not_one_that_waits_for_a_node(monkeypatch):
    for elastic, ended in ((False, True), (True, False)):
        driver = make_driver(monkeypatch, elastic=elastic)
        driver.ray.made[0].killed = True  # the one that takes its place never gets up
        driver.tick(MISSED_AT_START_S - 10)
        assert driver.said == []
        driver.tick(GIVEN_UP_S - MISSED_AT_START_S + 70)
        assert driver.ray.made[2].killed == ended


def test_nobody_waits_for_one_that_is_silent_when_all_are_to_be_saved(driver, monkeypatch):
    driver.ray.made[0].answers = False
    driver.tick(MISSED_S + 10)
    asked = []
    monkeypatch.setattr(engines.ray, "wait", lambda calls, **options: asked.extend(calls))
    driver.pool.save_all()
    assert [call.engine for call in asked] == [driver.ray.made[1]]


def test_what_a_process_has_computed():
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) - before < 0.02:
        pass


class Stub:
    """Of an engine nothing but its answer."""

    alive = EngineActor.alive
    _said = Introduction(seats=0, fault="it has no loop")


@pytest.mark.ray
def test_a_process_that_was_stopped_hangs_by_what_its_node_tells(ray_up):
    actor = ray.remote(Stub).options(num_cpus=0).remote()
    beat, deadline = pulse.EnginePulse(actor), time.monotonic() + 60
    while beat.where is None:
        assert time.monotonic() < deadline
        beat.feel(1.0)
    os.kill(beat.where.pid, signal.SIGSTOP)
    while not beat.hangs:
        assert time.monotonic() < deadline
        beat.feel(30.0)
        time.sleep(0.02)
    ray.kill(actor)
