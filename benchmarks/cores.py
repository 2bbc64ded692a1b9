"""What a machine's cores train together: an engine of one thread on each, one engine of as many threads, and plain
PyTorch as a process of one thread on each. It is the section `--cores` of `engine.py`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import Any

import harness
from workers import Worker, rate_together


def run_cores(parameters: dict[str, Any], trials: int, engines: Sequence[str], *, rounds: int, seconds: float) -> dict:
    """Trial-steps per second of wall time by the way to use the cores; `rounds` by turns of `seconds / rounds` each.
    An engine has so many trials."""
    groups: dict[str, list[Worker]] = {}
    cores = sorted(os.sched_getaffinity(0))
    try:
        for engine in engines:
            groups[f"{engine}, {len(cores)} engines of 1 thread"] = _each(engine, parameters, trials, cores)
            together = Worker(engine, parameters, trials, threads=len(cores), cores=cores)
            groups[f"{engine}, 1 engine of {len(cores)} threads"] = [together]
        groups[f"plain PyTorch, {len(cores)} processes of 1 thread"] = _each("plain", parameters, 1, cores)
        for worker in (worker for workers in groups.values() for worker in workers):
            worker.answer()
        rates: dict[str, list[float]] = {name: [] for name in groups}
        for _ in range(rounds):
            for name, workers in groups.items():
                rates[name].append(rate_together(workers, seconds / rounds))
    finally:
        for worker in (worker for workers in groups.values() for worker in workers):
            worker.end()
    return {name: {"per_s": statistics.median(found), "rounds_per_s": found} for name, found in rates.items()}


def _each(peer: str, parameters: dict[str, Any], trials: int, cores: Sequence[int]) -> list[Worker]:
    return [Worker(peer, parameters, trials, cores=[core]) for core in cores]


def table(found: dict[str, Any]) -> str:
    """With the ratio to the last line, plain PyTorch."""
    *_, plain = found.values()
    rows = [[name, f"{r['per_s']:,.1f}", f"{r['per_s'] / plain['per_s']:.2f}"] for name, r in found.items()]
    return harness.table(["trial-steps per second of wall time", "", "× plain"], rows)
