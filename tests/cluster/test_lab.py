"""The lab itself: machines that reach each other, and nothing that outlives them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import need_lab
from tests.cluster.lab.lab import REPOSITORY, Lab, LabError

pytestmark = pytest.mark.cluster

OPEN = """
import sys, time
from pathlib import Path
from tests.cluster.lab.lab import Lab
with Lab(Path(sys.argv[1])) as lab:
    lab.boot("h1", "172.31.0.11")
    print("open", flush=True)
    time.sleep(600)
"""


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, with their names, as seen from outside of the lab."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        found = {child: Path(f"/proc/{child}/comm").read_text().strip() for child in children}
    except OSError:  # it has ended meanwhile
        return {}
    for child in children:
        found |= descendants(child)
    return found


def alive(processes: dict[int, str]) -> dict[int, str]:
    return {pid: name for pid, name in processes.items() if Path(f"/proc/{pid}").exists()}


@pytest.fixture(autouse=True)
def _lab_is_possible() -> None:
    need_lab()


def test_a_host_is_a_machine_of_its_own_until_its_power_is_cut(tmp_path: Path):
    mounts = Path("/proc/self/mountinfo").read_text()
    with Lab(tmp_path) as lab:
        lab.boot("h1", "172.31.0.11")
        lab.boot("h2", "172.31.0.12")
        assert lab.on_host("172.31.0.11", "hostname; echo of h1 > /etc/own").split() == ["h1"]
        assert lab.on_host("172.31.0.12", "cat /etc/own || echo none").split() == ["none"]
        assert not Path("/etc/own").exists()
        boots = {lab.on_host(ip, "cat /proc/sys/kernel/random/boot_id") for ip in ("172.31.0.11", "172.31.0.12")}
        assert len(boots | {Path("/proc/sys/kernel/random/boot_id").read_text()}) == 3
        lab.cut_power("h1")
        with pytest.raises(LabError):
            lab.on_host("172.31.0.11", "hostname", seconds=5)
        lab.boot("h1", "172.31.0.11")
        assert lab.on_host("172.31.0.11", "cat /etc/own").split() == ["of", "h1"]
        processes = descendants(os.getpid())
    assert {"client_init", "host_init", "sshd"} <= set(processes.values())
    assert alive(processes) == {}
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_a_lab_dies_with_a_test_that_is_killed(tmp_path: Path):
    test = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert test.stdout is not None
    assert test.stdout.readline() == "open\n"
    processes = descendants(test.pid)
    assert "sshd" in processes.values()
    test.send_signal(signal.SIGKILL)
    test.communicate()
    Lab.wait_for("the end of the lab", lambda: not alive(processes), seconds=20)
