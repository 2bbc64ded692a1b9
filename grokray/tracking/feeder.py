"""Shows the journal to the trackers, in a thread of its own.

The thread reads the journal itself, at its own pace. So the journal is the backlog: a slow tracker lags behind, and
neither holds up the sweep, nor fills the memory, nor loses anything. At the end the sweep waits for it, as long as it
gets on. A tracker that fails is given up with one line of warning; what it has not written it writes when the same
command runs again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from grokray.tracking import THREAD
from grokray.tracking.base import Event, Tracker
from grokray.wording import in_a_line

INTERVAL_S = 1.0
SAY_AFTER_S = 3.0
GIVE_UP_AFTER_S = 120.0  # without a sign of life; W&B's own time limits are below


class Feeder:
    """`poll` gives what was appended to the journal since its last call, in batches, and is called while `due` says so
    (the last time in any case); `say` takes one line of text."""

    def __init__(
        self,
        poll: Callable[[], Iterable[list[Event]]],
        trackers: Sequence[Tracker],
        say: Callable[[str], None],
        *,
        interval_s: float = INTERVAL_S,
        due: Callable[[], bool] = lambda: True,
    ) -> None:
        self.poll, self.say, self.interval_s, self.due = poll, say, interval_s, due
        self.trackers = list(trackers)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, *, give_up_after_s: float = GIVE_UP_AFTER_S) -> None:
        """Show what is left, and wait for it: until Ctrl-C, or until there was no sign of life for so long."""
        self._closing.set()
        try:
            self._wait(give_up_after_s)
        except KeyboardInterrupt:
            self.say(f"{self._names()}: the rest is left to the next run of the same command")

    def _wait(self, give_up_after_s: float) -> None:
        start = alive = time.monotonic()
        said, written = False, self._written()
        while self._thread.is_alive():
            self._thread.join(0.1)
            now = time.monotonic()
            if self._written() != written:
                written, alive = self._written(), now
            if now - alive > give_up_after_s:
                self._warn(self._names(), f"it has not answered for {give_up_after_s:.0f} s")
                return
            if not said and now - start > SAY_AFTER_S and self._thread.is_alive() and self.trackers:
                said = True
                self.say(f"waiting for {self._names()}; Ctrl-C leaves the rest to the next run of the same command")

    def _run(self) -> None:
        closing = False
        while self.trackers and not closing:
            closing = self._closing.is_set()  # before the poll: so the last one sees everything
            try:
                for events in self.poll() if closing or self.due() else ():
                    self._each(lambda tracker, events=events: _show(tracker, events))
            except Exception as error:
                self._warn(self._names(), f"the journal cannot be read: {_reason(error)}")
                return
            self._each(lambda tracker: tracker.settle(whole=True))
            self._closing.wait(0 if closing else self.interval_s)
        for tracker in self.trackers:
            try:
                tracker.close()
            except Exception as error:
                self._warn(tracker.name, _reason(error))

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for tracker in list(self.trackers):
            try:
                do(tracker)
            except Exception as error:  # whatever a tracker does, the sweep goes on
                self.trackers.remove(tracker)
                self._warn(tracker.name, _reason(error))
                with suppress(Exception):
                    tracker.abandon()

    def _warn(self, name: str, reason: str) -> None:
        self.say(f"warning: {name} is given up for now: {reason}; run the same command again to write what is missing")

    def _names(self) -> str:
        return " and ".join(tracker.name for tracker in self.trackers)

    def _written(self) -> int:
        return sum(tracker.written for tracker in self.trackers)


def _show(tracker: Tracker, events: list[Event]) -> None:
    for event in events:
        tracker.observe(event)
    tracker.settle(whole=False)


def _reason(error: Exception) -> str:
    return in_a_line(error).rstrip(".")[:300]
