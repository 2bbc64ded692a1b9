"""Do intervals of the share of a small space hold it, whose points are not equally likely? Simulated sweeps.

python benchmarks/drawn.py --sweeps 300

Random and Sobol sweeps of the search's own, as they come: a point that comes up again is not trained again. Each of
three seeds groks with a chance that rises, or falls, with how likely its point is, or that is none or certain. Beside
it stands the mean in which every configuration counts once. One core needs some four minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.analysis.robustness import robustness
from grokray.analysis.space import space_of_sweep
from grokray.records.schema import TRIALS_SCHEMA
from grokray.sweep.config import SweepConfig
from grokray.sweep.configurations import Configurations
from grokray.sweep.load import load_text

RESULT = Path(__file__).parent / "results" / "drawn.json"
THREE = """\
  weight_decay: {values: [0.1, 0.3, 1.0], probabilities: [0.7, 0.2, 0.1]}
  dropout: {values: [0.0, 0.1, 0.2], probabilities: [0.5, 0.25, 0.25]}
  training_fraction: {values: [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}
"""
STEPPED = """\
  weight_decay: {values: [0.1, 1.0], probabilities: [0.9, 0.1]}
  num_layers: {distribution: q_log_uniform_values, min: 1, max: 8}
"""
RANGED = """\
  optimizer: {values: [sgd, adamw], probabilities: [0.5, 0.5]}
  weight_decay: {values: [0.0, 1.0], probabilities: [0.6, 0.4]}
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.01, when: {optimizer: adamw}}
"""
SWEEP = """\
name: simulated
method: {method}
num_trials: {trials}
seeds: [0, 1, 2]
seed: {seed}
parameters:
{parameters}  modulus: {{value: 7}}
scheduler: {{type: fifo}}
"""


@dataclass(frozen=True, kw_only=True)
class Setting:
    name: str
    parameters: str
    trials: int
    chance: str = "rises"


SETTINGS = (
    Setting(name="54 points, 10 drawn", parameters=THREE, trials=10),
    Setting(name="54 points, 20 drawn", parameters=THREE, trials=20),
    Setting(name="54 points, 40 drawn", parameters=THREE, trials=40),
    Setting(name="54 points, 54 drawn", parameters=THREE, trials=54),
    Setting(name="54 points, 20 drawn, the likely grok less", parameters=THREE, trials=20, chance="falls"),
    Setting(name="54 points, 40 drawn, all or nothing", parameters=THREE, trials=40, chance="certain"),
    Setting(name="multiples of a range, 10 of 16 drawn", parameters=STEPPED, trials=10),
    Setting(name="half of it a range, 20 drawn", parameters=RANGED, trials=20),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=300, help="simulated sweeps of each setting")
    parser.add_argument("--quick", action="store_true", help="write no result")
    options = parser.parse_args()
    found = {}
    for setting in SETTINGS:
        for method in ("random", "sobol"):
            name = f"{setting.name}, {method}"
            row = found[name] = coverage(setting, method, options.sweeps)
            print(
                f"{name}: truth {row['truth']:.3f}, mean {row['mean']:.3f}, off by {row['error']:.3f}, intervals hold "
                f"{100 * row['coverage']:.0f} %, are {row['width']:.2f} wide; each once {row['once']:.3f}, off by "
                f"{row['once_error']:.3f}, hold {100 * row['once_coverage']:.0f} %",
                flush=True,
            )
    if not options.quick:
        RESULT.write_text(json.dumps({"sweeps": options.sweeps, "settings": found}, indent=1) + "\n")
        print(f"written to {RESULT}")


def coverage(setting: Setting, method: str, sweeps: int) -> dict[str, float]:
    """Root mean squared errors of both means, and how often the intervals hold the truth."""
    known, truth = _chances(setting)
    weighed, once = [], []
    for seed in range(sweeps):
        config = _config(setting, method, seed)
        trials = _trials(config, known, np.random.default_rng(seed))
        space = space_of_sweep(config.fingerprint(), trials)
        weighed.append(robustness(trials, space, replicates=2).share)
        once.append(robustness(trials, None, replicates=2).share)  # of a guessed space all count alike
    return {
        "truth": truth,
        "mean": float(np.mean([one.value for one in weighed])),
        "error": _error([one.value for one in weighed], truth),
        "coverage": float(np.mean([one.lower <= truth <= one.upper for one in weighed])),
        "width": float(np.mean([one.upper - one.lower for one in weighed])),
        "once": float(np.mean([one.value for one in once])),
        "once_error": _error([one.value for one in once], truth),
        "once_coverage": float(np.mean([one.lower <= truth <= one.upper for one in once])),
    }


def _chances(setting: Setting) -> tuple[dict[str, float], float]:
    """Of grokking, by point, and the share of the space: by 60,000 draws of it."""
    config = _config(setting, "random", 0)
    generator = np.random.default_rng(0)
    drawn = [_point(config.from_units(units)) for units in generator.random((60_000, config.dimensions())).tolist()]
    points, place, number = np.unique(drawn, return_inverse=True, return_counts=True)
    likely = np.argsort(np.argsort(number, kind="stable")) / len(points)
    chance = {"rises": 0.2 + 0.65 * likely, "falls": 0.85 - 0.65 * likely, "certain": likely > 0.7}[setting.chance]
    return dict(zip(points.tolist(), chance.tolist(), strict=True)), float(chance[place].mean())


def _point(chosen: Mapping[str, Any]) -> str:
    """What decides the chance: the number that a range without steps gave does not."""
    return repr(sorted((name, value) for name, value in chosen.items() if name != "learning_rate"))


def _config(setting: Setting, method: str, seed: int) -> SweepConfig:
    text = SWEEP.format(method=method, trials=setting.trials, seed=seed, parameters=setting.parameters)
    return load_text(text, "simulated", "simulated", try_out=False)


def _trials(config: SweepConfig, known: Mapping[str, float], generator: np.random.Generator) -> pa.Table:
    """Those that the search proposes, in the order and with the omissions of a sweep."""
    configurations, rows = Configurations(config), []
    while not configurations.complete and (proposal := configurations.propose()) is not None:
        configurations.take(proposal)
        for trial in proposal.trials.values():
            grokked = generator.random() < known[_point(configurations.proposer.choice(proposal.parameters))]
            told = {"grok_step": 1_000, "outcome": "grokked"} if grokked else {"outcome": "budget"}
            own = {"trial_id": trial.id, "trial_index": len(rows), "configuration": proposal.index, "state": "ended"}
            steps = {"event_observed": grokked, "steps_trained": 2_000, "duration_steps": 1_000 if grokked else 2_000}
            rows.append({**trial.config.model_dump(), **told, **own, **steps})
    return pa.Table.from_pylist(rows, schema=TRIALS_SCHEMA)


def _error(values: list[float], truth: float) -> float:
    return float(np.sqrt(np.mean((np.array(values) - truth) ** 2)))


if __name__ == "__main__":
    main()
