"""Do effects on whether and on when trials grok hold the truth where some never grok? Simulated sweeps.

python benchmarks/whether_and_when.py --sweeps 200

Log times follow a doubling of weight decay and a tenth of training fraction by straight lines, with a spread of 0.58;
besides, some trials never grok, by lot or by the same covariates. Times are seen on a grid of measurements and up to a
budget. "As if all grok" is the model of all trials, in which a trial that never groks is a late one. The truth of a
difference of shares is the best line through a sweep of 400,000 trials. One core needs some five minutes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from grokray.analysis.aft import best_aft
from grokray.analysis.design import Design
from grokray.analysis.times import Times
from grokray.analysis.when import fit_when
from grokray.analysis.whether import fit_whether

PER_DOUBLING, PER_TENTH, SPREAD, GRID = -0.35, -0.30, 0.58, 50
AUDITED, STOPPED_AT = 0.25, 1_000  # of late trials; where the others are pruned
NAMES = ("weight_decay", "training_fraction")
RESULT = Path(__file__).parent / "results" / "whether-and-when.json"
GROKKING = {
    "all": lambda decay, data: np.ones(len(decay)),
    "70 %, by lot": lambda decay, data: np.full(len(decay), 0.7),
    "70 %, the more the more weight decay": lambda decay, data: expit(1.1 + 0.7 * decay),
    "30 %, the more the more weight decay": lambda decay, data: expit(-1.1 + 0.7 * decay),
    "the 70 % with the most data": lambda decay, data: (data > 4.5) * 1.0,
}
NOISE = {
    "log-normal": lambda generator, n: generator.normal(size=n),
    "Weibull": lambda generator, n: np.log(-np.log(generator.random(n))),
    "Student's of 3": lambda generator, n: 0.6 * generator.standard_t(3, n),
    "exponential": lambda generator, n: generator.exponential(size=n) - 1,
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    who: str
    budget: int = 4_000
    configurations: int = 150
    seeds: int = 1
    noise: str = "log-normal"
    audits: bool = False

    @property
    def name(self) -> str:
        size = f"{self.configurations} × {self.seeds}" if self.seeds > 1 else f"{self.configurations}"
        return f"{self.who}; {self.noise}, {self.budget:,} steps, {size}{', audits' if self.audits else ''}"


SETTINGS = (
    *(Setting(who=who) for who in GROKKING),
    *(Setting(who=who, budget=20_000) for who in ("70 %, by lot", "70 %, the more the more weight decay")),
    Setting(who="30 %, the more the more weight decay", budget=2_000),
    *(Setting(who="70 %, the more the more weight decay", noise=noise) for noise in [*NOISE][1:]),
    Setting(who="70 %, the more the more weight decay", configurations=40),
    Setting(who="30 %, the more the more weight decay", configurations=40, budget=2_000),
    Setting(who="70 %, the more the more weight decay", configurations=50, seeds=3),
    Setting(who="70 %, the more the more weight decay", configurations=200, audits=True),
    Setting(who="70 %, the more the more weight decay", configurations=67, seeds=3, audits=True),
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    times: Times
    design: Design
    within: np.ndarray


def sweep(setting: Setting, generator: np.random.Generator) -> Sweep:
    rows = np.repeat(np.arange(setting.configurations), setting.seeds)
    decay, data = (generator.uniform(*ends, setting.configurations)[rows] for ends in ((-3, 3), (3, 8)))
    noise = NOISE[setting.noise](generator, len(rows))
    log_step = np.log(1_500) + PER_DOUBLING * decay + PER_TENTH * (data - 5.5) + SPREAD * noise
    grokking = generator.random(len(rows)) < GROKKING[setting.who](decay, data)
    upper = np.where(grokking, np.ceil(np.exp(log_step) / GRID) * GRID, np.inf)
    seen = upper <= setting.budget
    audited = generator.random(len(rows)) < AUDITED
    late = (upper > STOPPED_AT) & setting.audits
    weight = np.where(late, np.where(audited, 1 / AUDITED, 0.0), 1.0)
    lower, upper = np.where(seen, upper - GRID, setting.budget), np.where(seen, upper, np.inf)
    return Sweep(
        times=Times.of(lower, upper, weight, rows),
        design=Design.of(weight_decay=decay, training_fraction=data),
        within=np.full(len(rows), float(setting.budget)),
    )


def measure(setting: Setting, sweeps: int, seed: int) -> dict[str, list[float]]:
    """How many intervals hold the truth, of those that are known, and how many are; of each covariate."""
    generator = np.random.default_rng(seed)
    many = sweep(Setting(**{**setting.__dict__, "configurations": 400_000, "seeds": 1, "audits": False}), generator)
    ones = np.column_stack([np.ones(len(many.times)), many.design.matrix])
    slopes = np.linalg.lstsq(ones, many.times.observed * 1.0, rcond=None)[0][1:]
    log_ratios = np.array([PER_DOUBLING, PER_TENTH])
    rows: dict[str, list[np.ndarray]] = {"as if all grok": [], "when": [], "whether": []}
    values: list[np.ndarray] = []
    for _ in range(sweeps):
        one = sweep(setting, generator)
        times = one.times
        both, when = best_aft(times, one.design)[0], fit_when(times, one.design, one.within)
        whether = fit_whether(times.observed, times.weight, times.cluster, one.design)
        rows["as if all grok"].append(_held(both.effects, np.exp(log_ratios)))
        rows["when"].append(_held(when.effects, np.exp(log_ratios)))
        rows["whether"].append(_held(whether.effects, slopes))
        values.append(np.array([effect.log_ratio for effect in (*both.effects, *when.effects)]))
    found = {name: [float(np.nanmean(column)) for column in np.transpose(held)] for name, held in rows.items()}
    found["known when"] = [float(np.mean(~np.isnan(column))) for column in np.transpose(rows["when"])]
    found["share"] = [float(many.times.observed.mean())]
    found["mean log ratios, as if all grok and when"] = np.nanmean(values, axis=0).tolist()
    return found


def _held(effects: tuple, truth: np.ndarray) -> np.ndarray:
    held = [one.lower <= true <= one.upper for one, true in zip(effects, truth, strict=True)]
    return np.where([one.reason is not None for one in effects], np.nan, held)


def line(setting: Setting, found: dict[str, list[float]]) -> str:
    held = " | ".join(
        ", ".join(f"{100 * value:.0f}" for value in found[name]) for name in ("as if all grok", "when", "whether")
    )
    means = found["mean log ratios, as if all grok and when"]
    ratios = " | ".join(f"{means[at]:.2f}, {means[at + 1]:.2f}" for at in (0, 2))
    return f"| {setting.name} | {100 * found['share'][0]:.0f} % | {ratios} | {held} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    truths = f"mean log ratios (truth {PER_DOUBLING}, {PER_TENTH}), and how many 95 % intervals hold, in %"
    print(f"Of {', '.join(NAMES)}: {truths}\n")
    print("| who groks | seen to | as if all grok | when | as if all grok, holds | when, holds | whether, holds |")
    print("|---|---|---|---|---|---|---|")
    results = {}
    for setting in SETTINGS:
        results[setting.name] = found = measure(setting, options.sweeps, options.seed)
        print(line(setting, found), flush=True)
    about = {"sweeps": options.sweeps, "seed": options.seed, "covariates": NAMES}
    options.out.write_text(json.dumps({**about, "settings": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
