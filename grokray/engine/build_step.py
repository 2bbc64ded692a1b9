"""`python -m grokray.engine.build_step SPEC DEVICE MARK` does a step and an evaluation on made-up rows with
kernels that torch.compile compiles, which leaves them in its cache on disk. Then it makes the empty file MARK (see
`ahead`)."""

from __future__ import annotations

import fcntl
import json
import sys
from pathlib import Path
from typing import Any

import torch

from grokray.engine import made_up
from grokray.engine.builder import end_in_time, from_spec
from grokray.engine.kernels import inductor_kernels
from grokray.engine.shape import ShapeKey
from grokray.engine.step import Step, parts_of
from grokray.engine.tiles import evaluated_width


def main(spec: dict[str, Any], device: torch.device, mark: Path) -> None:
    with open(mark.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():  # else somebody has compiled it meanwhile
            shape, width, options = from_spec(spec)
            train_a_step(shape, width, options, device)
            evaluate(shape, evaluated_width(shape, width), device)
            mark.touch()


def train_a_step(shape: ShapeKey, width: int, options: frozenset[str], device: torch.device) -> None:
    slots = made_up.slots(shape, width, device)
    kernels = inductor_kernels(shape, device, options)
    step = Step(shape, kernels, slots.span(0, width), made_up.table(shape, device))
    for part in parts_of(shape.accumulation_steps, measured=False):
        step.part(part)()


def evaluate(shape: ShapeKey, width: int, device: torch.device) -> None:
    parameters = made_up.slots(shape, width, device).span(0, width)["parameters"]
    inductor_kernels(shape, device, frozenset()).row_sums(parameters, *made_up.chunk(shape, width, device))


if __name__ == "__main__":
    end_in_time()
    main(json.loads(sys.argv[1]), torch.device(sys.argv[2]), Path(sys.argv[3]))
