"""Other ways than Ctrl-C to ask a command to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from grokray.sweep.interruption import forget, remember_and_raise
from grokray.tracking import THREAD

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_S = 0.05


@contextmanager
def ending_as_by_ctrl_c() -> Iterator[None]:
    """A SIGTERM, or a terminal that is closed, ends a command as Ctrl-C does, wherever it is.

    A KeyboardInterrupt may be lost in a library that starts or is imported, so a sweep is told of it later too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    was = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    mine = [number for number, handler in was.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    forget()
    for number in mine:
        signal.signal(number, remember_and_raise)
    try:
        with _lost_ones_come_again():
            yield
    finally:
        for number in mine:
            signal.signal(number, was[number])
        forget()  # or a sweep that this process runs later would be interrupted at once


@contextmanager
def _lost_ones_come_again() -> Iterator[None]:
    """Out of a callback, as of a weak reference, a KeyboardInterrupt cannot get: Python shows its traceback, and goes
    on. It comes again a moment later, when something else runs. Without effect where the alarm is somebody else's."""
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return
    tell = sys.unraisablehook

    def heard(lost: UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            tell(lost)

    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.unraisablehook = heard
    try:
        yield
    finally:
        sys.unraisablehook = tell
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def leave_in_spite_of_trackers(code: int) -> None:
    """Call it last. As the interpreter ends W&B's client waits for a process of its own, for ever if that one hangs: if
    a tracker was given up, this process ends at once."""
    waits = any(thread.name == THREAD for thread in threading.enumerate())
    if waits or ("wandb" in sys.modules and "WANDB_SERVICE" in os.environ):  # which a client unsets that is done
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
