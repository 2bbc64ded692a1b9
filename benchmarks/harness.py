"""How benchmarks measure: contestants take turns, in rounds, and the medians of their rounds are compared.

A machine's speed changes by the minute, with its neighbours and its heat: within a round all contestants meet the same
machine, and so does the matrix product that is its ceiling. Time is the CPU time of the whole process, all its threads
counted, so that it means the same on a loaded machine; wall time stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from peers.case import waiting_for

from grokray.engine import products

RESULTS = Path(__file__).parent / "results"
CEILING_SIZES = (512, 768, 1024)
# One thread; and buffers that are kept, since the page faults of fresh ones cost every contestant much.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "67108864",
}


@dataclass(kw_only=True)
class Contestant:
    """`call` does some work and says how much (trial-steps, say); `wait` returns when it is done; `ready` says whether
    nothing is being compiled beside it; `close` ends what it started. The rates are work per second, of each round."""

    name: str
    call: Callable[[], float]
    wait: Callable[[], None] = lambda: None
    ready: Callable[[], bool] = lambda: True
    close: Callable[[], None] = lambda: None
    warm_up_s: float = 0.0
    per_cpu_s: list[float] = field(default_factory=list)
    per_wall_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Work per CPU-second, the median of the rounds."""
        return statistics.median(self.per_cpu_s)

    @property
    def wall_rate(self) -> float:
        return statistics.median(self.per_wall_s)


def warm_up(contestant: Contestant) -> None:
    """Calls until nothing is left to compile; the wall time that this takes is kept apart."""
    start = time.monotonic()
    while not contestant.call() or not contestant.ready():
        time.sleep(0.05)
    contestant.wait()
    contestant.warm_up_s = time.monotonic() - start
    contestant.call(), contestant.wait()


def measure(contestants: Sequence[Contestant], *, rounds: int, seconds: float) -> None:
    """Interleaved: in each round each contestant gets `seconds / rounds` seconds of CPU time, one call at least."""
    for contestant in _in_rounds(contestants, rounds):
        _take_slice(contestant, seconds / rounds)


def measure_wall(contestants: Sequence[Contestant], *, rounds: int, slice_s: float) -> None:
    """As `measure`, of a device that works beside the process: in each round each contestant gets about `slice_s`
    seconds of wall time. It is waited for at the ends of a slice alone, so its calls are counted out beforehand."""
    calls = {id(contestant): calls_in(contestant, slice_s) for contestant in contestants}
    for contestant in _in_rounds(contestants, rounds):
        _take_calls(contestant, calls[id(contestant)])


def _in_rounds(contestants: Sequence[Contestant], rounds: int) -> Iterator[Contestant]:
    """The order turns too, so that nobody always follows the same neighbour, whose data fills the caches."""
    for turn in range(rounds):
        at = turn % len(contestants)
        yield from (*contestants[at:], *contestants[:at])


def calls_in(contestant: Contestant, seconds: float) -> int:
    """How many calls take so long, one at least."""
    contestant.wait()
    start = time.monotonic()
    contestant.call(), contestant.wait()
    return max(1, round(seconds / max(time.monotonic() - start, 1e-6)))


def _take_calls(contestant: Contestant, calls: int) -> None:
    contestant.wait()
    wall, cpu = time.monotonic(), time.process_time()
    work = sum(contestant.call() for _ in range(calls))
    contestant.wait()
    contestant.per_wall_s.append(work / (time.monotonic() - wall))
    contestant.per_cpu_s.append(work / max(time.process_time() - cpu, 1e-9))


def _take_slice(contestant: Contestant, seconds: float) -> None:
    wall, cpu, work = time.monotonic(), time.process_time(), 0.0
    while not work or time.process_time() - cpu < seconds:
        work += contestant.call()
        contestant.wait()
    contestant.per_cpu_s.append(work / (time.process_time() - cpu))
    contestant.per_wall_s.append(work / (time.monotonic() - wall))


def ceiling(device: str = "cpu") -> list[Contestant]:
    """float32 matrix products of several sizes, by each library that the engine may use; their work is counted in
    floating-point operations."""
    libraries = {"mm": torch.mm} if device != "cpu" or not products.onednns() else {"mm": torch.mm, "oneDNN": _onednn}
    return [_product(name, multiply, size, device) for name, multiply in libraries.items() for size in CEILING_SIZES]


def _product(name: str, multiply: Callable[..., torch.Tensor], size: int, device: str) -> Contestant:
    a, b = (torch.randn(size, size, device=device) for _ in range(2))

    def call() -> float:
        multiply(a, b)
        return 2.0 * size**3

    return Contestant(name=f"{name} {size}", call=call, wait=waiting_for(device))


def _onednn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return products.bmm(a[None], b[None])


def restart_with_environment(environment: Mapping[str, str] = ENVIRONMENT) -> None:
    """Run this command again with these variables, unless they are set: the allocator reads its own at the start."""
    if any(name not in os.environ for name in environment):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**environment, **os.environ})


def on_one_core(core: int | None = None) -> None:
    """What a measurement of CPU time begins with: one thread, on one core, the last one unless said otherwise."""
    restart_with_environment()
    pin(core)
    torch.set_num_threads(1)


def seconds_asked(doc: str | None) -> float:
    """The one argument of a script, 6 by default; `doc` is what its --help says."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=6.0, help="CPU-seconds for each contestant")
    return parser.parse_args().seconds


def pin(core: int | None = None) -> None:
    """This process, and the threads it starts from now on, to one core, the last one unless said otherwise. Who counts
    the cores it may use, as XLA does, starts no more threads than that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if core is None else core})


def machine() -> dict[str, Any]:
    """What a number depends on besides the code."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "jax": _version("jax"),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "environment": {name: os.environ[name] for name in (*ENVIRONMENT, "MKL_CBWR") if name in os.environ},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = " ".join(found[name] for name in ("cpu family", "model") if name in found)
    return f"{found.get('model name', platform.processor() or 'unknown')} (family, model: {model})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write(name: str, results: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """NAME.json in benchmarks/results, or in another folder, with the machine's description."""
    folder.mkdir(parents=True, exist_ok=True)
    path, half = folder / f"{name}.json", folder / f"{name}.json.part"
    half.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
    return half.replace(path)  # a run may be killed at any time, and what it had found is kept whole


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in line, the first one to the left."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in (header, *rows)
    )
