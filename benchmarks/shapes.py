"""What a stack of one's own costs, against padding a little to share one.

python benchmarks/shapes.py --seconds 10

Trials of x/y mod 97 and mod 101 differ in their vocabulary, 99 and 103 tokens, so they sit in two stacks that take
turns. "one" has all trials in one stack of the larger vocabulary, which is what padding would make of them; "two" has
half of them in each. Width 32, batches of 64, eager, one thread; nothing is evaluated. What padding could gain is the
ratio one / two, and what a padded stack saves besides is the compiler's time for a shape. Results go to
benchmarks/results/shapes-cpu.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Iterator, Sequence

import harness
from churn import NEVER, turns
from harness import Contestant

from grokray.engine.engine import Engine
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig

MODULI = {"one": (101,), "two": (97, 101)}
ROUNDS = 9


def main() -> None:
    options = _options()
    harness.on_one_core(options.core)
    rows, cases = [], {}
    for slots in options.slots:
        one, two = contestants = [_contestant(name, moduli, slots) for name, moduli in MODULI.items()]
        harness.measure(contestants, rounds=ROUNDS, seconds=options.seconds)
        ratios = [a / b for a, b in zip(one.per_cpu_s, two.per_cpu_s, strict=True)]
        cases[slots] = {"one": one.rate, "two": two.rate, "ratio": statistics.median(ratios), "ratios": ratios}
        rows.append([str(slots), f"{one.rate:,.0f}", f"{two.rate:,.0f}", f"{statistics.median(ratios):.3f}"])
    print("trial-steps per CPU-second")
    print(harness.table(["trials", "one stack", "two stacks", "one / two"], rows))
    print(f"\nwritten to {harness.write('shapes-cpu', {'seconds': options.seconds, 'rounds': ROUNDS, 'cases': cases})}")


def _contestant(name: str, moduli: Sequence[int], slots: int) -> Contestant:
    engine = Engine(compile="off")
    call = turns(engine, _trials(moduli), slots, churn=False)
    made = Contestant(name=name, call=call)
    harness.warm_up(made)
    return made


def _trials(moduli: Sequence[int]) -> Iterator[tuple[str, TrialConfig]]:
    """Trials that differ in their seed, and in their modulus by turns."""
    for seed in itertools.count():
        parameters = {"modulus": moduli[seed % len(moduli)], "seed": seed, "dim_model": 32, "batch_size": 64}
        yield str(seed), resolve({**parameters, "eval_interval": NEVER, "num_steps": NEVER})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU-seconds of each contestant, rounds together")
    parser.add_argument("--slots", type=int, nargs="+", default=[2, 16, 64], help="trials, even numbers")
    parser.add_argument("--core", type=int, help="the core to run on; default: the last one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
