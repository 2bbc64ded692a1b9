from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No example fails for being slow on a machine that does much else.
settings.register_profile(
    "grokray", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("grokray")
# One thread per process: threads that wait for each other make tiny steps many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray makes its workers nice by 15: beside other tests on the same cores they would hardly be computed.
os.environ.setdefault("RAY_worker_niceness", "0")
# A store that is not there: no test waits five minutes for it.
os.environ.setdefault("GROKRAY_STORE_PATIENCE", "2")
# Whoever takes these up last would still be at it when all others have ended.
LONGEST = ("sweep/test_runs.py", "engine/test_compiled.py", "sweep/test_nodes.py", "notebooks/test_notebooks.py")


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
