"""Peers in processes of their own, seen from the process that starts them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from harness import Contestant

from card.notes import Notes
from card.pipes import start

# JAX would take most of the card at once; one thread each, as there are many of them.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "OMP_NUM_THREADS": "1"}
OF_A_CPU = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class WorkerError(RuntimeError):
    """What a worker said before it ended."""


class Worker:
    """Started, but not waited for. See `card.worker` for what it can be told."""

    def __init__(self, notes: Notes, peer: str, trials: int, precision: str = "float32") -> None:
        spec = {"peer": peer, "parameters": notes.case.parameters, "trials": trials}
        spec |= {"device": notes.plan.device, "precision": precision}
        environment = {**ENVIRONMENT, **(OF_A_CPU if notes.plan.device == "cpu" else {})}
        self.name = f"{peer} {trials}"
        self._process = start("card.worker", json.dumps(spec), **environment)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:
            self.answer()  # has it ended, its last answer says why
            raise

    def answer(self) -> dict[str, Any]:
        """The next one; WorkerError where it says that the worker has failed, or where there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the process of {self.name} ended with status {self._process.wait()}")
        found = json.loads(line)
        if "error" in found:
            raise WorkerError(found["error"])
        return found

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(OSError):  # what could no longer be written to it
            self._process.stdin.close()


def remote(notes: Notes, peer: str, trials: int, precision: str) -> Contestant:
    """A peer as a contestant of this process: its calls go over as fast as they can be written."""
    worker = Worker(notes, peer, trials, precision)
    try:
        ready = worker.answer()
    except BaseException:
        worker.end()
        raise

    def call() -> float:
        worker.tell("call")
        return ready["work"]

    def wait() -> None:
        worker.tell("wait")
        worker.answer()

    return Contestant(name=worker.name, call=call, wait=wait, close=worker.end)
