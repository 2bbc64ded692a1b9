from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings

# No example fails for being slow on a machine that does much else.
settings.register_profile(
    "grokray", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("grokray")
# One thread per process: threads that wait for each other make tiny steps many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where a test has two, they would take whole cores while they wait for each other, 2 s of them or 13 in place of 0.6.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Ray makes its workers nice by 15: beside other tests on the same cores they would hardly be computed.
os.environ.setdefault("RAY_worker_niceness", "0")
# A store that is not there: no test waits five minutes for it.
os.environ.setdefault("GROKRAY_STORE_PATIENCE", "2")
# Whoever takes these up last would still be at it when all others have ended.
LONGEST = (
    *("sweep/test_runs.py", "engine/test_compiled.py", "sweep/test_nodes.py", "notebooks/test_notebooks.py"),
    *("engine/test_pretended_gpu.py", "tracking/test_tracking_runs.py"),
)


def pytest_configure() -> None:
    """A shell makes SIGINT ignored for what it starts behind a `&`, and so for all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((i for i, end in enumerate(LONGEST) if item.path.as_posix().endswith(end)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def ray_up():
    """One embedded Ray for all tests that run a sweep in this process."""
    from grokray.sweep.cluster import ray_cluster

    with ray_cluster(num_cpus=2) as machine:
        yield machine


@pytest.fixture
def one_core(ray_up, monkeypatch):
    """Sweeps of this test have one engine: the second takes more of a core to get up than it trains here."""
    from grokray.sweep import cluster

    machine = cluster._machine
    monkeypatch.setattr(cluster, "_machine", lambda **kind: replace(machine(**kind), cpus=1))
