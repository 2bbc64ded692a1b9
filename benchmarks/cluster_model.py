"""Where the driver of a sweep saturates: thousands of engines that train nothing, and everything else real.

python benchmarks/cluster_model.py            (about 18 minutes; --quick takes three)

Each case is a sweep in a process of its own: so many engines of 20 seats, so many trials, two rungs or none. A fake
trial waits about a second (`--hold`) before each report, and writes ten measurements to the journal in between. A case
ends when its sweep has ended or its time is up; what is printed is of the time after the seats were filled, or half of
it:

trials/min      that ended
reports/s       decisions at rungs and ends together, which is what a trial costs the driver
ms a report     of the driver's CPU time
live            trials that had a seat, at most
MiB             the driver's resident memory, and how much of it each thousand trials added

`needs` says how many trial-steps per second of training saturate the driver, if a trial takes 20,000 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import harness

SLOTS = 20
STEPS_OF_A_TRIAL = 20_000
SPACE = """
name: model
method: random
num_trials: {trials}
seeds: [0]
parameters:
  operation: {{value: x+y_mod}}
  modulus: {{value: 97}}
  weight_decay: {{distribution: log_uniform_values, min: 0.01, max: 3}}
  dropout: {{min: 0.0, max: 0.4}}
  training_fraction: {{min: 0.2, max: 0.8}}
  num_steps: {{value: 20000}}
trial: {{threshold: 1.0, sustain: 1000}}
scheduler: {scheduler}
resources: {{cpu: 0.05}}
"""
RUNGS = "{type: asha, grace_period: 2000, reduction_factor: 3, metric: heldout_loss, audit_fraction: 0}"


def main() -> None:
    options = _options()
    if options.case:
        print(json.dumps(run_case(**json.loads(options.case))))
        return
    cases = [
        {"engines": engines, "trials": trials, "rungs": rungs, "seconds": options.seconds, "hold_s": options.hold}
        for rungs, of in ((True, options.trials), (False, options.trials[1:2]))
        for engines in options.engines
        for trials in of
    ]
    rows = []
    for case in cases:
        print(f"{case['engines']:,} engines, {case['trials']:,} trials, {_word(case)} …", flush=True)
        rows.append({**case, **_apart(case)})
        path = harness.write("cluster-model", {"slots": SLOTS, "cases": rows})  # after each, lest the last one fail
    print(harness.table(HEADER, [_row(row) for row in rows]))
    print(f"\nwritten to {path}")


def run_case(*, engines: int, trials: int, rungs: bool, seconds: float, hold_s: float = 1.0) -> dict[str, Any]:
    """One sweep in this process."""
    from fleet import FleetPool, Pace

    from grokray.sweep import engines as of_engines
    from grokray.sweep import runner
    from grokray.sweep.load import load_text
    from grokray.sweep.placement import EngineSpec

    config = load_text(SPACE.format(trials=trials, scheduler=RUNGS if rungs else "{type: fifo}"), "model.yaml", "sweep")
    spec = EngineSpec(count=engines, slots=SLOTS, line=SLOTS, elastic=True)
    FleetPool.pace = Pace(hold_s=hold_s)
    samples: list[dict[str, float]] = []
    started = time.monotonic()

    def look(progress: Any) -> None:
        samples.append(
            {
                "t": time.monotonic() - started,
                "cpu": time.process_time(),
                "ended": progress.ended,
                "live": progress.running,
                "mib": _resident_mib(),
            }
        )
        if time.monotonic() - started > seconds:
            signal.raise_signal(signal.SIGINT)

    with (
        tempfile.TemporaryDirectory(prefix="grokray-model-") as place,
        mock.patch.object(of_engines, "EnginePool", FleetPool),
        mock.patch.object(runner, "engine_spec", return_value=spec),
    ):
        result = runner.run_sweep(config, Path(place) / "out", observer=runner.Observer(progress=look))
        reports = _reports(Path(place) / "out")
    return {**_summary(samples, reports, engines * SLOTS), "whole": not result.interrupted}


def _reports(out: Path) -> list[float]:
    """When each report was dealt with, by the driver's part of the journal, in unix seconds."""
    found = []
    for part in (out / "journal").glob("driver-*.jsonl"):
        for line in part.read_text().splitlines():
            event = json.loads(line)
            if event["event"] in ("decision", "end"):
                found.append(event["t"])
    return sorted(found)


def _summary(samples: list[dict[str, float]], reports: list[float], seats: int) -> dict[str, Any]:
    full = next((i for i, s in enumerate(samples) if s["live"] >= 0.9 * seats), len(samples) // 2)
    begin, end = samples[min(full, len(samples) // 2)], samples[-1]
    wall, cpu = end["t"] - begin["t"], end["cpu"] - begin["cpu"]
    offset = reports[-1] - end["t"]  # of the two clocks, to within a tick
    counted = sum(begin["t"] < t - offset <= end["t"] for t in reports)
    ended = end["ended"] - begin["ended"]
    return {
        "trials_per_minute": round(60 * ended / wall),
        "reports_per_second": round(counted / wall, 1),
        "ms_per_report": round(1000 * cpu / max(counted, 1), 2),
        "live": max(s["live"] for s in samples),
        "mib": round(end["mib"]),
        "mib_per_thousand": round(1000 * (end["mib"] - begin["mib"]) / max(ended, 1), 1),
        "ended": end["ended"],
        "seconds": round(end["t"]),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


HEADER = [
    "engines",
    "trials",
    "",
    "ended",
    "trials/min",
    "reports/s",
    "ms a report",
    "live",
    "MiB",
    "+MiB/1,000",
    "needs",
]


def _row(row: dict[str, Any]) -> list[str]:
    needs = row["trials_per_minute"] / 60 * STEPS_OF_A_TRIAL
    return [
        f"{row['engines']:,}",
        f"{row['trials']:,}",
        _word(row),
        f"{row['ended']:,}" + ("" if row["whole"] else " …"),
        f"{row['trials_per_minute']:,}",
        f"{row['reports_per_second']:,}",
        f"{row['ms_per_report']}",
        f"{row['live']:,}",
        f"{row['mib']:,}",
        f"{row['mib_per_thousand']}",
        f"{needs:,.0f} steps/s" if not row["rungs"] else "",
    ]


def _word(case: dict[str, Any]) -> str:
    return "asha" if case["rungs"] else "fifo"


def _apart(case: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, nargs="+", default=[10, 100, 1000], metavar="N")
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000], metavar="N")
    parser.add_argument("--seconds", type=float, default=75.0, help="of a case, at most")
    parser.add_argument("--hold", type=float, default=1.0, help="seconds that a fake trial takes from report to report")
    parser.add_argument("--quick", action="store_true", help="fewer cases, a third of the time each")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.engines, options.trials, options.seconds = [10, 1000], [1_000, 10_000], 25.0
    return options


if __name__ == "__main__":
    main()
