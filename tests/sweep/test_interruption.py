"""Signals that ask for an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from grokray.cli.ending import ending_as_by_ctrl_c
from grokray.sweep.interruption import interruptible, to_its_end

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def heard():
    """As in a new process in a terminal: whoever runs the tests may have SIGHUP ignored, a shell's `&` SIGINT, and Ray,
    once it has run in a process, leaves a handler of SIGTERM."""
    fresh = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    was = {number: signal.signal(number, handler) for number, handler in fresh.items()}
    yield
    for number, handler in was.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_the_first_signal_asks_for_an_end_and_afterwards_all_is_as_it_was(number):
    before, stopped = [signal.getsignal(n) for n in ALL], threading.Event()
    with interruptible(stopped.set):
        os.kill(os.getpid(), number)
        assert stopped.wait(5)
    assert [signal.getsignal(n) for n in ALL] == before


def test_an_ignored_hangup_remains_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptible(lambda: pytest.fail("it was to be ignored")):
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGHUP, signal.SIGINT, 130),
        (signal.SIGHUP, signal.SIGHUP, 0),  # a closed terminal may send two
        (signal.SIGINT, signal.SIGHUP, 0),
        (signal.SIGTERM, signal.SIGTERM, 0),  # so does `timeout`
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
def test_the_second_signal_ends_the_process_at_once_unless_it_is_an_echo(first, second, code):
    script = (
        "import os, signal; from grokray.sweep.interruption import interruptible\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "with interruptible(lambda: None):\n"
        f"    os.kill(os.getpid(), {first:d}); os.kill(os.getpid(), {second:d})\n"
        "    for _ in range(1000): pass\n"
    )
    process = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert (process.returncode, process.stderr) == (code, "interrupted\n" if code else "")


def test_the_second_signal_gives_a_terminal_its_cursor_back():
    ours, theirs = os.openpty()
    script = (
        "import os; from grokray.sweep.interruption import interruptible\n"
        "with interruptible(lambda: os.write(1, b'picture')):\n"
        "    os.kill(os.getpid(), 2); os.kill(os.getpid(), 2)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], stdout=theirs).returncode == 130
    os.close(theirs)
    assert os.read(ours, 100).endswith(b"\x1b[?25h")
    os.close(ours)


@pytest.mark.parametrize("number", ALL)
def test_what_was_asked_before_and_lost_in_a_library_is_not_forgotten(number):
    stopped = []
    with ending_as_by_ctrl_c():
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with interruptible(lambda: stopped.append(number)):
            assert stopped == [number]
    with interruptible(lambda: pytest.fail("that was the command before")):
        pass
    with ending_as_by_ctrl_c(), interruptible(lambda: pytest.fail("that was the command before")):
        pass


def test_what_must_not_be_left_half_done_ends_before_a_signal_is_heard():
    done = []

    def act():
        with to_its_end():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        act()
    assert done == [1]
    with ending_as_by_ctrl_c():
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with to_its_end():
            pass  # what was asked before is another's to hear
        stopped = threading.Event()
        with interruptible(stopped.set):
            assert stopped.is_set()


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with interruptible(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_stopped_process_stops_others_with_it_until_it_goes_on():
    script = (
        "import os, subprocess, sys; from grokray.sweep.interruption import stopping_together\n"
        "other = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "with stopping_together(lambda: [other.pid, 2**22 + 1]):\n"
        "    print(other.pid, flush=True); sys.stdin.readline()\n"
        "other.kill()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        both = (process.pid, int(process.stdout.readline()))
        for _ in range(2):
            process.send_signal(signal.SIGTSTP)
            wait_for(lambda: [state_of(pid) for pid in both] == ["T", "T"])
            process.send_signal(signal.SIGCONT)
            wait_for(lambda: "T" not in [state_of(pid) for pid in both])
        process.communicate("\n", timeout=20)
    assert process.returncode == 0


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
