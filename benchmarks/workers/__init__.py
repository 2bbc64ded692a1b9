"""Contestants in processes of their own, seen from the process that starts them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness import Contestant

from workers.pipes import start

# JAX would take most of a GPU at once; and of a CPU as many threads as it has cores.
OF_JAX = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
OF_A_CPU = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class WorkerError(RuntimeError):
    """What a worker said before it ended."""


class Worker:
    """A peer of `peers`, or an engine of `engine.GROKRAY`, with so many trials of the given parameters; started, but
    not waited for. See `workers.child` for what it can be told. `cores` are those that it may run on; none: all. An
    engine's trials may be `evaluated` once before it is ready."""

    def __init__(
        self,
        peer: str,
        parameters: Mapping[str, Any],
        trials: int,
        *,
        device: str = "cpu",
        precision: str = "float32",
        threads: int = 1,
        cores: Sequence[int] = (),
        evaluated: bool = False,
    ) -> None:
        spec = {"peer": peer, "parameters": parameters, "trials": trials, "device": device, "precision": precision}
        spec |= {"threads": threads, "cores": list(cores), "evaluated": evaluated}
        environment = {**OF_JAX, "OMP_NUM_THREADS": str(threads), **(OF_A_CPU if device == "cpu" else {})}
        self.name = f"{peer} {trials}"
        self._process = start("workers.child", json.dumps(spec), environment=environment)

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


def remote(worker: Worker) -> Contestant:
    """A worker as a contestant of this process: its calls go over as fast as they can be written. Closing it ends the
    worker, as does its failure to get ready."""
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


def rate_together(workers: Sequence[Worker], seconds: float) -> float:
    """Trial-steps per second of wall time of all workers, which train at the same time for so many seconds: the sum of
    each one's own rate, so that none is charged with waiting for the slowest."""
    for worker in workers:
        worker.tell(f"for {seconds}")
    answers = [worker.answer() for worker in workers]
    return sum(found["work"] / found["seconds"] for found in answers)
