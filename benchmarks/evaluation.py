"""What an evaluation costs, next to the training steps between two of them.

`python benchmarks/evaluation.py [SECONDS]` times one evaluation and one step of one trial, eager and compiled, for so
many CPU-seconds each, 6 by default; they take turns (see `harness`). "share" is the evaluations' part of the time at
the default interval of 100 steps, all rows measured. A step is that of one trial alone; small models step faster in
company: "in company" counts with a trial's step in a full tile. Results go to benchmarks/results/evaluation-cpu.json.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import harness
from engine import CASES, NEVER, TURN_STEPS, turns
from harness import Contestant

from grokray.engine.engine import Engine
from grokray.engine.shape import shape_of
from grokray.engine.tiles import tile_width
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve

INTERVAL = 100
ROUNDS = 5
MODES: tuple[Literal["off", "on"], ...] = ("off", "on")


def main(seconds: float) -> None:
    harness.on_one_core()
    header = ["case", "rows", "step, ms", "in company", "evaluation, ms", "steps", "share", "share in company"]
    found: dict[str, dict[str, float]] = {}
    for name, parameters in CASES.items():
        of_case = run_case(name, parameters, seconds)
        found |= of_case
        # Written after every case: the next one may take long.
        path = harness.write("evaluation-cpu", {"interval": INTERVAL, "cases": found})
        print(harness.table(header, [[key, *_cells(values)] for key, values in of_case.items()]), flush=True)
    print(f"written to {path}")


def run_case(name: str, parameters: dict[str, Any], seconds: float) -> dict[str, dict[str, float]]:
    config = resolve({**parameters, "eval_interval": NEVER, "num_steps": NEVER})
    dataset = build_dataset(config)
    tile = tile_width(shape_of(dataset))
    made = {mode: _contestants(mode, name, parameters, tile) for mode in MODES}
    harness.measure([c for of_mode in made.values() for c in of_mode], rounds=ROUNDS, seconds=seconds)
    out = {}
    for mode, (alone, company, evaluation) in made.items():
        step, shared, whole = 1 / alone.rate, 1 / company.rate, 1 / evaluation.rate
        out[f"{name}, {'compiled' if mode == 'on' else 'eager'}"] = {
            "rows": len(dataset.table.tokens),
            "step_ms": step * 1e3,
            "step_in_company_ms": shared * 1e3,
            "evaluation_ms": whole * 1e3,
            "steps": whole / step,
            "share": whole / (whole + INTERVAL * step),
            "share_in_company": whole / (whole + INTERVAL * shared),
        }
    return out


def _contestants(mode: Literal["off", "on"], name: str, parameters: dict[str, Any], tile: int) -> list[Contestant]:
    """A step alone, a step in a full tile, and an evaluation."""
    out = []
    for slots in (1, tile):
        engine = Engine(compile=mode)
        engine.turn_steps = TURN_STEPS[name]
        call = turns(engine, parameters, slots)
        out.append(
            Contestant(name=f"step of {slots}, {mode}", call=call, ready=lambda engine=engine: not engine.building)
        )
        harness.warm_up(out[-1])
    out.append(Contestant(name=f"evaluation, {mode}", call=_evaluations(engine)))
    harness.warm_up(out[-1])
    return out


def _evaluations(engine: Engine) -> Callable[[], float]:
    """A call is one evaluation of one seated trial."""
    (stack,) = engine._stacks.values()
    seat = stack.seats[0]

    def call() -> float:
        stack.measure([seat])
        return 1.0

    return call


def _cells(values: dict[str, float]) -> list[str]:
    shares = (f"{values[name]:.1%}" for name in ("share", "share_in_company"))
    times = (f"{values[name]:,.2f}" for name in ("step_ms", "step_in_company_ms", "evaluation_ms", "steps"))
    return [f"{values['rows']:,}", *times, *shares]


if __name__ == "__main__":
    main(harness.seconds_asked(__doc__))
