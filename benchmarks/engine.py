"""Trial-steps per CPU-second of grokray's engine and of everything else that trains many small models, on one thread.

python benchmarks/engine.py --seconds 10 --cases narrow,wide --peers plain,vmap_compiled,jax --slots 1,16

Contestants take turns (see `harness`), on the same task and model of 2 layers; evaluation is not part of it. Peers are
those of `peers`; one whose library is missing is left out and said to be. "of ceiling" is the share of this machine's
own float32 matrix product, in the same run, if what a plain model needs is counted: a peer that computes the last layer
where nobody reads it does more than that, an engine that computes once what rows have in common less. Results go to
benchmarks/results/engine-cpu.json.

With --cores all cores are used, and wall time counts: an engine of one thread on each core, one engine of as many
threads, plain PyTorch as a process on each core. Results go to benchmarks/results/cores-cpu.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Literal

import harness
import peers
from harness import Contestant
from peers.case import Case

from grokray.engine.engine import Engine
from grokray.tasks.resolve import resolve

CASES: dict[str, dict[str, Any]] = {
    "narrow": {"dim_model": 32, "batch_size": 64},
    "wide": {"dim_model": 128, "batch_size": 512},
    "sequence": {"operation": "x+y", "task_type": "sequence", "base": 2, "max_bit_length_train": 6},
}
SLOTS = {"narrow": (1, 16, 64), "wide": (1, 4, 16), "sequence": (1, 4)}
GROKRAY: dict[str, Literal["off", "on"]] = {"grokray": "off", "grokray_compiled": "on"}
DEFAULT_PEERS = "plain,plain_compiled,vmap,vmap_compiled,hfta,jax,jax_pruned"
NEVER = 2**31 - 1  # of steps: no evaluation, no end
TURN_STEPS = {"narrow": 40, "wide": 16, "sequence": 4}  # about a second of work at most
ROUNDS = 5


def main() -> None:
    options = _options()
    if options.cores:
        return _cores(options)
    harness.on_one_core(options.core)
    of_cases = {}
    for name in options.cases:
        slots = options.slots or SLOTS[name]
        of_cases[name] = run_case(name, slots, [*options.engines, *options.peers], options.seconds)
        # Written after every case: the next one may take long.
        path = harness.write("engine-cpu", {"rounds": ROUNDS, "seconds": options.seconds, "cases": of_cases})
    print(f"\nwritten to {path}")


def _cores(options: argparse.Namespace) -> None:
    import cores  # its workers import this file

    harness.restart_with_environment()
    of_cases = {}
    for name in options.cases:
        trials = (options.slots or SLOTS[name][1:])[0]
        found = cores.run_cores(CASES[name], trials, options.engines, rounds=ROUNDS, seconds=options.seconds)
        of_cases[name] = {"trials": trials, "ways": found}
        print(f"\n{name}, {trials} trials in each engine\n{cores.table(found)}", flush=True)
    path = harness.write("cores-cpu", {"rounds": ROUNDS, "seconds": options.seconds, "cases": of_cases})
    print(f"\nwritten to {path}")


def run_case(name: str, slots: Sequence[int], names: Sequence[str], seconds: float) -> dict[str, Any]:
    case = Case.of(CASES[name])
    print(f"\n{name}: {case.flops / 1e6:,.0f} million operations a trial-step", flush=True)
    contestants: list[Contestant] = []
    for peer in names:
        if not peers.installed(peer):
            print(f"  {peer}: not installed")
            continue
        # A peer of one model is measured once.
        for number in (1,) if peer.startswith(peers.ONE_MODEL) else slots:
            contestants.append(_contestant(peer, number, name, case))
            print(f"  {contestants[-1].name}: warm-up {contestants[-1].warm_up_s:.1f} s", flush=True)
    products = harness.ceiling()
    harness.measure([*products, *contestants], rounds=ROUNDS, seconds=seconds)
    return _report(case, contestants, max(product.rate for product in products))


def _contestant(peer: str, slots: int, name: str, case: Case) -> Contestant:
    """Built and warmed up."""
    if peer in GROKRAY:
        engine = Engine(compile=GROKRAY[peer])
        engine.turn_steps = TURN_STEPS[name]
        call = turns(engine, CASES[name], slots)
        made = Contestant(name=f"{peer} {slots}", call=call, ready=lambda: not engine.building)
    else:
        training = peers.make(peer, case, slots)
        made = Contestant(name=f"{peer} {slots}", call=training.work, wait=training.wait)
    harness.warm_up(made)
    return made


def turns(engine: Engine, parameters: dict[str, Any], slots: int) -> Callable[[], float]:
    """Seats so many trials; a call is one turn of the engine, of no slot while it waits for the compiler."""
    for seed in range(slots):
        engine.join(str(seed), resolve({**parameters, "seed": seed, "eval_interval": NEVER, "num_steps": NEVER}))

    def call() -> float:
        before = engine.trial_steps
        engine.next(should_yield=lambda: True)
        return engine.trial_steps - before

    return call


def _report(case: Case, contestants: Sequence[Contestant], ceiling: float) -> dict[str, Any]:
    """The case's table, printed; and all of it as numbers."""
    best = {name: _best(contestants, name) for name in ("plain", "jax", "jax_pruned")}
    known = {name: rate for name, rate in best.items() if rate}
    header = ["contestant, trials", "per CPU s", "per s", "of ceiling", *(f"× {name}" for name in known), "warm-up"]
    rows = [
        [
            *(c.name, f"{c.rate:,.1f}", f"{c.wall_rate:,.1f}", f"{c.rate * case.flops / ceiling:.0%}"),
            *(f"{c.rate / rate:.2f}" for rate in known.values()),
            f"{c.warm_up_s:.1f} s",
        ]
        for c in contestants
    ]
    print(f"  ceiling: {ceiling / 1e9:.1f} GFLOP/s\n{harness.table(header, rows)}", flush=True)
    return {
        "flops_per_trial_step": case.flops,
        "ceiling_flops_per_cpu_s": ceiling,
        "contestants": [
            {
                "name": c.name,
                "per_cpu_s": c.rate,
                "per_wall_s": c.wall_rate,
                "warm_up_s": c.warm_up_s,
                "rounds_per_cpu_s": c.per_cpu_s,
            }
            for c in contestants
        ],
    }


