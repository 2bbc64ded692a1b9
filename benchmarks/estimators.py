"""CPU-seconds that each estimator takes for very many trials: python benchmarks/estimators.py --trials 100000

Once with times on a grid of 200 measurements, once with an interval of its own for each trial; weighted, in clusters of
three, six covariates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from grokray.analysis.aft import fit_aft
from grokray.analysis.cox import fit_cox
from grokray.analysis.design import Design
from grokray.analysis.logrank import log_rank
from grokray.analysis.survival import kaplan_meier, restricted_mean, share_by
from grokray.analysis.times import Times
from grokray.analysis.turnbull import turnbull

BUDGET, GRID = 20_000.0, 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    size = parser.parse_args().trials
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(size, 6))
    step = np.exp(9 + matrix[:, 0] / 3 - matrix[:, 1] / 5 + 0.6 * generator.normal(size=size))
    weight, cluster = np.where(generator.random(size) < 0.1, 6.7, 1.0), np.arange(size) // 3
    design, group = Design.of(**{f"x{at}": matrix[:, at] for at in range(6)}), generator.integers(0, 6, size)
    upper = np.maximum(np.ceil(step / GRID), 1) * GRID
    loose = step / generator.uniform(0.8, 1, size)
    for name, low, high in (("a grid", upper - GRID, upper), ("intervals of their own", 0.8 * loose, loose)):
        print(f"{size:,} trials, {name}")
        ended = high > BUDGET
        times = Times.of(np.where(ended, BUDGET, low), np.where(ended, np.inf, high), weight, cluster)
        _time("Kaplan-Meier", lambda times=times: kaplan_meier(times))
        _time("share by a horizon", lambda times=times: share_by(times, BUDGET))
        _time("restricted mean", lambda times=times: restricted_mean(times, BUDGET))
        found = _time("Turnbull", lambda times=times: turnbull(times))
        print(f"  {'':24} {found.iterations} iterations, {len(found.mass):,} intervals, converged: {found.converged}")
        _time("log-rank, 6 groups", lambda times=times: log_rank(times, group))
        _time("log-normal", lambda times=times: fit_aft(times, design, "lognormal"))
        _time("Weibull", lambda times=times: fit_aft(times, design, "weibull"))
        _time("Cox", lambda times=times: fit_cox(times, design))


def _time(name: str, run: Callable[[], Any]) -> Any:
    start = time.process_time()
    found = run()
    print(f"  {name:24} {time.process_time() - start:6.2f} CPU-s", flush=True)
    return found


if __name__ == "__main__":
    main()
