"""What a machine's cores train together, on tiny models."""

from __future__ import annotations

import os

import cores

TINY = {"modulus": 11, "num_layers": 1, "dim_model": 16, "num_heads": 2, "batch_size": 16}


def test_every_way_to_use_the_cores_is_measured(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid, found=sorted(os.sched_getaffinity(0))[-2:]: {*found})
    number = len(os.sched_getaffinity(0))
    found = cores.run_cores(TINY, 2, ["grokray"], rounds=2, seconds=0.2)
    assert [*found] == [
        f"grokray, {number} engines of 1 thread",
        f"grokray, 1 engine of {number} threads",
        f"plain PyTorch, {number} processes of 1 thread",
    ]
    assert all(len(way["rounds_per_s"]) == 2 and way["per_s"] > 0 for way in found.values())
    assert cores.table(found).splitlines()[-1].split()[-1] == "1.00"  # against itself