def _best(contestants: Sequence[Contestant], peer: str) -> float | None:
    """The peer's rate at the number of trials that suits it best; None where it does not take part."""
    return max((c.rate for c in contestants if c.name.split()[0] == peer), default=None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="CPU-seconds of each contestant, all rounds together"
    )
    parser.add_argument("--cases", type=_names, default=list(CASES), help=",".join(CASES))
    parser.add_argument("--peers", type=_names, default=_names(DEFAULT_PEERS), help=f"default: {DEFAULT_PEERS}")
    parser.add_argument("--engines", type=_names, default=list(GROKRAY), help=f"grokray's: {','.join(GROKRAY)}")
    parser.add_argument("--slots", type=_numbers, help="trials at once, by commas; default: by case")
    parser.add_argument("--core", type=int, help="the core to run on; default: the last one")
    parser.add_argument("--cores", action="store_true", help="what all cores train together, instead")
    options = parser.parse_args()
    for name in options.peers:
        if name.removesuffix(peers.PRUNED) not in peers.PEERS:
            parser.error(
                f"--peers names {name}, but must be of {', '.join(peers.PEERS)}, with {peers.PRUNED} or without"
            )
    for name in options.engines:
        if name not in GROKRAY:
            parser.error(f"--engines names {name}, but must be of {', '.join(GROKRAY)}")
    for name in options.cases:
        if name not in CASES:
            parser.error(f"--cases names {name}, but must be of {', '.join(CASES)}")
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


if __name__ == "__main__":
    main()
