"""Seconds and memory to build the largest tables: `python benchmarks/tables.py`.

Each table is built in a process of its own, so that the peak of one is not the peak of another.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from time import perf_counter

TABLES = {
    "997, base 2, variable length": {"task_type": "sequence", "base": 2, "modulus": 997},
    "997, base 2, fixed length": {"task_type": "sequence", "base": 2, "modulus": 997, "fixed_sequence_length": True},
    "997, base 10, variable length": {"task_type": "sequence", "base": 10, "modulus": 997},
    "997, classification": {"modulus": 997},
    "97, classification": {},
}


def main() -> None:
    for name in TABLES:
        subprocess.run([sys.executable, __file__, name], check=True)


def measure(name: str) -> None:
    import torch

    from grokray.tasks import build_dataset
    from grokray.tasks.resolve import resolve

    torch.set_num_threads(1)
    config = resolve({"operation": "x+y_mod", **TABLES[name]})
    start = perf_counter()
    table = build_dataset(config).table
    seconds = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{name}: {seconds:.2f} s, {len(table.z):,} rows of {table.tokens.shape[1]} tokens,"
        f" {table.nbytes / 2**20:.0f} MiB held, {peak:.0f} MiB peak with torch"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", choices=TABLES, help="one of them, in this process")
    chosen = parser.parse_args().table
    measure(chosen) if chosen else main()
