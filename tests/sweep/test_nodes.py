"""Nodes that come and die: a Ray cluster of several raylets on this machine, and a sweep on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweep.sweeps import (
    GRID,
    check_every_trial_ended_once,
    check_little_was_computed_twice,
    events,
    trials,
    write,
)

pytestmark = pytest.mark.ray

HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = []
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "add":
        nodes.append(cluster.add_node(num_cpus=1))
    else:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
    print("done", flush=True)
"""
DRIVER = """
import sys
from grokray.sweep.load import load_sweep
from grokray.sweep.runner import Observer, run_sweep

run_sweep(load_sweep(sys.argv[1]), sys.argv[2], address=sys.argv[3], insecure=True, observer=Observer(message=print))
"""


class Nodes:
    """A head without cores, and nodes of one core each."""

    def __init__(self) -> None:
        environment = {**os.environ, **HEALTH, "RAY_USAGE_STATS_ENABLED": "0"}
        environment = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self._line(lambda line: ":" in line and " " not in line)

    def add(self) -> None:
        self._do("add")

    def cut_first(self) -> None:
        self._do("cut")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def _do(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        self._line(lambda line: line == "done")

    def _line(self, wanted) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if wanted(line.strip()):
                return line.strip()
        raise AssertionError("the cluster's process has ended")


@pytest.fixture
def nodes():
    cluster = Nodes()
    yield cluster
    cluster.close()


def start_driver(space: Path, out: Path, address: str) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    return subprocess.Popen(
        [sys.executable, "-u", "-c", DRIVER, str(space), str(out), address], env=environment, stdout=subprocess.PIPE
    )


def wait_until(condition, process: subprocess.Popen, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the driver has ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def written(out: Path, kind: str) -> int:
    return sum(part.read_text().count(f'"event":"{kind}"') for part in (out / "journal").glob("*.jsonl"))


def test_a_sweep_waits_for_nodes_and_goes_on_elsewhere_when_one_dies(nodes, tmp_path):
    """Not one retry is allowed, so that a node's death costs one if it is taken for the trials' fault."""
    text = GRID.replace("sustain: 100", "sustain: 100, retries: 0")
    fewer = {"{value: 300}": "{value: 900}", "[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3, 3e-3]"}
    out = tmp_path / "out"
    driver = start_driver(write(tmp_path, text, **fewer), out, nodes.address)
    try:
        assert driver.stdout is not None
        assert "waiting for the cluster" in driver.stdout.readline().decode()
        assert written(out, "start") == 0
        nodes.add()
        wait_until(lambda: written(out, "checkpoint") >= 3, driver)
        nodes.cut_first()
        wait_until(lambda: written(out, "failure") >= 1, driver)
        assert driver.poll() is None
        nodes.add()
        assert driver.wait(300) == 0
    finally:
        driver.kill()
        driver.stdout.close()
        driver.wait()
    check_every_trial_ended_once(out, 16)
    check_little_was_computed_twice(out, 60)
    assert {failure["fault"] for failure in events(out, "failure")} == {"node"}
    assert set(trials(out)["outcome"].to_pylist()) == {"budget"}
    gone_on = [start for start in events(out, "start") if start["step"] > 0]
    assert gone_on
    assert "engine-0" not in {start["engine"] for start in gone_on}
    assert max(start["attempt"] for start in events(out, "start")) <= 2
