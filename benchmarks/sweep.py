"""What a sweep through Ray Tune costs beyond the engine itself: time, trials a minute, the driver's memory.

python benchmarks/sweep.py            (about four minutes on two cores; --quick takes one)

1. `fused`: trials through `grokray sweep`, against the bare engine that trains the same ones in as many one-thread
   processes as there are engines, by turns. "training" is from the first trial's start to the last one's end, "all" is
   the whole command, with the start of Python, torch and Ray, and the tables. CPU time of all processes stands beside
   the wall time: where all cores are busy both ratios are alike, and other people's load spoils only one of them.
2. `process`: a few of the same trials, each in a process of its own, extrapolated to their number.
3. `trivial`: trials of two steps, so that all the time is the driver's, whose memory is looked at on the way.

Results go to benchmarks/results/sweep-cpu.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

SMALL = {"operation": "x+y_mod", "modulus": 13, "num_layers": 1, "dim_model": 16, "num_heads": 2, "batch_size": 64}
TRIVIAL = {"operation": "x+y_mod", "modulus": 5, "num_layers": 1, "dim_model": 4, "num_heads": 1, "batch_size": 8}
SLOTS = 20  # of an engine: what `cpu: 0.05` makes
EVAL_INTERVAL = 100
LOOK_S = 0.3  # between two looks at the processes
TARGETS = {
    "fused over bare, training": "<= 1.10",
    "trivial trials a minute": ">= 1,000",
    "to the first measurement": "<= 15 s",
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen `t` seconds after the command had been started; the CPU time is that of all its processes."""

    t: float
    ended: int
    resident_mb: float
    driver_cpu_s: float
    cpu_s: float


@dataclass(kw_only=True)
class Ran:
    """One command. Times in seconds since it was started."""

    wall_s: float
    trials: int
    first_start_s: float
    first_measurement_s: float
    last_end_s: float
    looks: list[Look]

    @property
    def training_s(self) -> float:
        return self.last_end_s - self.first_start_s

    @property
    def training_cpu_s(self) -> float:
        """Of all processes: the driver, Ray's own and the engines."""
        return self._at(self.last_end_s).cpu_s - self._at(self.first_start_s).cpu_s

    @property
    def driver_cpu_s(self) -> float:
        return self._at(self.last_end_s).driver_cpu_s - self._at(self.first_start_s).driver_cpu_s

    def memory(self, share: float) -> float:
        """The driver's MB when that share of the trials had ended, at the first look at which that was so."""
        return next((look for look in self.looks if look.ended >= share * self.trials), self.looks[-1]).resident_mb

    def found(self) -> dict[str, Any]:
        """As numbers, the looks left out."""
        names = ("wall_s", "trials", "first_start_s", "first_measurement_s", "last_end_s")
        more = ("training_s", "training_cpu_s", "driver_cpu_s")
        return {name: getattr(self, name) for name in (*names, *more)}

    def _at(self, moment_s: float) -> Look:
        return min(self.looks, key=lambda look: abs(look.t - moment_s))


def main() -> None:
    options = _options()
    rows: list[list[str]] = []
    results: dict[str, Any] = {"targets": TARGETS, "quick": options.quick}
    with tempfile.TemporaryDirectory(prefix="grokray-benchmark-") as place:
        for part in options.parts:
            print(f"{part} …", flush=True)
            results[part], more = PARTS[part](options, Path(place))
            rows += more
    print(harness.table(["", "value", "target"], rows))
    print(f"\nwritten to {harness.write('sweep-cpu', results)}")


