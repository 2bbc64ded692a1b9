"""What a machine's cores train together, on tiny models."""

from __future__ import annotations

import os

import cores

TINY = {"modulus": 11, "num_layers": 1, "dim_model": 16, "num_heads": 2, "batch_size": 16}


def test_every_way_to_use_the_cores_is_measured(monkeypatch):
    core = max(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {core})
    found = cores.run_cores(TINY, 2, ["grokray"], rounds=2, seconds=0.2)
    assert [*found] == [
        "grokray, 1 engines of 1 thread",
        "grokray, 1 engine of 1 threads",
        "plain PyTorch, 1 processes of 1 thread",
    ]
    assert all(len(way["rounds_per_s"]) == 2 and way["per_s"] > 0 for way in found.values())
    assert cores.table(found).splitlines()[-1].split()[-1] == "1.00"  # against itself
