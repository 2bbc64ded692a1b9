from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The maker of synthetic sweeps lies beside the benchmarks, which are scripts and no package.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def sweep_path(tmp_path_factory) -> Path:
    """A sweep of 300 trials with all phases, both task types, and pruned and audited trials. To be read only."""
    from synthetic import make_sweep

    path = tmp_path_factory.mktemp("sweeps") / "robust"
    make_sweep(path, 300, seed=1)
    return path
