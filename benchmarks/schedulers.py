"""What schedulers save, and what they cost: trials stopped that would have grokked.

python benchmarks/schedulers.py                    (trains the truth first: some minutes of one or two cores)
python benchmarks/schedulers.py --from DIR         (a sweep that ran under fifo, of any size, is the truth)

1. The truth: a sweep under fifo, in which every trial runs to its own end.
2. Replays: `asha` on held-out accuracy and `grok_asha` by each of its signals decide about the same curves, in virtual
   time and in many random orders of arrival (see replay.py). Of each: the trial-steps that it takes; the share of the
   true grokkers that it kills (the mean over the orders, with a Wilson interval that counts each grokker once); steps
   for each grokked trial that is found; and its false-stop rate, which is the share of the trials to be stopped that
   would have grokked, as the audit alone estimates it, against the truth.
3. `--real`: the same sweep again under each scheduler, through Ray.

Results go to benchmarks/results/schedulers.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
from replay import Curve, Replayed, read, replay, wilson

from grokray.errors import GrokrayError
from grokray.records.folder import SWEEP_YAML, SweepFolder
from grokray.records.tables import read_trials
from grokray.sweep.config import SweepConfig
from grokray.sweep.load import load_text
from grokray.sweep.runner import run_sweep
from grokray.sweep.sections import SIGNAL_METRICS

# About the quickstart's size; where weight decay and training fraction are low nothing groks.
SPACE = """
name: schedulers
method: sobol
num_trials: {trials}
parameters:
  operation: {{value: x+y_mod}}
  modulus: {{value: {modulus}}}
  training_fraction: {{distribution: uniform, min: 0.35, max: 0.8}}
  weight_decay: {{distribution: log_uniform_values, min: 0.03, max: 2}}
  dropout: {{distribution: uniform, min: 0, max: 0.1}}
  num_layers: {{value: 1}}
  dim_model: {{value: {width}}}
  num_heads: {{value: 4}}
  batch_size: {{value: 128}}
  learning_rate: {{value: 5e-3}}
  num_steps: {{value: {steps}}}
trial: {{eval_interval: 50, sustain: 3, threshold: 0.99, measure: [weight_norm, fourier_gini]}}
compile: 'off'
device: cpu
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as place:
        folder = _truth(options, Path(place))
        config = load_text(folder.sweep_yaml, folder.store.shown(SWEEP_YAML), "truth", try_out=False)
        if config.scheduler.type != "fifo":
            raise SystemExit(
                f"{folder.store} ran under {config.scheduler.type}, but the truth must have run under fifo"
            )
        curves = read(folder)
        truth = _known(curves)
        each = f"{truth['steps'] / truth['grokkers']:,.0f} for each that groks" if truth["grokkers"] else "none groks"
        print(f"truth, under fifo: {truth['trials']} trials, {truth['grokkers']} grok")
        print(f"trial-steps: {truth['steps']:,}, {each}\n")
        configs = _schedulers(config, curves, options)
        replayed = {
            name: replay(curves, changed, orders=options.orders, seats=options.seats)
            for name, changed in configs.items()
        }
        found = {name: _summary(curves, orders) for name, orders in replayed.items()}
        print(harness.table(HEADER, [_row(name, f, truth) for name, f in found.items()]))
        results = {"truth": truth, "options": _plain(options), "replayed": found}
        if options.real:
            results["real"] = {n: _real(c, curves, Path(place) / n.replace(" ", "-")) for n, c in configs.items()}
            print(f"\nthrough Ray: {results['real']}")
    print(f"\n{harness.write('schedulers', results)}")


def _truth(options: argparse.Namespace, place: Path) -> SweepFolder:
    if options.from_dir is not None:
        return SweepFolder.open(options.from_dir)
    text = SPACE.format(trials=options.trials, modulus=options.modulus, width=options.width, steps=options.steps)
    out = options.keep or place / "truth"
    run_sweep(load_text(text, "the benchmark's space", "truth"), out)
    return SweepFolder.open(out)


