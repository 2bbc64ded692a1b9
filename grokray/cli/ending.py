"""Other ways than Ctrl-C to ask a command to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGTERM

__all__ = ["SIGTERM", "ending_as_by_ctrl_c"]


@contextmanager
def ending_as_by_ctrl_c() -> Iterator[None]:
    """A SIGTERM, or a terminal that is closed, ends a command as Ctrl-C does, wherever it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mine = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
