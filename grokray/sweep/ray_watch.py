"""What to do when a process of an embedded Ray dies, such as for want of memory.

Ray ends our process then, from within and some seconds later, without a word that helps a user. So we are quicker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from typing import Any

from grokray.errors import ExecutionError
from grokray.sweep.interruption import end_at_once

LOOK_S = 0.2


@contextmanager
def ending_with_ray() -> Iterator[None]:
    """While this holds, the death of a process of the embedded Ray is said, and ends this one."""
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(done,), name="ray-watch", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def groups_of_ray() -> list[int]:
    """The process groups of an embedded Ray's own processes, as `os.kill` takes them."""
    from ray._private import worker

    node: Any = worker._global_node
    started = node.all_processes.values() if node is not None else ()
    return [-info.process.pid for infos in started for info in infos]


def _watch(done: threading.Event) -> None:
    from ray._private import worker

    while not done.wait(LOOK_S):
        node: Any = worker._global_node
        for name, process in node.dead_processes() if node is not None else ():
            _end(name, process.returncode)


def _end(name: str, code: int) -> None:
    way = f"exit code {code}" if code >= 0 else Signals(-code).name
    end_at_once(
        ExecutionError.exit_code,
        f"error: a process of Ray, {name}, has died ({way})",
        "hint: run the same command again, trials go on from their last checkpoints",
    )
