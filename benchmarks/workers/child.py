"""`python -m workers.child SPEC`: one contestant in a process of its own, which trains when it is told to.

Its lines of input are `call` (one call, without waiting for the device), `wait`, and `for SECONDS` (call until they
are over). It answers with lines of JSON: when it is ready, to `wait`, and to `for`; `error` in one says that it ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import harness
import peers
import torch
from engine import GROKRAY, turns
from harness import Contestant
from peers.case import Case, waiting_for

from grokray.engine.engine import Engine
from workers.pipes import one_line, private_stdout

LOOK_S = 0.05  # about, between two looks at the clock, which wait for the device
JAX_PRECISION = {"float32": "float32", "tf32": "tensorfloat32"}  # its own default on a GPU is TF32


def main(spec: dict[str, Any]) -> None:
    answer = private_stdout()
    try:
        if spec["cores"]:
            os.sched_setaffinity(0, spec["cores"])
        torch.set_num_threads(spec["threads"])
        contestant = _contestant(spec)
        harness.warm_up(contestant)
        calls = harness.calls_in(contestant, LOOK_S)
        answer({"work": contestant.call(), "warm_up_s": contestant.warm_up_s})
        for line in sys.stdin:
            verb, _, argument = line.strip().partition(" ")
            if verb == "call":
                contestant.call()
            elif verb == "wait":
                contestant.wait()
                answer({})
            else:
                answer(_train_for(contestant, float(argument), calls))
    except Exception as error:
        answer({"error": one_line(error)})


def _contestant(spec: dict[str, Any]) -> Contestant:
    if spec["peer"] in GROKRAY:
        return _engine(spec)
    torch.set_float32_matmul_precision("high" if spec["precision"] == "tf32" else "highest")
    if spec["peer"].startswith("jax"):
        import jax

        jax.config.update("jax_default_matmul_precision", JAX_PRECISION[spec["precision"]])
    training = peers.make(spec["peer"], Case.of(spec["parameters"]), spec["trials"], device=spec["device"])
    return Contestant(name=spec["peer"], call=training.work, wait=training.wait)


def _engine(spec: dict[str, Any]) -> Contestant:
    engine = Engine(device=spec["device"], compile=GROKRAY[spec["peer"]])
    engine.turn_steps = 4  # short turns, so that all processes stop at about the same time
    call = turns(engine, spec["parameters"], spec["trials"])
    if spec["evaluated"]:
        call = _evaluated_first(engine, call)
    wait = waiting_for(spec["device"])
    return Contestant(name=spec["peer"], call=call, wait=wait, ready=lambda: not engine.building)


def _evaluated_first(engine: Engine, call: Callable[[], float]) -> Callable[[], float]:
    """The first call that trains evaluates a trial of each stack too, which is where that is compiled."""
    left = [True]

    def both() -> float:
        done = call()
        if done and left:
            left.clear()
            for stack in engine._stacks.values():
                stack.measure(stack.seats[:1])
        return done

    return both


def _train_for(contestant: Contestant, seconds: float, calls: int) -> dict[str, float]:
    start, work = time.monotonic(), 0.0
    while time.monotonic() - start < seconds:
        work += sum(contestant.call() for _ in range(calls))
        contestant.wait()
    return {"work": work, "seconds": time.monotonic() - start}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
