"""Trials with processes of their own that hang: when it is said, when they are ended; and what their nodes have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from grokray.sweep import processes, pulse
from grokray.sweep.introduction import here
from grokray.sweep.messages import State, Whereabouts
from grokray.sweep.processes import HELLO, Processes, hello
from grokray.sweep.pulse import GIVEN_UP_S, MISSED_S
from grokray.sweep.searcher import LedgerCallback
from tests.sweep.test_pulse import HERE


@dataclass
class Driver:
    """Trials "a" and "b", of which those of `alive` send a heartbeat at every tick; each process `computes` so many
    CPU-seconds a second."""

    now: float = 0.0
    computes: float = 0.0
    alive: set[str] = field(default_factory=lambda: {"a", "b"})
    said: list[tuple[str, str]] = field(default_factory=list)
    killed: list[Whereabouts] = field(default_factory=list)
    processes: Any = None

    def say(self, text: str, name: str = "", state: State | None = None) -> None:
        self.said.append((name, state) if state else (text, ""))

    def tick(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 5.0
            for trial_id in self.alive:
                self.processes.heard(trial_id, {"rung": None})
            self.processes.tend()


@pytest.fixture
def driver(monkeypatch) -> Driver:
    driver = Driver()
    monkeypatch.delenv("GROKRAY_STORE_PATIENCE", raising=False)
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: driver.now))
    monkeypatch.setattr(processes, "end", driver.killed.append)
    monkeypatch.setattr(pulse, "_look_at", lambda where: driver)
    monkeypatch.setattr(pulse, "_has_come", lambda look: True)
    monkeypatch.setattr(pulse, "ray", SimpleNamespace(get=lambda look: driver.computes * driver.now))
    driver.processes = Processes(driver.say)
    for pid, trial_id in enumerate("ab"):
        driver.processes.heard(trial_id, greeting(pid=pid))
    driver.tick(30)
    assert driver.said == []
    return driver


def greeting(*, pid: int = 7, **versions: str) -> dict[str, str]:
    mine = here(seats=1)
    said = replace(mine, node="n", versions={**mine.versions, **versions})
    return {HELLO: json.dumps({"where": asdict(replace(HERE, pid=pid)), "said": asdict(said)})}


def test_a_process_that_was_stopped_is_said_and_killed_at_last(driver):
    driver.alive = {"b"}
    driver.tick(MISSED_S + 20)
    assert driver.said == [("trial a", "silent")]
    driver.tick(GIVEN_UP_S - MISSED_S - 40)
    assert driver.killed == []
    driver.tick(100)
    assert driver.said == [("trial a", "silent"), ("trial a", "ended")]
    assert driver.killed == [replace(HERE, pid=0)]
    assert driver.processes.gone("a") == "its process did not answer for 10 min, and was ended"
    assert driver.processes.gone("b") is None
    driver.processes.heard("a", greeting())  # its next attempt
    driver.alive.add("a")
    driver.tick(GIVEN_UP_S)
    assert len(driver.said) == 2


def test_one_that_goes_on_or_ends_meanwhile_is_not_killed(driver):
    driver.alive = set()
    driver.tick(GIVEN_UP_S / 2)
    driver.alive = {"a"}
    assert driver.processes.gone("b") is None
    driver.tick(2 * GIVEN_UP_S)
    assert {*driver.said} == {
        (f"trial {i}", state) for i in "ab" for state in ("silent", "answers" if i == "a" else "ended")
    }
    assert driver.killed == []


def test_an_evaluation_of_an_hour_is_no_hang(driver):
    driver.alive, driver.computes = {"b"}, 0.2
    driver.tick(3600)
    assert driver.said == [("trial a", "silent")]
    assert driver.killed == []


def test_nobody_is_ended_while_the_folder_may_be_waited_for(driver, monkeypatch):
    monkeypatch.setenv("GROKRAY_STORE_PATIENCE", "1800")
    driver.processes = Processes(driver.say)
    driver.processes.heard("a", greeting())
    driver.alive = set()
    driver.tick(3500)
    assert driver.killed == []
    driver.tick(300)
    assert driver.killed == [HERE]


def test_a_driver_that_was_stopped_misses_nobody(driver):
    driver.now += 1e5
    driver.processes.tend()
    driver.tick(60)
    assert driver.said == []


def test_other_versions_on_a_node_are_remarked(driver):
    driver.processes.heard("a", greeting(torch="1.0"))
    assert "on n torch is 1.0, here " in driver.said[0][0]


def test_why_it_was_ended_is_the_reason_of_the_trials_failure(driver, tmp_path, monkeypatch):
    failures = []
    ledger = SimpleNamespace(fail=lambda trial_id, error, **how: failures.append((trial_id, error, how["fault"])))
    callback = LedgerCallback(ledger, lambda: None, processes=driver.processes)  # pyright: ignore[reportArgumentType]
    trial = SimpleNamespace(config={"grokray_trial": "a"}, pickled_error_file=None, error_file=None)
    driver.alive = {"b"}
    driver.tick(GIVEN_UP_S + 60)
    callback._count_failure(trial, alone=False)  # pyright: ignore[reportArgumentType]
    assert failures == [("a", "its process did not answer for 10 min, and was ended", "engine")]


@pytest.mark.ray
def test_a_stopped_process_is_killed_on_its_node(ray_up):
    where = Whereabouts(**json.loads(hello()[HELLO])["where"])
    assert where.pid == os.getpid()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        process.send_signal(signal.SIGSTOP)
        pulse.end(replace(where, pid=process.pid))
        assert process.wait(30) == -signal.SIGKILL
    pulse.end(replace(where, pid=process.pid))  # it has gone
