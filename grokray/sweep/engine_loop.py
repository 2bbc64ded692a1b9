"""A thread that owns a trainer and its line: it trains whenever somebody is seated, and does between turns what it is
asked."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def submit(self, command: Command) -> Future:
        """Have the thread call `command(line)` soon; its result, or what it raised."""
        future: Future = Future()
        self._commands.put((command, future))
        return future

    def _run(self) -> None:
        try:
            line = self._make_line()
            while True:
                self._obey(line, wait=not line.busy)
                for report in line.turn(lambda: not self._commands.empty()):
                    self._deliver(report)
        except BaseException as error:  # whatever it is, the tenants must not wait for ever
            self._failed(error)

    def _obey(self, line: Line, *, wait: bool) -> None:
        while wait or not self._commands.empty():
            command, future = self._commands.get()
            try:
                future.set_result(command(line))
            except Exception as error:
                future.set_exception(error)
            wait = False