def fused(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """The same trials, by turns: through Ray, and on the bare engine."""
    space = _space("small", SMALL, options.trials, options.steps)
    sweeps, bares = [], []
    for turn in range(options.rounds):
        bares.append(run_bare(SMALL, options.trials, options.steps, place))
        sweeps.append(run_sweep(space, place / f"fused{turn}"))
    training = [s.training_s / b["training_s"] for s, b in zip(sweeps, bares, strict=True)]
    cpu = [s.training_cpu_s / b["cpu_s"] for s, b in zip(sweeps, bares, strict=True)]
    whole = [s.wall_s / b["wall_s"] for s, b in zip(sweeps, bares, strict=True)]
    work = options.trials * options.steps
    sweep_s = statistics.median(s.training_s for s in sweeps)
    bare_s = statistics.median(b["training_s"] for b in bares)
    first = statistics.median(s.first_measurement_s for s in sweeps)
    rows = [
        [f"{options.trials} trials of {options.steps:,} steps, sweep: training", f"{sweep_s:.1f} s", ""],
        ["  the bare engine: training", f"{bare_s:.1f} s ({work / bare_s:,.0f} trial-steps/s)", ""],
        ["  sweep / bare, training", f"{statistics.median(training):.3f}", "<= 1.10"],
        ["  sweep / bare, training, CPU time", f"{statistics.median(cpu):.3f}", "<= 1.10"],
        ["  sweep, all", f"{statistics.median(s.wall_s for s in sweeps):.1f} s", ""],
        ["  sweep / bare, all", f"{statistics.median(whole):.3f}", ""],
        ["  the driver's CPU time", f"{statistics.median(s.driver_cpu_s for s in sweeps):.1f} s", ""],
        ["  from the command to the first measurement", f"{first:.1f} s", "<= 15 s"],
    ]
    ratios = {"training_ratios": training, "training_cpu_ratios": cpu, "whole_ratios": whole}
    found = {"trials": options.trials, "steps": options.steps, **ratios}
    return {**found, "sweeps": [s.found() for s in sweeps], "bare": bares}, rows


def process(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    few = options.process_trials
    ran = run_sweep(_space("process", SMALL, few, options.steps, "execution: process\n"), place / "process")
    each = ran.training_s / few
    rows = [
        [f"{few} trials in processes of their own: training", f"{ran.training_s:.1f} s", ""],
        [f"  extrapolated to {options.trials}", f"{each * options.trials:.0f} s", ""],
    ]
    return {**ran.found(), "seconds_a_trial": each, "extrapolated_s": each * options.trials}, rows


def trivial(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    ran = run_sweep(_space("trivial", TRIVIAL, options.trivial_trials, 2), place / "trivial")
    rate, whole = 60 * ran.trials / ran.training_s, 60 * ran.trials / ran.wall_s
    at = {share: ran.memory(share) for share in (0.25, 0.5, 1.0)}
    growth = (at[1.0] - at[0.25]) / (0.75 * ran.trials) * 1000  # kB a trial
    rows = [
        [f"{ran.trials:,} trials of 2 steps: trials a minute", f"{rate:,.0f}", ">= 1,000"],
        ["  with start and end of the command", f"{whole:,.0f}", ""],
        ["  CPU of the driver", f"{1000 * ran.driver_cpu_s / ran.trials:.1f} ms a trial", ""],
        ["  driver's memory at 25, 50, 100 %", ", ".join(f"{mb:.0f} MB" for mb in at.values()), ""],
        ["  growth", f"{growth:.1f} kB a trial", ""],
    ]
    return {**ran.found(), "per_minute": rate, "memory_mb": at, "kb_a_trial": growth}, rows


PARTS = {"fused": fused, "process": process, "trivial": trivial}


def run_sweep(space: str, out: Path) -> Ran:
    """`grokray sweep` in a process of its own, looked at from outside and through its journal."""
    path = out.with_suffix(".yaml")
    path.write_text(space)
    start = time.time()
    command = [sys.executable, "-m", "grokray", "sweep", str(path), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
        watch = _Watch(driver.pid, out, start)
        watch.start()
        status = driver.wait()
    watch.join()
    if status:
        raise SystemExit(f"grokray sweep {path} ended with {status}")
    times = _times(out)
    return Ran(
        wall_s=time.time() - start,
        trials=len(times["end"]),
        first_start_s=min(times["start"]) - start,
        first_measurement_s=min(times["measurement"]) - start,
        last_end_s=max(times["end"]) - start,
        looks=watch.looks,
    )


def run_bare(parameters: dict[str, Any], trials: int, steps: int, place: Path) -> dict[str, float]:
    """The same trials without Ray: a one-thread process for each core, and nothing written down."""
    from grokray.sweep.engines import ENVIRONMENT

    engines = os.cpu_count() or 1
    start = time.time()
    processes = []
    for number in range(engines):
        job = {"parameters": {**parameters, **_common(steps)}, "seeds": list(range(trials))[number::engines]}
        command = [sys.executable, __file__, "--bare", json.dumps(job), str(place / f"bare{number}.json")]
        processes.append(subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}))
    if any([process.wait() for process in processes]):
        raise SystemExit("the bare engine failed")
    found = [json.loads((place / f"bare{number}.json").read_text()) for number in range(engines)]
    return {
        "wall_s": time.time() - start,
        "training_s": max(f["end"] for f in found) - min(f["start"] for f in found),
        "cpu_s": sum(f["cpu_s"] for f in found),
    }


def bare(job: dict[str, Any]) -> dict[str, float]:
    """The worker of `run_bare`: seats as many as the sweep would, and one more whenever one has ended."""
    import torch

    from grokray.engine.engine import Engine
    from grokray.tasks.resolve import resolve

    torch.set_num_threads(1)
    start, cpu = time.time(), time.process_time()
    engine, left = Engine(compile="off"), iter(job["seeds"])
    while True:
        for seed in itertools.islice(left, SLOTS - len(engine.trials)):
            engine.join(str(seed), resolve({**job["parameters"], "seed": seed}))
        if not engine.trials:
            return {"start": start, "end": time.time(), "cpu_s": time.process_time() - cpu}
        engine.next()


class _Watch(threading.Thread):
    """Looks at the driver while it lives, at the processes below it, and at how many trials it says have ended."""

    def __init__(self, pid: int, out: Path, start: float) -> None:
        super().__init__(daemon=True)
        self.pid, self.out, self.start_time = pid, out, start
        self.looks: list[Look] = []
        self._ended, self._read = 0, 0
        self._cpu_s: dict[int, float] = {}  # of each process ever seen

    def run(self) -> None:
        while (resident := _resident_mb(self.pid)) is not None:
            parents = _processes()
            self._cpu_s |= {pid: cpu for pid, (_, cpu) in parents.items() if self._is_below(pid, parents)}
            look = Look(
                t=time.time() - self.start_time,
                ended=self._count_ended(),
                resident_mb=resident,
                driver_cpu_s=self._cpu_s.get(self.pid, 0.0),
                cpu_s=sum(self._cpu_s.values()),
            )
            self.looks.append(look)
            time.sleep(LOOK_S)

    def _is_below(self, pid: int, processes: dict[int, tuple[int, float]]) -> bool:
        while pid != self.pid and pid in processes:
            pid = processes[pid][0]
        return pid == self.pid

    def _count_ended(self) -> int:
        for part in self.out.glob("journal/driver-*.jsonl"):
            with part.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._ended += new.count(b'"event":"end"')
            self._read += len(new)
        return self._ended


def _resident_mb(pid: int) -> float | None:
    """None once it has ended, waited for or not."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000 if "VmRSS" in status else None


def _processes() -> dict[int, tuple[int, float]]:
    """Of every process its parent and its CPU time in seconds."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found[int(folder.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    return found


def _times(out: Path) -> dict[str, list[float]]:
    """Unix seconds of each kind of event."""
    from grokray.records.folder import SweepFolder

    times: dict[str, list[float]] = {}
    for chunk in SweepFolder.open(out).reader().chunks():
        for event in chunk:
            times.setdefault(event["event"], []).append(event["t"])
    return times


def _common(steps: int) -> dict[str, Any]:
    """Trials that all run to their budget, so that both train the same number of steps."""
    return {"num_steps": steps, "eval_interval": EVAL_INTERVAL, "sustain": 1_000_000}


def _space(name: str, parameters: dict[str, Any], trials: int, steps: int, more: str = "") -> str:
    lines = "".join(f"  {key}: {{value: {value}}}\n" for key, value in parameters.items())
    common = _common(steps)
    return (
        f"name: {name}\nmethod: grid\nseeds: {trials}\nparameters:\n{lines}  num_steps: {{value: {steps}}}\n"
        f"trial: {{eval_interval: {EVAL_INTERVAL}, sustain: {common['sustain']}}}\n"
        f"compile: 'off'\ndevice: cpu\n{more}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter trials")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--trials", type=int, help="of fused; default 256")
    parser.add_argument("--steps", type=int, help="of each of them; default 500")
    parser.add_argument("--rounds", type=int, help="of fused; default 2")
    parser.add_argument("--process-trials", type=int, help="default 6")
    parser.add_argument("--trivial-trials", type=int, help="default 1,000")
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        Path(options.bare[1]).write_text(json.dumps(bare(json.loads(options.bare[0]))))
        sys.exit()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"--parts names {unknown[0]}, but must be of {', '.join(PARTS)}")
    full = {"trials": 256, "steps": 500, "rounds": 2, "process_trials": 6, "trivial_trials": 1000}
    quick = {"trials": 64, "steps": 300, "rounds": 1, "process_trials": 2, "trivial_trials": 200}
    for name, default in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    return options


if __name__ == "__main__":
    main()
