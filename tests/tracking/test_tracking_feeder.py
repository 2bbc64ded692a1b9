"""A slow, failing or hanging tracker costs the sweep nothing but a line of warning."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue

import pytest

from grokray.tracking import feeder as feeder_module
from grokray.tracking.base import Event
from grokray.tracking.feeder import Feeder


class Listener:
    def __init__(self, name: str = "listener", delay_s: float = 0.0, fails_at: int | None = None) -> None:
        self.name, self.delay_s, self.fails_at = name, delay_s, fails_at
        self.seen: list[int] = []
        self.written = 0
        self.closed = self.abandoned = False
        self._new: list[int] = []

    def observe(self, event: Event) -> None:
        self._new.append(event["n"])

    def settle(self, *, whole: bool) -> None:
        for n in self._new:
            if n == self.fails_at:
                raise ConnectionError("no route to host\nsecond line")
            time.sleep(self.delay_s)
            self.seen.append(n)
            self.written += 1
        self._new = []

    def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        self.abandoned = True


class Journal:
    def __init__(self) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()

    def poll(self):
        batch = []
        try:
            while True:
                batch.append(self.events.get_nowait())
        except Empty:
            yield batch


@pytest.fixture
def journal():
    return Journal()


def feed(journal, *trackers, said):
    feeder = Feeder(journal.poll, trackers, said.append, interval_s=0.01)
    feeder.start()
    return feeder


def test_everything_is_shown_to_everyone(journal):
    one, two, said = Listener(), Listener(), []
    feeder = feed(journal, one, two, said=said)
    for n in range(50):
        journal.events.put({"n": n})
        time.sleep(0.001)
    feeder.close()
    assert one.seen == two.seen == list(range(50))
    assert one.closed
    assert two.closed
    assert said == []


def test_a_slow_tracker_holds_nobody_up_and_loses_nothing(journal):
    slow, said = Listener(delay_s=0.02), []
    feeder = feed(journal, slow, said=said)
    start = time.monotonic()
    for n in range(40):
        journal.events.put({"n": n})
    assert time.monotonic() - start < 0.2
    feeder.close(give_up_after_s=0.3)  # in all it takes longer, but there are signs of life
    assert slow.seen == list(range(40))
    assert said == []


def test_a_failing_tracker_is_given_up_with_one_line(journal):
    bad, good, said = Listener("bad", fails_at=3), Listener("good"), []
    feeder = feed(journal, bad, good, said=said)
    for n in range(10):
        journal.events.put({"n": n})
        time.sleep(0.02)
    feeder.close()
    assert good.seen == list(range(10))
    assert good.closed
    assert (bad.seen, bad.abandoned, bad.closed) == ([0, 1, 2], True, False)
    (line,) = said
    assert line == (
        "warning: bad is given up for now: ConnectionError: no route to host; "
        "run the same command again to write what is missing"
    )


def test_a_hanging_tracker_is_left_behind(journal):
    released = threading.Event()
    hanging, said = Listener("hanging"), []
    hanging.settle = lambda *, whole: released.wait(30)
    feeder = feed(journal, hanging, said=said)
    journal.events.put({"n": 0})
    start = time.monotonic()
    feeder.close(give_up_after_s=0.3)
    assert time.monotonic() - start < 5
    assert [line.split(";")[0] for line in said] == [
        "warning: hanging is given up for now: it has not answered for 0 s"
    ]
    released.set()


def test_ctrl_c_ends_the_waiting_and_nothing_else(journal, monkeypatch):
    released = threading.Event()
    hanging, said = Listener("hanging"), []
    hanging.settle = lambda *, whole: released.wait(30)
    feeder = feed(journal, hanging, said=said)

    def interrupted(timeout):
        raise KeyboardInterrupt

    monkeypatch.setattr(feeder._thread, "join", interrupted)
    feeder.close()
    assert said == ["hanging: the rest is left to the next run of the same command"]
    released.set()


def test_a_journal_that_cannot_be_read_ends_tracking_alone():
    def poll():
        raise OSError("disk on fire")
        yield []

    said = []
    feeder = Feeder(poll, [Listener()], said.append)
    feeder.start()
    feeder.close()
    assert "the journal cannot be read: OSError: disk on fire" in said[0]
    assert len(said) == 1


def test_between_two_readings_of_the_journal_it_waits_and_the_last_one_is_whole():
    calls = []
    listener = Listener()
    listener.settle = lambda *, whole: calls.append(whole)

    def poll():
        calls.append("poll")
        yield [{"n": 0}]

    feeder = Feeder(poll, [listener], lambda text: None, interval_s=60)
    feeder.start()
    time.sleep(0.1)
    assert calls == ["poll", False, True]
    feeder.close()
    assert calls == ["poll", False, True] * 2


def test_that_one_waits_for_a_tracker_is_said_once_and_so_is_one_that_cannot_be_closed(journal, monkeypatch):
    monkeypatch.setattr(feeder_module, "SAY_AFTER_S", 0.0)
    slow, said = Listener("slow", delay_s=0.4), []

    def close():
        raise OSError("disk full.")

    slow.close = close
    journal.events.put({"n": 0})
    feed(journal, slow, said=said).close()
    assert said == [
        "waiting for slow; Ctrl-C leaves the rest to the next run of the same command",
        "warning: slow is given up for now: OSError: disk full; run the same command again to write what is missing",
    ]
