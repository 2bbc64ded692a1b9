"""Which of the numbers that are measured early tell who will grok first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from grokray.analysis.concordance import Concordance, concordance
from grokray.analysis.findings.finding import Finding, interval, missing, unique, without_silence
from grokray.analysis.findings.survival import horizon_of
from grokray.analysis.findings.words import cell
from grokray.analysis.intervals import Estimate
from grokray.analysis.landmarks import Landmark, landmarks, steps_of, until
from grokray.analysis.outcomes import NOBODY, Outcomes, column, outcomes
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.times import Times, times_of
from grokray.analysis.weights import scheduler_audit
from grokray.analysis.wording import counted
from grokray.arguments import refused
from grokray.wording import listed

MOST_TRIALS = 10_000
NAME, TITLE = "predictors", "What early measurements tell of later grokking"
CHOSEN = (
    "the best of several measures was chosen by looking at them; an interval is of one measure at one step that was "
    "chosen beforehand"
)
LATER = (
    "at each step only trials count that had not grokked by then, and of which the measure was a number there, so "
    "steps are of different trials"
)
LAST = "no further than the smallest budget"
PRUNED = "what is like the signal that trials were pruned by tells less of the rest than it would of all"


def predictors(sweeps: Sweeps, level: float = 0.95, at: int | Sequence[int] | None = None) -> Finding:
    """ConfigError for a step that is none."""
    times = times_of(sweeps.trials)
    if not times.counted().observed.any():
        return missing(NAME, TITLE, "no trial has grokked")
    horizon = horizon_of(sweeps.trials, times.counted())
    steps = steps_of(sweeps.trials, horizon) if at is None else _checked(at, horizon)
    if not steps:
        return missing(NAME, TITLE, "trials are not measured before half of their budget is over")
    times, drawn = _sampled(until(times, horizon))
    marks, whole = landmarks(sweeps, times, steps), outcomes(sweeps.trials)
    found = [(mark, name, _of(mark, name, times, whole, level)) for mark in marks for name in _apart(mark)]
    rows = [_row(mark.step, name, one) for mark, name, one in found if one is not None]
    rows.sort(key=lambda row: (row["step"], -np.nan_to_num(row["concordance"])))
    if not rows:
        return missing(NAME, TITLE, _silent(marks))
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"predictors": without_silence(pd.DataFrame(rows), "reason")},
        summary=_summary(rows),
        notes=unique(
            [CHOSEN, LATER, drawn, *_lacking(rows), *_measured_before(marks, times), *_of_all(sweeps, horizon)]
        ),
        level=level,
        estimates={(mark.step, name): one for mark, name, one in found if one is not None},
    )


def _sampled(times: Times) -> tuple[Times, str | None]:
    """All trials; or of more than MOST_TRIALS about so many, whole configurations drawn at random, and a note of it."""
    if len(times.counted()) <= MOST_TRIALS:
        return times, None
    clusters = int(times.codes.max()) + 1
    drawn = (np.random.default_rng(0).random(clusters) < MOST_TRIALS / len(times.counted()))[times.codes]
    times = dataclasses.replace(times, weight=np.where(drawn, times.weight, 0.0))
    return times, f"all pairs of so many trials take long: {len(times.counted()):,} were drawn"


def _checked(at: Any, horizon: float) -> list[int]:
    steps = [at] if isinstance(at, Integral) else at
    is_list = isinstance(steps, list | tuple) and len(steps) > 0
    if not is_list or not all(_is_step(step, horizon) for step in steps):
        rule = f"must be a step, or a list of steps, each from 1 to below {horizon:,.0f}, {LAST}"
        raise refused("at", at, rule)
    return sorted({int(step) for step in steps})


def _is_step(step: Any, horizon: float) -> bool:
    return isinstance(step, Integral) and not isinstance(step, bool) and 1 <= int(step) < horizon


def _apart(mark: Landmark) -> list[str]:
    """Without token accuracy where that is exact match, as of answers of one token."""
    exact = {name: mark.values.get(name.replace("_token_accuracy", "_exact_match")) for name in mark.values}
    return [
        name
        for name, values in mark.values.items()
        if (twin := exact[name]) is None or twin is values or not np.array_equal(twin, values, equal_nan=True)
    ]


def _of(mark: Landmark, name: str, times: Times, whole: Outcomes, level: float) -> Concordance | None:
    """None of a measure that tells no two trials apart."""
    values = mark.values[name]
    known = mark.at_risk & ~np.isnan(values)
    there = known & (times.weight > 0)
    if len(np.unique(values[there])) < 2:
        return None
    if whole.unrepresented(known):
        none, grokked = Estimate.none(NOBODY), int(times.observed[there].sum())
        return Concordance(among_all=none, within=none, trials=int(there.sum()), grokked=grokked)
    return concordance(values[there], times.select(there), level)


def _silent(marks: Sequence[Landmark]) -> str:
    """Why there is no row."""
    if all(np.isnan(values).all() for mark in marks for values in mark.values.values()):
        return f"no trial was measured by step {marks[-1].step:,}"
    return "no measure differs between trials that had not grokked"


def _lacking(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    most: dict[int, int] = {}
    for row in rows:
        most[row["step"]] = max(most.get(row["step"], 0), row["trials"])
    if fewer := dict.fromkeys(row["measure"] for row in rows if row["trials"] < most[row["step"]]):
        yield f"{listed([*fewer])} was no number in some trials, so tells of other trials than the rest of its step"


def _measured_before(marks: Sequence[Landmark], times: Times) -> Iterator[str]:
    for mark in marks:
        there = np.any([~np.isnan(values) for values in mark.values.values()], axis=0)
        measured = mark.measured[there & mark.at_risk & (times.weight > 0)]
        if (measured < mark.step).any():
            yield (
                f"{'none' if (measured < mark.step).all() else 'not each'} of the trials is measured at step "
                f"{mark.step:,}: the last measurement before counts, at {int(measured.min()):,} at the earliest"
            )


def _of_all(sweeps: Sweeps, horizon: float) -> Iterator[str | None]:
    """Of undecided trials it is known here that they had not grokked by then; shares of trials leave them out."""
    whole = outcomes(sweeps.trials)
    if np.ptp(column(sweeps.trials, "num_steps")):
        yield f"times count up to step {horizon:,.0f}, {LAST}"
    if whole.unfinished:
        more = counted(whole.unfinished, "trial", "has", "have")
        yield f"{more} not ended: of two that grok late it is not known yet who is first"
    if others := whole.undecided - whole.unfinished:
        failed = "failed, or was stopped: it counts", "failed, or were stopped: they count"
        yield f"{counted(others, 'trial', *failed)} up to where observation ended"
    if whole.lost:
        yield scheduler_audit(sweeps.trials).warning
        yield PRUNED


def _row(step: int, name: str, found: Concordance) -> dict[str, Any]:
    """By the direction in which more than half of the pairs agree."""
    all_pairs, within = found.among_all, found.within
    larger = not all_pairs.value < 0.5
    return {
        "step": step,
        "measure": name,
        "first_groks": "" if np.isnan(all_pairs.value) else f"who has {'more' if larger else 'less'}",
        **_turned(interval("concordance", all_pairs), larger),
        **_turned(interval("within", within), larger),
        "trials": found.trials,
        "grokked": found.grokked,
        "reason": all_pairs.note or "",
    }


def _turned(numbers: dict[str, float], larger: bool) -> dict[str, float]:
    if larger:
        return numbers
    value, lower, upper = numbers.values()
    return dict(zip(numbers, (1 - value, 1 - upper, 1 - lower), strict=True))


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    """Of the first step of which anything is known, and there of what tells most."""
    known = [row for row in rows if not np.isnan(row["concordance_lower"])]
    if not known:
        return ""
    best = known[0]
    who = best["first_groks"].removeprefix("who has ")
    within = "" if np.isnan(best["within"]) else f"; of pairs that differ in their seeds alone, {cell('within', best)}"
    return (
        f"Of what is measured at step {best['step']:,}, {best['measure']} tells best who groks first: the one with "
        f"{who}, in {cell('concordance', best)} of all pairs of trials{within}."
    )
