"""What the host does beside a GPU: its part of a step, of an evaluation, of trials that come and go, of checkpoints.

python benchmarks/host.py --trials 256,1024 --seconds 5

An engine on this machine's CPU trains as on a GPU, in buckets whose steps are recorded; but a recording, once made,
does nothing, as if the card took no time. What is left is the host's CPU time, for each trial-step, evaluation and so
on, of models of width 32 with batches of 64, x/y mod 97; copies that a card would do are in it. "operations" are those
on tensors that the host begins itself: on a card each is a launch of some microseconds more. Results go to
benchmarks/results/host-cpu.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import churn
import harness
import torch
from harness import Contestant
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from grokray.engine.backends import Buckets
from grokray.engine.checkpoint import to_bytes
from grokray.engine.engine import Engine
from grokray.engine.orders import Orders
from grokray.engine.recorder import NoRecorder, Work
from grokray.engine.shape import ShapeKey
from grokray.engine.stack import Stack

MUCH = 1 << 40  # bytes
ROUNDS = 5
STEPS = 50  # of a turn


def main() -> None:
    options = _options()
    harness.on_one_core()
    cases = {f"{trials} trials": run_case(trials, options.seconds) for trials in options.trials}
    for name, found in cases.items():
        rows = [[what, f"{v['us']:,.1f} µs", f"{v['operations']:,.2f}"] for what, v in found.items()]
        print(f"\n{name}\n{harness.table(['of each', 'CPU time', 'operations'], rows)}")
    path = harness.write("host-cpu", {"rounds": ROUNDS, "seconds": options.seconds, "cases": cases})
    print(f"\nwritten to {path}")


def run_case(trials: int, seconds: float) -> dict[str, dict[str, float]]:
    """By what is done, the CPU time and the operations of one."""
    contestants = contestants_of(trials)
    for contestant in contestants:
        harness.warm_up(contestant)
    harness.measure(contestants, rounds=ROUNDS, seconds=seconds)
    return {c.name: {"us": 1e6 / c.rate, "operations": _operations(c.call)} for c in contestants}


def contestants_of(trials: int) -> list[Contestant]:
    with mock.patch("grokray.engine.engine.Stack", _OfNoTime):
        engine, changing = Engine(compile="off"), Engine(compile="off")
        step = churn.turns(engine, churn.trials_of(churn.NARROW, ["x/y_mod"]), trials, churn=False)
        following = churn.trials_of(churn.NARROW, ["x/y_mod"])
        churn.turns(changing, following, trials, churn=False)
    engine.turn_steps = STEPS
    (stack,) = engine._stacks.values()

    def evaluate() -> float:
        found = stack.measure(stack.seats)
        return float(len([engine._measure(*both) for both in zip(stack.seats, found, strict=True)]))

    def change() -> float:
        changing.leave(changing.trials[0])
        trial, config = next(following)
        changing.join(trial, config)
        return 1.0

    def read() -> float:
        return float(len(engine.save_many(engine.trials)))

    one = engine.save(engine.trials[0])

    def write() -> float:
        return float(bool(to_bytes(one)))

    calls = {"trial-step": step, "evaluation": evaluate, "change of a trial": change, "checkpoint, read": read}
    return [Contestant(name=name, call=call) for name, call in {**calls, "checkpoint, bytes": write}.items()]


class _OfNoTime(Stack):
    """As on a GPU, but for what the GPU does."""

    def __init__(self, shape: ShapeKey, *, device: torch.device, **options: Any) -> None:
        super().__init__(shape, device=device, **options)
        self.backend = Buckets(shape, device, free=lambda: MUCH)
        self.orders = Orders(self.slots, _Event)
        self.recordings.recorder = _Recorder()


class _Recorder(NoRecorder):
    def record(self, work: Work, changes: Sequence[Tensor]) -> Work:
        if len(changes) == 1:  # an evaluation's totals, which are to be of some rows
            return partial(_fill, changes[0])
        return lambda: None


def _fill(totals: Tensor) -> None:
    totals.fill_(1.0)


class _Event:
    def record(self) -> None:
        """Whatever comes before is over at once."""

    def synchronize(self) -> None:
        """So there is nothing to wait for."""


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        views = any(r.alias_info is not None and not r.alias_info.is_write for r in operation._schema.returns)
        self.number += not views
        return operation(*args, **(kwargs or {}))


def _operations(call: Callable[[], float]) -> float:
    with _Counter() as counter:
        done = call()
    return counter.number / done


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=lambda text: [int(n) for n in text.split(",")], default=[256, 1024])
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU-seconds of each, all rounds together")
    return parser.parse_args()


if __name__ == "__main__":
    main()
