"""What a sweep through Ray Tune costs beyond the engine itself: time, trials a minute, the driver's memory.

python benchmarks/sweep.py            (about six minutes on two quiet cores; --quick takes one)
python benchmarks/sweep.py --memory   (that of the driver over 10,000 trials, about four minutes)

1. `fused`: trials through `grokray sweep`, against the bare engine that trains the same ones in as many one-thread
   processes as there are engines, by turns. "training" is from the first trial's start to the last one's end, "all" is
   the whole command, with the start of Python, torch and Ray, and the tables. CPU time of all processes stands beside
   the wall time: where all cores are busy both ratios are alike, and other people's load spoils only one of them.
2. `process`: the same trials each in a process of its own, as many at a time as there are cores. A run of a few and a
   run of some more; what one more trial takes is the difference, without the start, and is extrapolated.
3. `trivial`: trials of two steps, so that all the time is the driver's.
4. `memory`, only where asked for: many of them, and the driver's resident memory at each thousand.

Results go to benchmarks/results/sweep-cpu.json; of what is not run, those of the last time are kept.
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
import time
from pathlib import Path
from typing import Any

import harness
from watched import Ran, run_sweep

SMALL = {"operation": "x+y_mod", "modulus": 13, "num_layers": 1, "dim_model": 16, "num_heads": 2, "batch_size": 64}
TRIVIAL = {"operation": "x+y_mod", "modulus": 5, "num_layers": 1, "dim_model": 4, "num_heads": 1, "batch_size": 8}
CORES = os.cpu_count() or 1
SLOTS = 20  # of an engine: what `cpu: 0.05` makes
EVAL_INTERVAL = 100
PROCESS_LIMIT_S = 300.0  # each process takes some six CPU-seconds before it trains: minutes, where cores are shared
TARGETS = {
    "fused over bare, training": "<= 1.10",
    "trivial trials a minute": ">= 1,000",
    "to the first measurement": "<= 15 s",
}


def main() -> None:
    options = _options()
    rows: list[list[str]] = []
    results: dict[str, Any] = {**_before(), "targets": TARGETS}
    with tempfile.TemporaryDirectory(prefix="grokray-benchmark-") as place:
        for part in options.parts:
            print(f"{part} …", flush=True)
            found, more = PARTS[part](options, Path(place))
            results[part] = {"quick": options.quick, "load": os.getloadavg()[0], **found}
            rows += more
    print(harness.table(["", "value", "target"], rows))
    print(f"\nwritten to {harness.write('sweep-cpu', results)}")


def _before() -> dict[str, Any]:
    path = harness.RESULTS / "sweep-cpu.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    return {part: found for part, found in known.items() if part in PARTS}


def fused(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """The same trials, by turns: through Ray, and on the bare engine."""
    space = _space("small", SMALL, options.trials, options.steps)
    sweeps, bares = [], []
    for turn in range(options.rounds):
        bares.append(run_bare(SMALL, options.trials, options.steps, place))
        sweeps.append(run_sweep(space, place / f"fused{turn}", seats=CORES * SLOTS))
    training = [s.training_s / b["training_s"] for s, b in zip(sweeps, bares, strict=True)]
    cpu = [s.training_cpu_s / b["cpu_s"] for s, b in zip(sweeps, bares, strict=True)]
    whole = [s.wall_s / b["wall_s"] for s, b in zip(sweeps, bares, strict=True)]
    work = options.trials * options.steps
    sweep_s = statistics.median(s.training_s for s in sweeps)
    bare_s = statistics.median(b["training_s"] for b in bares)
    first = statistics.median(s.first_measurement_s for s in sweeps)
    seats = statistics.median(s.seats_taken for s in sweeps)
    rows = [
        [f"{options.trials} trials of {options.steps:,} steps, sweep: training", f"{sweep_s:.1f} s", ""],
        ["  the bare engine: training", f"{bare_s:.1f} s ({work / bare_s:,.0f} trial-steps/s)", ""],
        ["  sweep / bare, training", f"{statistics.median(training):.3f} ({_range(training)})", "<= 1.10"],
        ["  sweep / bare, training, CPU time", f"{statistics.median(cpu):.3f} ({_range(cpu)})", "<= 1.10"],
        ["  sweep, all", f"{statistics.median(s.wall_s for s in sweeps):.1f} s", ""],
        ["  sweep / bare, all", f"{statistics.median(whole):.3f}", ""],
        ["  the driver's CPU time", f"{statistics.median(s.driver_cpu_s for s in sweeps):.1f} s", ""],
        ["  seats taken while somebody was to come", f"{seats:.1f} of {CORES * SLOTS}", ""],
        ["  from the command to the first measurement", f"{first:.1f} s", "<= 15 s"],
    ]
    ratios = {"training_ratios": training, "training_cpu_ratios": cpu, "whole_ratios": whole}
    found = {"trials": options.trials, "steps": options.steps, **ratios}
    return {**found, "sweeps": [s.found() for s in sweeps], "bare": bares}, rows


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def process(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """Two runs, and what one more trial takes: the difference."""
    few, many = CORES, CORES * (1 + options.process_waves)
    ran = {}
    for trials in (few, many):
        space = _space("process", SMALL, trials, options.steps, "execution: process\nresources: {cpu: 1}\n")
        ran[trials] = run_sweep(space, place / f"process{trials}", limit_s=PROCESS_LIMIT_S)
    more = ran[many].trials - ran[few].trials
    if ran[few].cut_short or more <= 0:
        line = f"not more than {ran[few].trials} ended within {PROCESS_LIMIT_S:.0f} s"
        return {"runs": [r.found() for r in ran.values()]}, [["trials in processes of their own", line, ""]]
    wall_s = (ran[many].last_end_s - ran[few].last_end_s) / more
    cpu_s = (_cpu_to_the_end(ran[many]) - _cpu_to_the_end(ran[few])) / more
    rows = [
        [f"one more trial in a process of its own ({few} and {ran[many].trials} were run)", f"{wall_s:.1f} s", ""],
        ["  CPU time", f"{cpu_s:.1f} s", ""],
        [f"  so {options.trials} of them", f"{wall_s * options.trials:.0f} s", ""],
        [f"  were all {CORES} cores theirs alone", f"{cpu_s * options.trials / CORES:.0f} s", ""],
    ]
    return {"runs": [r.found() for r in ran.values()], "s_a_trial": wall_s, "cpu_s_a_trial": cpu_s}, rows


def _cpu_to_the_end(ran: Ran) -> float:
    return ran.at(ran.last_end_s).cpu_s


def trivial(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    ran = run_sweep(_space("trivial", TRIVIAL, options.trivial_trials, 2), place / "trivial")
    rate, whole = 60 * ran.trials / ran.training_s, 60 * ran.trials / ran.wall_s
    driver_ms = 1000 * ran.driver_cpu_s / ran.trials
    rows = [
        [f"{ran.trials:,} trials of 2 steps: trials a minute", f"{rate:,.0f}", ">= 1,000"],
        ["  with start and end of the command", f"{whole:,.0f}", ""],
        ["  CPU of the driver", f"{driver_ms:.1f} ms a trial", ""],
        ["  the driver's memory at the end", f"{ran.memory_mb(ran.trials):.0f} MB", ""],
    ]
    return {**ran.found(), "per_minute": rate, "driver_ms_a_trial": driver_ms}, rows


def memory(options: argparse.Namespace, place: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """The driver's, at each thousand trials; the growth is that of the second half, when all is warm."""
    ran = run_sweep(_space("memory", TRIVIAL, options.memory_trials, 2), place / "memory", limit_s=3600)
    at = {ended: ran.memory_mb(ended) for ended in range(1000, ran.trials + 1, 1000)}
    half = ran.trials // 2
    growth = (ran.memory_mb(ran.trials) - ran.memory_mb(half)) / (ran.trials - half) * 1000
    rows = [[f"driver's memory after {ended:,} trials", f"{mb:.0f} MB", ""] for ended, mb in at.items()]
    rows += [["  growth in the second half", f"{growth:.2f} MB per 1,000 trials", ""]]
    return {**ran.found(), "memory_mb": at, "mb_per_1000_trials": growth}, rows


