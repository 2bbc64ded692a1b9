"""A process of an embedded Ray that dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from ray._private import worker

from grokray.sweep import interruption, ray_watch
from grokray.sweep.ray_watch import ending_with_ray


@pytest.mark.parametrize(("code", "way"), [(-9, "SIGKILL"), (1, "exit code 1")])
def test_the_death_of_a_process_of_ray_is_said_and_ends_ours(code, way, monkeypatch, capfd):
    dead, ended = [], threading.Event()
    monkeypatch.setattr(worker, "_global_node", SimpleNamespace(dead_processes=lambda: dead))
    codes = []
    monkeypatch.setattr(interruption.os, "_exit", lambda code: [codes.append(code), dead.clear(), ended.set()])
    with ending_with_ray():
        assert not ended.wait(3 * ray_watch.LOOK_S)
        dead.append(("raylet", SimpleNamespace(returncode=code)))
        assert ended.wait(5)
    assert codes == [1]
    assert capfd.readouterr().err.splitlines()[0] == f"error: a process of Ray, raylet, has died ({way})"


def test_ray_that_is_shut_down_has_not_died(monkeypatch):
    monkeypatch.setattr(interruption.os, "_exit", lambda code: pytest.fail("it ended"))
    node = SimpleNamespace(dead_processes=list)
    monkeypatch.setattr(worker, "_global_node", node)
    others = {*threading.enumerate()}  # of a sweep of another test, whose Ray goes on
    with ending_with_ray():
        pass
    node.dead_processes = lambda: [("raylet", SimpleNamespace(returncode=-15))]
    assert not any(thread.name == "ray-watch" for thread in {*threading.enumerate()} - others)


KILLING = """
import os, signal, time
from ray._private import worker
from grokray.sweep.cluster import ray_cluster
with ray_cluster(num_cpus=1):
    [raylet] = worker._global_node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGKILL)
    time.sleep(60)
"""


@pytest.mark.ray
def test_an_embedded_ray_is_watched():
    ended = subprocess.run([sys.executable, "-c", KILLING], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "error: a process of Ray, raylet, has died (SIGKILL)",
        "hint: run the same command again, trials go on from their last checkpoints",
    ]
