"""`grokray sweep` in a process of its own, looked at from outside: its processes' CPU time, its memory, its journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_S = 0.3  # between two looks at the processes
PATIENCE_S = 60.0  # for one that was interrupted


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
    """One command. Times in seconds since it was started; `trials` are those that ended, all of them unless
    `cut_short`. `seats_taken` is the mean over the time in which there was always somebody to come."""

    wall_s: float
    trials: int
    first_start_s: float
    first_measurement_s: float
    last_end_s: float
    seats_taken: float
    cut_short: bool
    looks: list[Look]

    @property
    def training_s(self) -> float:
        return self.last_end_s - self.first_start_s

    @property
    def training_cpu_s(self) -> float:
        """Of all processes: the driver, Ray's own and the engines."""
        return self.at(self.last_end_s).cpu_s - self.at(self.first_start_s).cpu_s

    @property
    def driver_cpu_s(self) -> float:
        return self.at(self.last_end_s).driver_cpu_s - self.at(self.first_start_s).driver_cpu_s

    def memory_mb(self, ended: int) -> float:
        """The driver's when so many trials had ended, at the first look at which that was so."""
        return next((look for look in self.looks if look.ended >= ended), self.looks[-1]).resident_mb

    def at(self, moment_s: float) -> Look:
        return min(self.looks, key=lambda look: abs(look.t - moment_s))

    def found(self) -> dict[str, Any]:
        """As numbers, the looks left out."""
        names = ("wall_s", "trials", "first_start_s", "first_measurement_s", "last_end_s", "seats_taken", "cut_short")
        more = ("training_s", "training_cpu_s", "driver_cpu_s")
        return {name: getattr(self, name) for name in (*names, *more)}


def run_sweep(space: str, out: Path, *, seats: int = 1, limit_s: float = 900.0) -> Ran:
    """After `limit_s` it is interrupted, and what has ended by then is all there is to see. `seats` of all engines."""
    path = out.with_suffix(".yaml")
    path.write_text(space)
    start, cut_short = time.time(), False
    command = [sys.executable, "-m", "grokray", "sweep", str(path), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
        watch = _Watch(driver.pid, out, start)
        watch.start()
        try:
            status = driver.wait(limit_s)
        except subprocess.TimeoutExpired:
            cut_short, status = True, _interrupt(driver)
    watch.join()
    if status and not cut_short:
        raise SystemExit(f"grokray sweep {path} ended with {status}")
    times, spans = _times(out)
    if not times.get("end"):
        raise SystemExit(f"grokray sweep {path}: no trial ended within {limit_s:.0f} s")
    return Ran(
        wall_s=time.time() - start,
        trials=len(times["end"]),
        first_start_s=min(times["start"]) - start,
        first_measurement_s=min(times["measurement"]) - start,
        last_end_s=max(times["end"]) - start,
        seats_taken=_seats_taken(spans, seats),
        cut_short=cut_short,
        looks=watch.looks,
    )


def _interrupt(driver: subprocess.Popen) -> int:
    driver.send_signal(signal.SIGINT)
    try:
        return driver.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        driver.kill()
        return driver.wait()


def _times(out: Path) -> tuple[dict[str, list[float]], list[tuple[float, float]]]:
    """Unix seconds of each kind of event, and from when to when each trial had its seat."""
    from grokray.records.folder import SweepFolder

    times: dict[str, list[float]] = {}
    started: dict[str, float] = {}
    finished: dict[str, float] = {}
    for chunk in SweepFolder.open(out).reader().chunks():
        for event in chunk:
            times.setdefault(event["event"], []).append(event["t"])
            if event["event"] in ("start", "finish"):
                (started if event["event"] == "start" else finished)[event["trial_id"]] = event["t"]
    return times, [(started[trial], finished[trial]) for trial in finished]


def _seats_taken(spans: list[tuple[float, float]], seats: int) -> float:
    """The mean number of trials in their seats from when all were taken for the first time to the last start."""
    starts = sorted(start for start, _ in spans)
    if len(starts) <= seats:
        return float("nan")
    first, last = starts[seats - 1], starts[-1]
    return sum(max(min(end, last) - max(start, first), 0.0) for start, end in spans) / (last - first)


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
