"""How long `grokray analyze` and `grokray report` take for a large sweep, and how much memory.

python benchmarks/analysis.py --trials 100000      (2 minutes and 4 GB on two cores is the limit that it is held to)

The sweep is synthetic (`synthetic.py`): Parquet of so many trials of up to 200 measurements. Each command runs in
a process of its own, in turns, as often as --rounds says; each finding is timed by itself in one more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path
from typing import Any

from grokray.records.folder import SweepFolder

LIMIT_S, LIMIT_GB = 120.0, 4.0
COMMANDS = {
    "analyze": "from grokray.cli.main import main; main(['analyze', {path!r}, '--json', '--out', {out!r}])",
    "report": "from grokray.cli.main import main; main(['report', {path!r}, '--out', {out!r} + '/report.html'])",
    "phases anew": "import grokray; grokray.load({path!r}).phases(threshold=0.95, sustain=2)",
    "findings": (
        "import json, time, grokray, grokray.analysis.analysis as m; "
        "t = time.process_time(); a = grokray.load({path!r}); found = {{'load': time.process_time() - t}}\n"
        "for name in m.FINDINGS:\n"
        "    t = time.process_time(); getattr(a, name)(); found[name] = time.process_time() - t\n"
        "json.dump(found, open({out!r} + '/findings.json', 'w'))"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--interval", type=int, default=100, help="steps between two measurements, of 20,000")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grokray-analysis-") as place:
        # In a process of its own: a child's peak memory counts what its parent holds when it starts.
        maker = Process(target=_make, args=(Path(place) / "sweep", options.trials, options.interval))
        maker.start()
        maker.join()
        sweep = SweepFolder.open(Path(place) / "sweep")
        manifest = json.loads(sweep.store.read_bytes("manifest.json"))
        rows = sum(file["rows"] for file in manifest["files"] if file["name"].startswith("curves"))
        size = sum(file["bytes"] for file in manifest["files"]) / 1e6
        print(f"{options.trials:,} trials, {rows:,} measurements, {size:,.0f} MB of Parquet")
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS if name != "findings"}
        for _ in range(options.rounds):
            for name, found in runs.items():
                found.append(_run(name, sweep.store.local_path(), Path(place)))
        _run("findings", sweep.store.local_path(), Path(place))
        findings = json.loads((Path(place) / "findings.json").read_text())
        page = (Path(place) / "report.html").stat().st_size
    result = {"trials": options.trials, "measurements": rows, "rounds": options.rounds, "page_bytes": page}
    result |= {"commands": {name: _medians(found) for name, found in runs.items()}, "findings_cpu_s": findings}
    for name, found in result["commands"].items():
        print(f"{name:12} {found['cpu_s']:7.1f} CPU-s {found['wall_s']:7.1f} s {found['peak_gb']:6.2f} GB at most")
    print("of these, CPU-s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in findings.items()))
    print(f"the page has {page / 1e3:,.0f} kB")
    within = all(r["cpu_s"] < 2 * LIMIT_S and r["peak_gb"] < LIMIT_GB for r in result["commands"].values())
    print("within the limit" if within else f"beyond the limit of {LIMIT_S:.0f} s on two cores and {LIMIT_GB:.0f} GB")
    import harness  # loads torch, which would count as a child's memory

    print(f"written to {harness.write('analysis', result)}")


def _make(path: Path, trials: int, interval: int) -> None:
    from synthetic import make_sweep

    make_sweep(path, trials, interval=interval)


def _run(name: str, sweep: Path, out: Path) -> dict[str, float]:
    code = COMMANDS[name].format(path=str(sweep), out=str(out))
    start = time.perf_counter()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    # The memory and the time of this child alone.
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{name} failed with status {status}")
    seconds = used.ru_utime + used.ru_stime
    return {"cpu_s": seconds, "wall_s": time.perf_counter() - start, "peak_gb": used.ru_maxrss * 1024 / 1e9}


def _medians(found: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(statistics.median(run[name] for run in found), 3) for name in found[0]}


if __name__ == "__main__":
    main()