PARTS = {"fused": fused, "process": process, "trivial": trivial, "memory": memory}


def run_bare(parameters: dict[str, Any], trials: int, steps: int, place: Path) -> dict[str, float]:
    """The same trials without Ray: a one-thread process for each core, and nothing written down."""
    from grokray.sweep.ray_start import ENVIRONMENT

    start = time.time()
    processes = []
    for number in range(CORES):
        job = {"parameters": {**parameters, **_common(steps)}, "seeds": list(range(trials))[number::CORES]}
        command = [sys.executable, __file__, "--bare", json.dumps(job), str(place / f"bare{number}.json")]
        processes.append(subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}))
    if any([process.wait() for process in processes]):
        raise SystemExit("the bare engine failed")
    found = [json.loads((place / f"bare{number}.json").read_text()) for number in range(CORES)]
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
    parser.add_argument("--parts", type=lambda text: text.split(","), help=",".join(PARTS))
    parser.add_argument("--memory", action="store_true", help="only the driver's memory over many trials")
    parser.add_argument("--trials", type=int, help="of fused; default 256")
    parser.add_argument("--steps", type=int, help="of each of them; default 500")
    parser.add_argument("--rounds", type=int, help="of fused; default 5")
    parser.add_argument("--process-waves", type=int, help="of trials on all cores, after the first; default 2")
    parser.add_argument("--trivial-trials", type=int, help="default 1,000")
    parser.add_argument("--memory-trials", type=int, help="default 10,000")
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        Path(options.bare[1]).write_text(json.dumps(bare(json.loads(options.bare[0]))))
        sys.exit()
    if options.parts is None:
        options.parts = ["memory"] if options.memory else ["fused", "process", "trivial"]
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"--parts names {unknown[0]}, but must be of {', '.join(PARTS)}")
    full = {"trials": 256, "steps": 500, "rounds": 5, "process_waves": 2, "trivial_trials": 1000}
    quick = {"trials": 64, "steps": 300, "rounds": 1, "process_waves": 1, "trivial_trials": 200}
    full["memory_trials"], quick["memory_trials"] = 10_000, 2_000
    for name, default in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    return options


if __name__ == "__main__":
    main()
