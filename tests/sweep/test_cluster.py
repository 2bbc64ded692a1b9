from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import worker

from grokray.errors import ExecutionError
from grokray.sweep import cluster, ray_start
from grokray.sweep.cluster import ray_cluster
from grokray.sweep.ray_start import ENVIRONMENT, patient
from grokray.sweep.ray_watch import groups_of_ray

pytestmark = pytest.mark.ray

JOIN = "import ray, sys; ray.init(address=sys.argv[1], logging_level='CRITICAL'); print('joined')"


def test_nobody_without_the_sessions_token_reaches_the_embedded_ray(ray_up):
    address = ray.get_runtime_context().gcs_address
    with_token = dict(os.environ)
    without = {name: value for name, value in with_token.items() if not name.startswith("RAY_AUTH")}
    joined = {}
    for who, environment in (("owner", with_token), ("stranger", without)):
        process = subprocess.run(
            [sys.executable, "-c", JOIN, address], env=environment, capture_output=True, text=True, timeout=120
        )
        joined[who] = "joined" in process.stdout
    assert joined == {"owner": True, "stranger": False}


def test_an_embedded_ray_starts_no_dashboard_and_its_workers_have_the_engines_environment(ray_up):
    assert ray_up.prepared
    session = ray.get_runtime_context().gcs_address
    commands = [path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline")]
    ours = [command for command in commands if session in command]
    assert any("raylet" in command for command in ours)
    assert not any(name in command for name in ("dashboard.py", "monitor.py") for command in ours)
    seen = ray.get(ray.remote(lambda: dict(os.environ)).options(num_cpus=0).remote())
    assert seen | ENVIRONMENT == seen


def test_a_signal_to_the_group_of_the_command_does_not_reach_an_embedded_ray(ray_up):
    """As of a shell whose terminal is closed, or of `timeout`: the driver has to save what trains."""
    node: Any = worker._global_node
    processes = [info.process.pid for infos in node.all_processes.values() for info in infos]
    assert len(processes) >= 2
    assert [-os.getpgid(process) for process in processes] == groups_of_ray() == [-process for process in processes]


def test_a_ctrl_c_while_ray_ends_leaves_it_not_half_ended(monkeypatch):
    done = []

    def shutdown():
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", shutdown)
    monkeypatch.setattr(cluster, "_init", lambda *words, **options: None)
    monkeypatch.setattr(cluster, "_machine", lambda **what: None)
    with pytest.raises(KeyboardInterrupt), ray_cluster("elsewhere:6379", insecure=True):
        pass
    assert done


def test_a_machine_too_busy_or_too_small_for_ray_is_one_clear_error(monkeypatch):
    def init(**options):
        raise Exception("The current node timed out during startup. This could happen because of many things.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    why = "an embedded Ray could not be started: The current node timed out"
    with pytest.raises(ExecutionError, match=why) as raised, ray_cluster():
        pytest.fail("there is none")
    assert "run the same command again" in (raised.value.hint or "")


@pytest.mark.parametrize(("dead", "times"), [(False, 3), (True, 1)])
def test_a_busy_machine_is_waited_for_as_long_as_rays_processes_live(monkeypatch, dead, times):
    asked = []

    def look(*where):
        asked.append(where)
        if len(asked) < 3:
            raise RuntimeError("not yet")
        return "node"

    monkeypatch.setattr(ray_start, "PAUSE_S", 0.01)
    with subprocess.Popen(["true" if dead else "cat"], stdin=subprocess.PIPE) as process:
        if dead:
            process.wait()
            with pytest.raises(RuntimeError, match="not yet"):
                patient(look, [process])("gcs", "id")
        else:
            assert patient(look, [process])("gcs", "id") == "node"
    assert asked == [("gcs", "id")] * times
    monkeypatch.setattr(ray_start, "PATIENCE_S", -1)
    asked.clear()
    with pytest.raises(RuntimeError):
        patient(look, [])("gcs", "id")


def test_a_name_that_is_none_in_this_locale_is_no_fault_of_ray(monkeypatch):
    """Ray is told the command line; the console script says which of its names it is."""
    monkeypatch.setattr(ray, "init", lambda **options: "r\udcc3".encode())
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UnicodeEncodeError), ray_cluster():
        pytest.fail("there is none")


def test_an_address_where_nothing_answers_is_one_clear_error():
    script = (
        "from grokray.sweep.cluster import ray_cluster\n"
        "from grokray.errors import ExecutionError\n"
        "try:\n"
        "    with ray_cluster('127.0.0.1:1'): pass\n"
        "except ExecutionError as error: print('MESSAGE', error)\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "MESSAGE no Ray cluster answers at 127.0.0.1:1" in process.stdout