def _schedulers(config: SweepConfig, curves: Sequence[Curve], options: argparse.Namespace) -> dict[str, SweepConfig]:
    """Those whose signals the curves hold, by what they are called in the table."""
    grace = options.grace_period or max(config.max_steps() // 8, 1)
    common = {"grace_period": grace, "audit_fraction": options.audit_fraction}
    asha = {"type": "asha", "reduction_factor": options.reduction_factor}
    grok_asha = {"type": "grok_asha", "stop_share": options.stop_share, "patience": options.patience or grace}
    sections = {"asha": asha} | {f"grok_asha {s}": grok_asha | {"signal": s} for s in SIGNAL_METRICS}
    measured = set().union(*(curve.metrics[-1] for curve in curves))
    out = {}
    for name, section in sections.items():
        metric = SIGNAL_METRICS.get(section.get("signal"), "heldout_exact_match")  # type: ignore[arg-type]
        if metric in measured:
            out[name] = SweepConfig.model_validate(
                {**config.model_dump(), **_written(config), "scheduler": section | common}
            )
        else:
            print(f"{name} is left out: the curves hold no {metric}")
    return out


def _written(config: SweepConfig) -> dict[str, Any]:
    return {"parameters": {name: parameter.spec() for name, parameter in config.parameters.items()}}


def _known(curves: Sequence[Curve]) -> dict[str, int]:
    return {
        "trials": len(curves),
        "grokkers": sum(curve.grokked for curve in curves),
        "steps": sum(curve.end for curve in curves),
    }


def _summary(curves: Sequence[Curve], orders: Sequence[Replayed]) -> dict[str, Any]:
    """Means over the orders. `covered`: in how many of them the audit's interval holds the truth of that order."""
    grokkers = {curve.trial_id for curve in curves if curve.grokked}
    killed = statistics.fmean(len(r.stopped & grokkers) for r in orders)
    steps = statistics.fmean(r.steps for r in orders)
    wanted, audited = (sum(len(getattr(r, name)) for r in orders) for name in ("wanted", "audited"))
    false_stops, seen = (sum(len(getattr(r, name) & grokkers) for r in orders) for name in ("wanted", "audited"))
    asked = [r for r in orders if r.audited]
    covered = sum(_covers(r, grokkers) for r in asked)
    return {
        "orders": len(orders),
        "steps": steps,
        "killed": killed / max(len(grokkers), 1),
        "killed_interval": wilson(killed, len(grokkers)),
        "steps_per_grokked": steps / (len(grokkers) - killed) if killed < len(grokkers) else None,
        "to_be_stopped": wanted / len(orders),
        "audited": audited / len(orders),
        "false_stop_rate": false_stops / wanted if wanted else None,
        "false_stop_rate_by_audit": seen / audited if audited else None,
        "covered": covered / len(asked) if asked else None,
    }


def _covers(order: Replayed, grokkers: set[str]) -> bool:
    low, high = wilson(len(order.audited & grokkers), len(order.audited))
    return low <= len(order.wanted & grokkers) / len(order.wanted) <= high


HEADER = (
    *("scheduler", "trial-steps", "of fifo's", "grokkers killed", "95 %", "steps a grokker", "to be stopped"),
    *("audited", "false stops", "by the audit", "covered"),
)


def _row(name: str, f: dict[str, Any], truth: dict[str, int]) -> list[str]:
    low, high = f["killed_interval"]
    return [
        name,
        f"{f['steps']:,.0f}",
        f"{f['steps'] / truth['steps']:.0%}",
        f"{f['killed']:.1%}",
        f"{low:.0%} to {high:.0%}",
        "-" if f["steps_per_grokked"] is None else f"{f['steps_per_grokked']:,.0f}",
        f"{f['to_be_stopped']:.1f}",
        f"{f['audited']:.1f}",
        *("-" if f[key] is None else f"{f[key]:.1%}" for key in RATES),
    ]


RATES = ("false_stop_rate", "false_stop_rate_by_audit", "covered")


def _real(config: SweepConfig, curves: Sequence[Curve], out: Path) -> dict[str, Any]:
    """Through Ray; trials are the same ones, so the truth knows what became of those that were stopped."""
    run_sweep(config, out)
    grokkers = {curve.trial_id for curve in curves if curve.grokked}
    rows = read_trials(SweepFolder.open(out)).to_pylist()
    return {
        "steps": sum(row["steps_trained"] for row in rows),
        "grokked": sum(row["event_observed"] for row in rows),
        "pruned": sum(row["outcome"] == "pruned" for row in rows),
        "killed": sum(row["outcome"] == "pruned" and row["trial_id"] in grokkers for row in rows),
        "audited": sum(row["audited"] for row in rows),
    }


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    """Without names of folders, and without what is the truth's own where it was trained before."""
    left_out = {"from_dir", "keep"} | ({*OF_THE_TRUTH} if options.from_dir else set())
    return {key: value for key, value in vars(options).items() if key not in left_out}


OF_THE_TRUTH = ("trials", "steps", "modulus", "width")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="from_dir", metavar="DIR", help="a sweep that ran under fifo")
    parser.add_argument("--keep", metavar="DIR", help="where the truth is kept; by default nowhere")
    parser.add_argument("--trials", type=int, default=56)
    parser.add_argument("--steps", type=int, default=4000, help="budget of a trial")
    parser.add_argument("--modulus", type=int, default=31)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--orders", type=int, default=200, help="random orders of arrival")
    parser.add_argument("--seats", type=int, default=20, help="trials that train at once")
    parser.add_argument("--grace-period", type=int, help="of all schedulers; default an eighth of the budget")
    parser.add_argument("--reduction-factor", type=int, default=3, help="of asha")
    parser.add_argument("--stop-share", type=float, default=0.5, help="of grok_asha")
    parser.add_argument("--patience", type=int, help="of grok_asha; default the grace period")
    parser.add_argument("--audit-fraction", type=float, default=0.1)
    parser.add_argument("--real", action="store_true", help="run each scheduler for real, too")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except GrokrayError as error:
        raise SystemExit(f"error: {error}") from None
