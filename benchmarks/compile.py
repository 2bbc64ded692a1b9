"""What compiling costs and saves on a CPU: where the constants of `grokray.engine.payoff` come from.

`python benchmarks/compile.py [SECONDS]` measures trial-steps per CPU-second, eager and compiled, of models of several
sizes, in full tiles and of fewer trials, for so many CPU-seconds each, 6 by default, and the wall time until all
kernels are built (in a cache of its own, so that they are). "saved" is of a trial-step, and "counted" what `auto` takes
for it; "pays after" is the least number of trial-steps that one engine must be to train.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import harness
from engine import NEVER, TURN_STEPS, turns
from harness import Contestant

from grokray.engine import payoff
from grokray.engine.engine import Engine
from grokray.engine.shape import shape_of
from grokray.engine.tiles import library_widths, tile_width
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve

SEQUENCE = {"operation": "x+y", "task_type": "sequence", "max_bit_length_train": 6}
CASES: dict[str, dict[str, Any]] = {
    "width 32, batch 64": {"dim_model": 32, "batch_size": 64},
    "the same, one trial": {"dim_model": 32, "batch_size": 64},
    "the same, four trials": {"dim_model": 32, "batch_size": 64},
    "width 64, batch 256": {"dim_model": 64, "batch_size": 256},
    "width 128, batch 512": {},
    "base 2, width 64, batch 64": {**SEQUENCE, "base": 2, "dim_model": 64, "batch_size": 64},
    "base 2, width 128, batch 512": {**SEQUENCE, "base": 2},
    "base 10, width 128, batch 512": {**SEQUENCE, "base": 10},
}

AT_ONCE = {"the same, one trial": 1, "the same, four trials": 4}


def main(seconds: float) -> None:
    harness.on_one_core()
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GROKRAY_CACHE"] = cache
        for name, parameters in CASES.items():
            found[name] = run_case(parameters, seconds, AT_ONCE.get(name))
            rows.append([name, *(f"{value:,.4g}" for value in found[name].values())])
            print(harness.table([name, *found[name]], rows[-1:]), flush=True)
    print(f"\n{harness.table(['', *next(iter(found.values()))], rows)}")
    print(f"written to {harness.write('compile-cpu', {'cases': found})}")


def run_case(parameters: dict[str, Any], seconds: float, at_once: int | None) -> dict[str, float]:
    """Of so many trials at once; of a full tile if None."""
    config = resolve({**parameters, "eval_interval": NEVER, "num_steps": NEVER})
    shape = shape_of(build_dataset(config))
    trials = at_once or tile_width(shape)
    eager, compiled = (_contestant(mode, parameters, trials) for mode in ("off", "on"))
    harness.measure([eager, compiled], rounds=5, seconds=seconds)
    saved, counted = 1 / eager.rate - 1 / compiled.rate, payoff.saved_on_cpu(shape, trials)
    widths = len(library_widths(shape, trials))
    return {
        "trials": trials,
        "eager": eager.rate,
        "compiled": compiled.rate,
        "ratio": compiled.rate / eager.rate,
        "saved, ms": saved * 1e3,
        "counted, ms": counted * 1e3,
        "build of a width, s": compiled.warm_up_s / widths,
        "breaks even after": compiled.warm_up_s / saved,
        "pays after": payoff.MARGIN * widths * payoff.BUILD_S / counted,
    }


def _contestant(mode: Any, parameters: dict[str, Any], slots: int) -> Contestant:
    engine = Engine(compile=mode)
    engine.turn_steps = TURN_STEPS["wide"]
    call = turns(engine, parameters, slots)
    made = Contestant(name=mode, call=call, ready=lambda: not engine.building)
    harness.warm_up(made)
    return made


if __name__ == "__main__":
    main(harness.seconds_asked(__doc__))
