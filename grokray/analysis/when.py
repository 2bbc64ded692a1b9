"""What covariates do to when trials grok, of those that do: whatever makes the others fail has no part in it.

A model in which all grok in the end takes those that never would for late ones: where they were the 30 % with the least
data, its ratio for more data was off by a factor, and its intervals never held the truth (simulated: log, 2026-11-30).

Where trials were pruned, those that grokked late are known by audited ones. Where a few were audited and none of these
grokked, only early ones are left, and 95 % intervals held 67 % (log, 2026-12-01); from one on they hold.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from grokray.analysis.aft import AftFit, best_aft, fit_aft
from grokray.analysis.bends import bends
from grokray.analysis.design import Design
from grokray.analysis.effects import not_estimable
from grokray.analysis.outcomes import FEW_PRUNED
from grokray.analysis.times import Times
from grokray.analysis.trial_columns import numbers

FEW_AUDITED = 10  # if none of as many grokked, hardly any that was pruned would have
EARLY_ALONE = "only trials that the scheduler never wanted to stop grokked, and too few others were audited"


def fit_when(times: Times, design: Design, within: np.ndarray, level: float = 0.95) -> AftFit:
    """`within` (n,) is what `seen_within` says. Effects are those of all columns of the design, in its order."""
    grokked = np.flatnonzero(times.observed & (times.weight > 0))
    fit, _ = best_aft(times.select(grokked), design.select(grokked), level, within=within[grokked])
    if _early_alone(times):
        early = tuple(not_estimable(*one, EARLY_ALONE) for one in zip(design.names, design.labels, strict=True))
        return replace(fit, effects=early, failure=EARLY_ALONE)
    found = {effect.name: effect for effect in fit.effects}
    effects = tuple(
        found[name] if name in found else not_estimable(name, label, f"of trials that grokked, {_why(fit, name)}")
        for name, label in zip(design.names, design.labels, strict=True)
    )
    return replace(fit, effects=effects)


def uneven_when(times: Times, design: Design, within: np.ndarray, fit: AftFit) -> dict[str, float]:
    """As `bends` has it; `fit` is of the same trials without squares."""
    grokked = np.flatnonzero(times.observed & (times.weight > 0))
    times, within = times.select(grokked), within[grokked]

    def p_of_last(bent: Design) -> float:
        found = fit_aft(times, bent, fit.family, within=within)
        return found.effects[-1].p_value if found.effects and found.effects[-1].name == bent.names[-1] else float("nan")

    return {} if fit.failure else bends(design.select(grokked), fit.names, fit.events, p_of_last)


def seen_within(trials: pa.Table) -> np.ndarray:
    """(n,) steps: the last at which each trial could have grokked, as that takes `sustain` measurements in a row."""
    late = (numbers(trials, "sustain") - 1) * numbers(trials, "eval_interval")
    return numbers(trials, "num_steps") - late


def _early_alone(times: Times) -> bool:
    audited = times.weight > 1
    enough = int(audited.sum()) >= FEW_AUDITED or bool(times.observed[audited].any())
    return bool(audited.any()) and not enough and int((times.weight == 0).sum()) > FEW_PRUNED * len(times)


def _why(fit: AftFit, name: str) -> str:
    return fit.left_out.get(name, "nothing tells it")
