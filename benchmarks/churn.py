"""What trials that join and leave cost: the throughput of a stack in which one ends, and another joins, every 50 steps,
against a steady one.

python benchmarks/churn.py --seconds 10        (under two minutes; eager, and compiled where the libraries are there)

16 slots of width 32 with batches of 64, x/y mod 97, on one thread. Nothing is evaluated but a trial that ends. "mixed" is
the same with trials of two tasks of equal shape, x/y and x+y mod 97, in one stack. Both take turns, in rounds (see
`harness`). Results go to benchmarks/results/churn-cpu.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import harness
import torch
from harness import Contestant

import grokray.engine.engine as of_engine
from grokray.engine.backends import Libraries
from grokray.engine.engine import Engine
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig

NARROW: dict[str, Any] = {"operation": "x/y_mod", "modulus": 97, "dim_model": 32, "batch_size": 64}
OPERATIONS = {"one task": ("x/y_mod",), "mixed": ("x/y_mod", "x+y_mod")}
NEVER = 2**31 - 1
TARGET = 0.90
ROUNDS = 7


def main() -> None:
    options = _options()
    harness.restart_with_environment()
    harness.pin(options.core)
    torch.set_num_threads(1)
    rows, results = [], {}
    for compiled in (False, True):
        for name, operations in OPERATIONS.items():
            engines = [Engine(compile="on" if compiled else "off") for _ in range(2)]
            if compiled and not _built(engines[0]):
                print("compiled: left out, as the libraries are not built; --build builds them", flush=True)
                if not options.build:
                    break
            steady = Contestant(name="steady", call=_steady(engines[0], operations, options.slots, options.every))
            churn = Contestant(name="churn", call=_churn(engines[1], operations, options.slots, options.every))
            for contestant, engine in zip((steady, churn), engines, strict=True):
                contestant.ready = lambda engine=engine: not _building(engine)
                harness.warm_up(contestant)
            harness.measure([steady, churn], rounds=ROUNDS, seconds=options.seconds)
            # Of each round's pair: the machine's speed changes between rounds, and hardly within one.
            ratios = [b / a for a, b in zip(steady.per_cpu_s, churn.per_cpu_s, strict=True)]
            label = f"{'compiled' if compiled else 'eager'}, {name}"
            ratio = statistics.median(ratios)
            rows.append([label, f"{steady.rate:,.0f}", f"{churn.rate:,.0f}", f"{ratio:.3f}", f">= {TARGET:.2f}"])
            results[label] = {"steady": steady.rate, "churn": churn.rate, "ratio": ratio, "ratios": ratios}
    print(f"{options.slots} slots, one trial ends and one joins every {options.every} steps; trial-steps per CPU-second")
    print(harness.table(["", "steady", "churn", "churn / steady", "target"], rows))
    found = {"slots": options.slots, "every": options.every, "seconds": options.seconds, "cases": results}
    print(f"\nwritten to {harness.write('churn-cpu', found)}")
