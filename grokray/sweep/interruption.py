"""An end that loses nothing, for who presses Ctrl-C, and for a machine or a terminal that goes away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NoReturn

from grokray.errors import INTERRUPTED

_HANGUP = signal.SIGHUP  # a terminal, or an ssh connection, was closed
_ECHO_S = 0.5
_SHOW_CURSOR = b"\n\x1b[?25h"
_asked = threading.Event()


def remember_and_raise(number: int, frame: object) -> NoReturn:
    """As Python's own handler of Ctrl-C, but should the exception be lost, the next `interruptible` knows."""
    _asked.set()
    raise KeyboardInterrupt


def forget() -> None:
    """What was asked of an earlier command."""
    _asked.clear()


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP calls `stop`; the second ends the process at once.

    A signal that is ignored, as SIGHUP under nohup, remains so. Without effect outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received, first = 0, 0.0

    def handle(number: int, frame: object) -> None:
        nonlocal received, first
        # Who closes a terminal may be heard twice, by the shell and by the terminal; nobody asks twice by that.
        if number == _HANGUP and received:
            return
        # `timeout` sends its signal to the command, and at once to its group.
        if number == signal.SIGTERM and received and time.monotonic() - first < _ECHO_S:
            return
        first = first or time.monotonic()
        received += 1
        if received > 1:
            end_at_once(INTERRUPTED, "interrupted")
        stop()

    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM, _HANGUP):
            if number != _HANGUP or signal.getsignal(number) is not signal.SIG_IGN:
                stack.callback(signal.signal, number, signal.signal(number, handle))
        if _asked.is_set():
            stop()
        yield


@contextmanager
def to_its_end() -> Iterator[None]:
    """For what must not be left half done: the first signal is a KeyboardInterrupt at the end of it."""
    was_asked, asked = _asked.is_set(), threading.Event()
    forget()
    try:
        with interruptible(asked.set):
            yield
    finally:
        if was_asked:
            _asked.set()
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def stopping_together(processes: Callable[[], Iterable[int]]) -> Iterator[None]:
    """While this holds, a Ctrl-Z that stops this process stops those as well, until it goes on: they are out of the
    terminal's reach. A group of them is its negative id. Without effect outside of the main thread, or where the signal
    means something else."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTSTP) != signal.SIG_DFL:
        yield
        return

    def handle(number: int, frame: object) -> None:
        stopped = list(processes())
        _send(signal.SIGSTOP, stopped)
        _show_cursor()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # until somebody sends SIGCONT
        signal.signal(signal.SIGTSTP, handle)
        _send(signal.SIGCONT, stopped)

    signal.signal(signal.SIGTSTP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def _send(number: int, processes: Iterable[int]) -> None:
    for process in processes:
        with suppress(OSError):  # it may have ended
            os.kill(process, number)


def _show_cursor() -> None:
    if os.isatty(1):
        os.write(1, _SHOW_CURSOR)


def end_at_once(code: int, *last_words: str) -> NoReturn:
    """End the process wherever it is. Who draws a picture in a terminal, without a cursor, does not get to its end."""
    with suppress(OSError):  # nobody may be there any more
        _show_cursor()
        os.write(2, "".join(f"{line}\n" for line in last_words).encode())
    os._exit(code)
