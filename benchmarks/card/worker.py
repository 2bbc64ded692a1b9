"""`python -m card.worker SPEC`: one peer in a process of its own, which trains when it is told to.

Its lines of input are `call` (one call, without waiting for the device), `wait`, and `for SECONDS` (call until they
are over). It answers with lines of JSON: when it is ready, to `wait`, and to `for`; `error` in one says that it ended.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import peers
import torch
from peers.case import Case, Training

from card.notes import one_line
from card.pipes import private_stdout

CALLS = 10  # between two looks at the clock, which wait for the device
JAX_PRECISION = {"float32": "float32", "tf32": "tensorfloat32"}  # its own default on a GPU is TF32


def main(spec: dict[str, Any]) -> None:
    answer = private_stdout()
    try:
        training, start = _training(spec), time.monotonic()
        training.work(), training.wait()
        answer({"work": training.trials * training.steps, "warm_up_s": time.monotonic() - start})
        for line in sys.stdin:
            verb, _, argument = line.strip().partition(" ")
            if verb == "call":
                training.work()
            elif verb == "wait":
                training.wait()
                answer({})
            else:
                answer(_train_for(training, float(argument)))
    except Exception as error:
        answer({"error": one_line(error)})


def _training(spec: dict[str, Any]) -> Training:
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high" if spec["precision"] == "tf32" else "highest")
    if spec["peer"].startswith("jax"):
        import jax

        jax.config.update("jax_default_matmul_precision", JAX_PRECISION[spec["precision"]])
    return peers.make(spec["peer"], Case.of(spec["parameters"]), spec["trials"], device=spec["device"])


def _train_for(training: Training, seconds: float) -> dict[str, float]:
    start, work = time.monotonic(), 0.0
    while time.monotonic() - start < seconds:
        work += sum(training.work() for _ in range(CALLS))
        training.wait()
    return {"work": work, "seconds": time.monotonic() - start}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
