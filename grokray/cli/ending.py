"""Other ways than Ctrl-C to ask a command to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from grokray.sweep.interruption import forget, remember_and_raise


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
        yield
    finally:
        for number in mine:
            signal.signal(number, was[number])
