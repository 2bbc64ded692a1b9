"""What speaks against trusting the numbers: each as one warning."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.design import CAUSES
from grokray.analysis.findings.finding import Finding, missing, unique
from grokray.analysis.outcomes import WATCHING, column, grouped, outcomes, varying
from grokray.analysis.weights import scheduler_audit
from grokray.analysis.wording import counted
from grokray.trial import SEEDS
from grokray.wording import count, percent

NAME, TITLE = "quality", "Quality of the data"
FEW_TRIALS, FEW_SEEDS, FEW_GROKKED, FEW_AUDITS = 50, 3, 10, 20
COARSE = 0.2  # of the step of an event, that it is known to
MANY_LOST = 0.1
UNEVEN = (
    "shares of trials, times and variances are of what was tried, not of a search space, and along one parameter the "
    "others change, too. Robustness estimates the space by a model, and effects hold the other parameters fixed"
)


def quality(trials: pa.Table, uneven: str | None = None) -> Finding:
    """`missing` where nothing is wrong. `uneven`: see `Sweeps.uneven`."""
    apart = f"{uneven}: {UNEVEN}" if uneven else None
    warnings = unique([apart, *_pruning(trials), *_sizes(trials), *_alike(trials), *_grid(trials), *_lost(trials)])
    if not warnings:
        return missing(NAME, TITLE, "nothing speaks against the numbers above")
    return Finding(name=NAME, title=TITLE, tables={"warnings": pd.DataFrame({"warning": warnings})})


def _nearest(trials: pa.Table) -> str | None:
    """Where none grokked, how far the best one came, the one of `plot --best`: of equal ones by the least loss."""
    best, loss = column(trials, "best_heldout_exact_match"), column(trials, "best_heldout_loss")
    if np.isnan(best).all():
        return None
    first = np.lexsort((np.nan_to_num(loss, nan=np.inf), -np.nan_to_num(best, nan=-1.0)))[0]
    row = trials.slice(int(first), 1).to_pylist()[0]
    share = percent(row["best_heldout_exact_match"])
    at, id = f"{row['best_heldout_exact_match_step']:,}", row["trial_id"]
    return f"the trial that came nearest, {id}, had {share} of its held-out answers right, at step {at}"


def _pruning(trials: pa.Table) -> list[str | None]:
    found = scheduler_audit(trials)
    few = None
    if found.pruned and 0 < found.finished < FEW_AUDITS:
        one, many = "came to its end, and it stands", "came to their end, and they stand"
        few = (
            f"only {counted(found.finished, 'audited trial', one, many)} for {count(found.pruned, 'pruned trial')}: "
            "intervals are wide, and may be too narrow all the same"
        )
    return [found.warning, few]


def _sizes(trials: pa.Table) -> list[str | None]:
    found = outcomes(trials)
    used, grokked = int(found.used.sum()), int((found.used & found.grokked).sum())
    of_one = np.unique(found.configuration, return_counts=True)[1]
    seeds = float(np.median(of_one)) if len(of_one) else 0.0
    return [
        f"{count(used, 'trial')} came to an end, but {FEW_TRIALS} are the least for shares"
        if used < FEW_TRIALS
        else None,
        f"{count(grokked, 'trial')} grokked, but {FEW_GROKKED} are the least for times"
        if grokked < FEW_GROKKED
        else None,
        None if grokked else _nearest(trials),
        f"most configurations have {count(int(seeds), 'trial')}: with fewer than {FEW_SEEDS} seeds, chance and "
        "parameters are hard to tell apart"
        if seeds < FEW_SEEDS
        else None,
    ]


def _alike(trials: pa.Table) -> list[str | None]:
    """Trials that repeat others, and parameters that do."""
    names, size = [name for name in varying(trials) if name not in WATCHING], trials.num_rows
    apart, alike = (
        int(grouped([column(trials, name) for name in (*kept, *SEEDS)], size).max(initial=-1)) + 1
        for kept in (names, [name for name in names if name != "num_steps"])
    )
    warnings: list[str | None] = []
    if apart > alike:
        them, they = ("is another", "trains like it") if apart - alike == 1 else ("are others", "train like them")
        warnings.append(
            f"{apart - alike:,} of {size:,} trials {them} with another num_steps, and {they} until the shorter one "
            "ends: each counts as a trial of its own, so intervals are too narrow"
        )
    return [*warnings, *_together(trials, [name for name in names if name in CAUSES and _is_number(trials[name])])]


def _together(trials: pa.Table, names: list[str]) -> list[str]:
    """Numbers that many configurations share, and of which one rises, or falls, whenever the other does. A few random
    points, read for several tasks, have one number for each other one, but in no such order."""
    few = len(np.unique(column(trials, "configuration"))) / 2
    values = {name: column(trials, name) for name in names}
    distinct = {name: number for name in names if (number := len(np.unique(values[name]))) < few}
    return [
        f"{first} and {second} always change together: what either of them does cannot be told"
        for first, second in combinations(distinct, 2)
        if distinct[first] == distinct[second]
        and grouped([values[first], values[second]], trials.num_rows).max() + 1 == distinct[first]
        and _in_order(values[first], values[second])
    ]


def _in_order(first: np.ndarray, second: np.ndarray) -> bool:
    """Of pairs in which each number has one other."""
    change = np.diff(second[np.argsort(first, kind="stable")])
    return bool((change >= 0).all() or (change <= 0).all())


def _is_number(values: pa.ChunkedArray) -> bool:
    """And there for every trial: what a condition brings about changes with it by design."""
    return (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)) and not values.null_count


def _grid(trials: pa.Table) -> list[str | None]:
    step, lower = column(trials, "grok_step"), column(trials, "grok_step_lower")
    grokked = ~np.isnan(step)
    coarse = (step - np.nan_to_num(lower))[grokked] > COARSE * step[grokked]
    together = column(trials, "memorization_step")[grokked] == step[grokked]
    warnings: list[str | None] = []
    if coarse.any() and coarse.mean() > MANY_LOST:
        warnings.append(
            f"{_share(coarse.mean())} of grok steps are known to no better than {_share(COARSE)} of themselves: "
            "eval_interval is coarse for events this early"
        )
    if together.any() and together.mean() > MANY_LOST:
        warnings.append(
            f"{_share(together.mean())} of the trials that grokked memorized in the same measurement: with a smaller "
            "eval_interval their delay could be told"
        )
    return warnings


def _lost(trials: pa.Table) -> list[str | None]:
    outcome = column(trials, "outcome")
    said = {
        "failed": ("failed", "failed"),
        "stopped": ("was stopped by hand", "were stopped by hand"),
        None: ("has not ended", "have not ended"),
    }
    counts = {name: int(np.sum([o == name for o in outcome])) for name in said}
    return [
        f"{number:,} of {count(len(outcome), 'trial')} {said[name][number != 1]}"
        + (", and trials that grok end first: shares are too high" if name is None else "")
        for name, number in counts.items()
        if number > (0 if name is None else MANY_LOST * len(outcome))
    ]


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
