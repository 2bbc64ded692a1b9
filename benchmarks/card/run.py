"""All parts, one after the other, within a budget; and the results, written whenever there is something new."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness

from card.parts import PARTS
from card.plan import Plan
from card.process import PartProcess

RESERVE_S = 10.0  # for a last part that must be ended (`process.GRACE_S`), and the report


def running_s() -> float:
    """How long this process has run, importing mostly, which from a cold disk takes longer than anything else here; 0
    where that cannot be told."""
    try:
        # Ticks since the system's start, the 22nd field; the name, in brackets, may hold anything.
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        now = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(now - began / os.sysconf("SC_CLK_TCK"), 0.0)


class Run:
    """`results` holds `cases` (case → part → what was found), `left_out` (part → what → why), `part_s` (part →
    seconds), `remarks` (what the package said about itself)."""

    def __init__(self, plan: Plan, *, budget_s: float, name: str, folder: Path, results: dict[str, Any]) -> None:
        self.plan, self.name, self.folder, self.results = plan, name, folder, results
        self._end = time.monotonic() + budget_s - RESERVE_S
        for key in ("cases", "left_out", "part_s"):
            results.setdefault(key, {})
        results.setdefault("remarks", [])

    @property
    def seconds_left(self) -> float:
        return self._end - time.monotonic()

    def parts(self, order: Sequence[tuple[str, str]]) -> None:
        ahead = self._started(order)
        for process in ahead:
            try:
                self._part(process)
            finally:
                process.end()
        self.write()

    def _started(self, order: Sequence[tuple[str, str]]) -> Iterator[PartProcess]:
        """One part's process is started while the one before is at work: importing takes seconds. What has no time
        left is not started."""
        waiting: PartProcess | None = None
        todo = list(order)
        try:
            while todo or waiting:
                current, waiting = waiting or self._start(todo), None
                waiting = self._start(todo)
                if current:
                    yield current
        finally:
            if waiting:
                waiting.end()

    def _start(self, todo: list[tuple[str, str]]) -> PartProcess | None:
        while todo:
            case, part = todo.pop(0)
            if self._fits(case, part):
                return PartProcess(self.plan, case, part)
        return None

    def _fits(self, case: str, part: str) -> bool:
        needs_s = PARTS[part].needs_s * (1.0 if self.plan.compiled else 0.1)  # without compiling all of it is short
        if self.seconds_left >= needs_s:
            return True
        left = max(self.seconds_left, 0)
        self._leave_out(f"{case} {part}", "all of it", f"it takes {needs_s:.0f} s or more, {left:.0f} s were left")
        return False

    def _part(self, process: PartProcess) -> None:
        if not self._fits(process.case, process.part):
            return
        print(f"{process}, {self.seconds_left:.0f} s left", flush=True)
        start, found = time.monotonic(), self.results["cases"].get(process.case, {})
        why = process.run(found, self.seconds_left, lambda message: self._take(process, message))
        if why is not None:
            self._leave_out(f"{process}", "the rest", why)
        self.results["part_s"][f"{process}"] = round(time.monotonic() - start, 1)
        self.write()

    def _take(self, process: PartProcess, message: dict[str, Any]) -> None:
        if "say" in message:
            print(message["say"], flush=True)
        elif "remark" in message:  # printed by whoever made it
            if message["remark"] not in self.results["remarks"]:
                self.results["remarks"].append(message["remark"])
        elif "left_out" in message:
            self._leave_out(f"{process}", message["left_out"], message["why"])
        else:
            at = self.results["cases"].setdefault(process.case, {})
            *path, last = message["put"]
            for name in path:
                at = at.setdefault(name, {})
            at[last] = message["value"]
            self.write()

    def _leave_out(self, part: str, what: str, why: str) -> None:
        self.results["left_out"].setdefault(part, {})[what] = why
        print(f"  left out: {what}: {why}", flush=True)

    def write(self) -> Path:
        return harness.write(self.name, self.results, self.folder)
