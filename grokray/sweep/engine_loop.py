"""A thread that owns a trainer and its line: it trains whenever somebody is seated, and does between turns what it is
asked."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from grokray.sweep.assignment import Report
from grokray.sweep.line import Line

Command = Callable[[Line], Any]


class EngineLoop:
    """`deliver(report)` is called from the loop's thread. `failed(error)` is called if training itself raises: then
    no trial of this engine can go on, and the loop has ended."""

    def __init__(
        self,
        make_line: Callable[[], Line],
        deliver: Callable[[Report], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._make_line, self._deliver, self._failed = make_line, deliver, failed
        self._commands: queue.SimpleQueue[tuple[Command, Future]] = queue.SimpleQueue()
        self._line: Line | None = None
        self._rounds, self._idle = 0, False
        self._seen: tuple[int, int] = (0, 0)
        self._moved = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, command: Command) -> Future:
        """Have the thread call `command(line)` soon; its result, or what it raised."""
        future: Future = Future()
        self._commands.put((command, future))
        return future

    def still_s(self) -> float:
        """So long the thread has neither come round nor done a step, as far as those who ask have seen, though there is
        something to do."""
        now, seen = time.monotonic(), (self._rounds, 0 if self._line is None else self._line.trainer.seated_steps)
        if self._idle or seen != self._seen:
            self._seen, self._moved = seen, now
        return now - self._moved

    def place(self) -> str:
        """Where the thread is: the innermost line of grokray's own, such as `store_local.py:88`."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        while frame is not None and not frame.f_globals.get("__name__", "").startswith("grokray."):
            frame = frame.f_back
        return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"

    def _run(self) -> None:
        try:
            line = self._line = self._make_line()
            while True:
                self._obey(line, wait=not line.busy)
                for report in line.turn(self._come_round):
                    self._deliver(report)
        except BaseException as error:  # whatever it is, the tenants must not wait for ever
            self._failed(error)

    def _come_round(self) -> bool:
        """Between turns: whether a command waits."""
        self._rounds += 1
        return not self._commands.empty()

    def _obey(self, line: Line, *, wait: bool) -> None:
        while wait or not self._commands.empty():
            self._idle = wait
            command, future = self._commands.get()
            self._rounds, self._idle = self._rounds + 1, False
            try:
                future.set_result(command(line))
            except Exception as error:
                future.set_exception(error)
            wait = False
