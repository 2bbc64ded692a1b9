"""A part's process, seen from the run: started ahead, told to begin, listened to until its time is over."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from workers.pipes import start

from card.parts import PARTS
from card.plan import Plan

GRACE_S = 5.0  # for a part that ends by itself when its time is over


class PartProcess:
    """In a session of its own, so that all that it starts ends with it."""

    def __init__(self, plan: Plan, case: str, part: str) -> None:
        self.case, self.part = case, part
        arguments = (part, case, json.dumps(plan.as_json()))
        self._process = start("card.child", *arguments, own_session=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __str__(self) -> str:
        return f"{self.case} {self.part}"

    def run(self, found: Mapping[str, Any], seconds: float, take: Callable[[dict[str, Any]], None]) -> str | None:
        """Hands each message to `take`. None once the part has ended, or why it did not end well."""
        seconds = min(seconds, PARTS[self.part].at_most_s)
        end = time.monotonic() + seconds + GRACE_S
        self._tell({"seconds": seconds, "found": found})
        while True:
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                return f"ended after {seconds + GRACE_S:.0f} s, unfinished"
            if line is None:
                status = self._process.wait()
                return f"its process ended with status {status}" if status else None
            take(json.loads(line))

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdout, self._process.stdin):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what could no longer be written to it
                    pipe.close()

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: its status says more
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)
