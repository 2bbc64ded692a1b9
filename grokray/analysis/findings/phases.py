"""In which phase trials end, and what share of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.diagram import MAX_CATEGORIES, Diagram, cut, diagram
from grokray.analysis.findings.finding import Finding, interval, missing
from grokray.analysis.findings.words import cell
from grokray.analysis.outcomes import codes, column, missing_in, outcomes
from grokray.analysis.phases import Events, cut_short, events_of_curves
from grokray.analysis.phases import phases as phases_of
from grokray.analysis.robustness import weighted_share
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.wording import counted
from grokray.events import PHASE_ACCURACY, PHASES

NAME, TITLE = "phases", "Phases"
METHOD = "weighted share, Wilson by configuration"
STRICTER = f"a phase asks for {PHASE_ACCURACY:g} once, a grok_step for the trial's threshold, as often as sustain says"
TRIALS_IN_A_CELL, BINS = 8, (3, 8)  # on average; the fewest and most bins along a parameter


def phases(sweeps: Sweeps, level: float = 0.95, **thresholds: float) -> Finding:
    """By the trials' own column, or with `thresholds` from their curves: see `Analysis.phases`."""
    trials, notes = sweeps.trials, ()
    found = outcomes(trials)
    events = events_again(sweeps, **thresholds) if thresholds else None
    phase = phases_of(trials, events)
    if not any(phase):
        return missing(NAME, TITLE, "no trial was measured yet")
    if events is not None and (short := int(cut_short(trials, events).sum())):
        one = "ended when it had grokked by its own threshold, before it had by this one"
        many = "ended when they had grokked by their own threshold, before they had by this one"
        notes = (counted(short, "trial", one, many),)
    generalised = np.isin(phase.astype(str), ("comprehension", "grokking"))
    if events is None and (near := int((generalised & found.used & ~found.grokked).sum())):
        one = "of comprehension or grokking is not counted as grokked"
        many = "of comprehension or grokking are not counted as grokked"
        notes = (f"{counted(near, 'trial', one, many)}: {STRICTER}",)
    rows = []
    for name in PHASES:
        here = phase == name
        share = weighted_share(found, here, found.weight, level, METHOD)
        rows.append({"phase": name, "trials": int(here.sum()), **interval("share", share)})
    unmeasured = sum(value is None for value in phase)
    if unmeasured:
        notes = (*notes, f"{counted(unmeasured, 'trial', 'was', 'were')} not measured yet")
    if found.pruned:
        one = "has the phase in which it was stopped; no share has it"
        many = "have the phase in which they were stopped; no share has them"
        notes = (*notes, counted(found.pruned, "pruned trial", one, many))
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"phases": pd.DataFrame(rows)},
        summary=_summary(rows),
        notes=(*notes, *found.notes),
        level=level,
    )


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in rows if not np.isnan(row["share"])]
    if not known:
        return ""
    most = max(row["share"] for row in known)
    first, *more = [row for row in known if math.isclose(row["share"], most)]
    if more:
        names = " and ".join(row["phase"] for row in (first, *more))
        return f"The commonest phases at the end are {names}: {cell('share', first)} of trials each."
    return f"The commonest phase at the end is {first['phase']}: {cell('share', first)} of trials."


def diagram_of(trials: pa.Table, x: str, y: str, level: float = 0.95) -> Diagram:
    """A phase diagram with as many bins as the trials fill, whose `counts` are weighted as its shares are, and 0 where
    these are unknown: pruned trials are in the phase where they were stopped, which says nothing of where they would
    have ended."""
    found = outcomes(trials)
    weight = found.weight if found.used.any() else np.ones(trials.num_rows)
    bins = int(np.clip(np.sqrt((weight > 0).sum() / TRIALS_IN_A_CELL), *BINS))
    scattered = _scattered(trials, x, y)
    most = {name: _most_categories(column(trials, name), scattered) for name in (x, y)}
    made = diagram(trials, *(cut(trials, name, bins, most_categories=most[name]) for name in (x, y)), level=level)
    phase = phases_of(trials)
    number = np.array([PHASES.index(name) if name in PHASES else -1 for name in phase.tolist()])
    known = (made.x.bin >= 0) & (made.y.bin >= 0) & (number >= 0)
    cell = (made.y.bin * len(made.x) + made.x.bin) * len(PHASES) + number
    counts = np.bincount(cell[known], weights=weight[known], minlength=made.counts.size).reshape(made.counts.shape)
    return replace(made, counts=np.where(made.unknown[:, :, None], 0.0, counts))


def _scattered(trials: pa.Table, x: str, y: str) -> bool:
    """Whether half of the combinations of the values of both, or more, were not tried: as where each configuration has
    its own value of one, and one of two values of the other."""
    (first, of_x), (second, of_y) = (codes(column(trials, name)) for name in (x, y))
    tried = len(np.unique(first * len(of_y) + second))
    return 2 * tried <= len(of_x) * len(of_y)


def _most_categories(values: np.ndarray, scattered: bool) -> int:
    """Scattered numbers are cut into ranges even where they are few, or hardly any cell would have a trial."""
    return BINS[0] if scattered and not missing_in(values).any() else MAX_CATEGORIES


def events_again(sweeps: Sweeps, **thresholds: float) -> Events:
    """Events of all trials by other thresholds, from their curves, a part at a time."""
    parts = []
    for table in sweeps.curve_parts(("train_exact_match", "heldout_exact_match")):
        index, step = (table[name].to_numpy() for name in ("trial_index", "step"))
        train, heldout = (table[f"{part}_exact_match"].to_numpy() for part in ("train", "heldout"))
        parts.append(events_of_curves(index, step, train, heldout, **thresholds))  # pyright: ignore[reportArgumentType]
    names = Events.__dataclass_fields__
    order = np.argsort(np.concatenate([part.trial_index for part in parts]), kind="stable")
    return Events(**{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names})
