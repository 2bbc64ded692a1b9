from __future__ import annotations

import os

import pytest

# One thread per process: threads that wait for each other make tiny steps many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A store that is not there: no test waits five minutes for it.
os.environ.setdefault("GROKRAY_STORE_PATIENCE", "2")


@pytest.fixture(scope="session")
def ray_up():
    """One embedded Ray for all tests that run a sweep in this process."""
    from grokray.sweep.cluster import ray_cluster

    with ray_cluster(num_cpus=2) as machine:
        yield machine
