"""What trials that join and leave cost: the throughput of a stack in which one ends, and another joins, every 50 steps,
against that of a steady one.

python benchmarks/churn.py --seconds 10

16 slots of width 32 with batches of 64, x/y mod 97, on one thread. Nothing is evaluated. "mixed" is the same with
trials of two tasks of equal shape in one stack, x/y and x+y mod 97, by turns. Compiled kernels take part where they lie
in the cache; --build builds them. Results go to benchmarks/results/churn-cpu.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import harness
from harness import Contestant

from grokray.engine.engine import Engine
from grokray.engine.graphs import graph_folder
from grokray.engine.shape import shape_of
from grokray.engine.tiles import library_widths
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig

NARROW: dict[str, Any] = {"modulus": 97, "dim_model": 32, "batch_size": 64}
OPERATIONS = {"one task": ("x/y_mod",), "mixed": ("x/y_mod", "x+y_mod")}
KERNELS = {"eager": False, "compiled": True}
NEVER = 2**31 - 1  # of steps: no evaluation, no end
TARGET = 0.90
ROUNDS = 7


def main() -> None:
    options = _options()
    harness.on_one_core(options.core)
    rows, cases = [], {}
    for kernels, compiled in KERNELS.items():
        if compiled and not (options.build or _is_built()):
            print("compiled: left out, as the kernels are not in the cache; --build builds them", flush=True)
            continue
        for tasks, operations in OPERATIONS.items():
            name = f"{kernels}, {tasks}"
            cases[name] = found = run_case(operations, options, compiled=compiled)
            rates = [f"{found[who]:,.0f}" for who in ("steady", "churn")]
            rows.append([name, *rates, f"{found['ratio']:.3f}", f">= {TARGET:.2f}", f"{found['join_ms']:.1f} ms"])
    print(f"{options.slots} slots, one of them anew every {options.every} steps; trial-steps per CPU-second")
    print(harness.table(["", "steady", "churn", "churn / steady", "target", "a trial's change"], rows))
    setting = {name: getattr(options, name) for name in ("slots", "every", "seconds")}
    print(f"\nwritten to {harness.write('churn-cpu', {**setting, 'rounds': ROUNDS, 'cases': cases})}")


def run_case(operations: Sequence[str], options: argparse.Namespace, *, compiled: bool) -> dict[str, Any]:
    contestants = [_contestant(name, operations, options, compiled=compiled) for name in ("steady", "churn")]
    harness.measure(contestants, rounds=ROUNDS, seconds=options.seconds)
    steady, churn = contestants
    # Of each round's pair: the machine's speed changes between rounds more than within one.
    ratios = [b / a for a, b in zip(steady.per_cpu_s, churn.per_cpu_s, strict=True)]
    turn = options.slots * options.every
    return {
        "steady": steady.rate,
        "churn": churn.rate,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "join_ms": 1000 * turn * (1 / churn.rate - 1 / steady.rate),
    }


def _contestant(name: str, operations: Sequence[str], options: argparse.Namespace, *, compiled: bool) -> Contestant:
    """Warmed up. A call is one turn of all slots, and with churn one trial's leaving and another one's joining."""
    engine = Engine(compile="on" if compiled else "off")
    engine.turn_steps = options.every
    call = turns(engine, trials_of(NARROW, operations), options.slots, churn=name == "churn")
    made = Contestant(name=name, call=call, ready=lambda: not engine.building)
    harness.warm_up(made)
    return made


def turns(engine: Engine, trials: Iterator[tuple[str, TrialConfig]], slots: int, *, churn: bool) -> Callable[[], float]:
    """Seats the first of the trials; a call is a turn of the engine, and with churn a trial's leaving and the next
    one's joining."""
    for trial, config in itertools.islice(trials, slots):
        engine.join(trial, config)

    def call() -> float:
        before = engine.trial_steps
        engine.next(should_yield=lambda: True)
        done = engine.trial_steps - before
        if churn and done:
            engine.leave(engine.trials[0])
            engine.join(*next(trials))
        return done

    return call


def trials_of(parameters: Mapping[str, Any], operations: Sequence[str]) -> Iterator[tuple[str, TrialConfig]]:
    """Trials without end that differ in their seed, and in their task by turns; never evaluated."""
    never = {"eval_interval": NEVER, "num_steps": NEVER}
    configs = [resolve({**parameters, "operation": operation, **never}) for operation in operations]
    for number in itertools.count():
        config = configs[number % len(configs)]
        seeds = {name: number for name in ("init_seed", "split_seed", "order_seed")}
        yield str(number), config.model_copy(update=seeds)


def _is_built() -> bool:
    shape = shape_of(build_dataset(next(trials_of(NARROW, OPERATIONS["one task"]))[1]))
    return all(graph_folder(shape, width, frozenset()).exists() for width in library_widths(shape))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU-seconds of each contestant, rounds together")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--every", type=int, default=50, help="steps from one trial's end to the next one's")
    parser.add_argument("--build", action="store_true", help="build the compiled kernels first: a minute or two")
    parser.add_argument("--core", type=int, help="the core to run on; default: the last one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
