"""Do intervals of what early measurements tell of later grokking hold the truth? Simulated sweeps.

python benchmarks/predicting.py --sweeps 400

Log times have a part of the configuration (spread 0.7) and one of the seed (0.5), and are seen on a grid of
measurements and up to a budget. A measure at step 300 is made of both and of noise. Where trials are pruned it is at
step 1,000, the worse half by that measure with more noise, a share of which is audited. The truth is the concordance of
18,000 trials that nobody prunes. One core needs some three minutes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grokray.analysis.concordance import Concordance, concordance
from grokray.analysis.intervals import Estimate
from grokray.analysis.times import Times

BUDGET, GRID, MEASURED_AT, STOPPED_AT = 4_000, 100, 300, 1_000
MIDDLE, OF_CONFIGURATIONS, OF_SEEDS = 7.5, 0.7, 0.5  # of log steps
RESULT = Path(__file__).parent / "results" / "predicting.json"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The measure is `slope` times the part of the configuration, `of_seed` times that of the seed, and noise."""

    configurations: int
    seeds: int
    never: float = 0.0
    slope: float = 1.0
    of_seed: float = 0.5
    noise: float = 0.5
    audits: float | None = None

    @property
    def name(self) -> str:
        told = "nothing" if not self.slope else "nearly all" if self.noise < 0.1 else "some"
        never = f", {100 * self.never:.0f} % never grok" if self.never else ""
        pruned = f", {100 * self.audits:.0f} % audited" if self.audits else ""
        return f"{self.configurations} × {self.seeds}, it tells {told}{never}{pruned}"


SETTINGS = (
    Setting(configurations=50, seeds=3),
    Setting(configurations=150, seeds=1),
    Setting(configurations=300, seeds=3),
    Setting(configurations=20, seeds=3),
    Setting(configurations=12, seeds=5),
    Setting(configurations=50, seeds=3, slope=0.0, of_seed=0.0),
    Setting(configurations=50, seeds=3, of_seed=1.0, noise=0.05),
    Setting(configurations=50, seeds=3, never=0.5),
    Setting(configurations=30, seeds=2, never=0.7),
    Setting(configurations=100, seeds=3, audits=0.25),
    Setting(configurations=100, seeds=3, audits=0.1),
    Setting(configurations=40, seeds=3, never=0.5, audits=0.1),
    Setting(configurations=60, seeds=1, audits=0.05),
    Setting(configurations=30, seeds=2, of_seed=1.0, noise=0.05),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=400, help="simulated sweeps of each setting")
    parser.add_argument("--quick", action="store_true", help="write no result")
    options = parser.parse_args()
    found = {}
    for setting in SETTINGS:
        found[setting.name] = coverage(setting, options.sweeps)
        print(
            f"{setting.name}\n" + "\n".join(_line(name, row) for name, row in found[setting.name].items()), flush=True
        )
    if not options.quick:
        plain = {
            name: {
                kind: {key: None if np.isnan(value) else value for key, value in row.items()}
                for kind, row in one.items()
            }
            for name, one in found.items()
        }
        RESULT.write_text(json.dumps({"sweeps": options.sweeps, "settings": plain}, indent=1) + "\n")
        print(f"written to {RESULT}")


def coverage(setting: Setting, sweeps: int) -> dict[str, dict[str, float]]:
    """Of both kinds of pairs the truth, the mean estimate, how often an interval holds the truth, and is known."""
    generator = np.random.default_rng(1)
    whole = Setting(**{**vars(setting), "configurations": 18_000 // setting.seeds, "audits": None})
    truth, found = simulate(whole, generator), [simulate(setting, generator) for _ in range(sweeps)]
    return {
        kind: _summary(getattr(truth, kind).value, [getattr(one, kind) for one in found])
        for kind in ("among_all", "within")
    }


def simulate(setting: Setting, generator: np.random.Generator) -> Concordance:
    size = setting.configurations * setting.seeds
    configuration = np.repeat(np.arange(setting.configurations), setting.seeds)
    of_configuration = generator.normal(0, OF_CONFIGURATIONS, setting.configurations)[configuration]
    of_seed = generator.normal(0, OF_SEEDS, size)
    never = (generator.random(setting.configurations) < setting.never)[configuration]
    step = np.where(never, 1e12, np.exp(MIDDLE + of_configuration + of_seed))
    measure = -setting.slope * of_configuration - setting.of_seed * of_seed + generator.normal(0, setting.noise, size)
    upper = np.ceil(step / GRID) * GRID
    seen = upper <= BUDGET
    times = Times.of(
        np.where(seen, upper - GRID, BUDGET),
        np.where(seen, upper, np.inf),
        weight=_weights(setting, measure, upper, generator),
        cluster=configuration,
    )
    at_risk = upper > MEASURED_AT
    return concordance(measure[at_risk], times.select(at_risk))


def _weights(setting: Setting, measure: np.ndarray, upper: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if setting.audits is None:
        return np.ones(len(measure))
    signal = measure + generator.normal(0, 1, len(measure))
    behind = (upper > STOPPED_AT) & (signal < np.median(signal))
    audited = generator.random(len(measure)) < setting.audits
    return np.where(behind, np.where(audited, 1 / setting.audits, 0.0), 1.0)


def _summary(truth: float, found: list[Estimate]) -> dict[str, float]:
    known = [one for one in found if not np.isnan(one.lower)]
    return {
        "truth": truth,
        "mean": float(np.nanmean([one.value for one in found])) if known else float("nan"),
        "coverage": float(np.mean([one.lower <= truth <= one.upper for one in known])) if known else float("nan"),
        "known": len(known) / len(found),
        "width": float(np.mean([one.upper - one.lower for one in known])) if known else float("nan"),
    }


def _line(name: str, row: dict[str, float]) -> str:
    told = f"truth {row['truth']:.3f}, mean {row['mean']:.3f}, intervals hold {100 * row['coverage']:.0f} %"
    return f"  {name:10} {told}, are {row['width']:.2f} wide, known in {100 * row['known']:.0f} %"


if __name__ == "__main__":
    main()
