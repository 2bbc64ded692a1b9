"""What speaks against trusting the numbers: each as one warning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.findings.finding import Finding, missing, unique
from grokray.analysis.outcomes import column, outcomes
from grokray.analysis.weights import scheduler_audit
from grokray.analysis.wording import count

NAME, TITLE = "quality", "Quality of the data"
FEW_TRIALS, FEW_SEEDS, FEW_GROKKED, FEW_AUDITS = 50, 3, 10, 20
COARSE = 0.2  # of the step of an event, that it is known to
MANY_LOST = 0.1


def quality(trials: pa.Table) -> Finding:
    """`missing` where nothing is wrong."""
    warnings = unique([*_pruning(trials), *_sizes(trials), *_grid(trials), *_lost(trials)])
    if not warnings:
        return missing(NAME, TITLE, "nothing speaks against the numbers above")
    return Finding(name=NAME, title=TITLE, tables={"warnings": pd.DataFrame({"warning": warnings})})


def _pruning(trials: pa.Table) -> list[str | None]:
    found = scheduler_audit(trials)
    few = None
    if found.pruned and 0 < found.finished < FEW_AUDITS:
        few = (
            f"only {found.finished} audited trials came to their end, and they stand for {found.pruned:,} that were "
            "pruned: intervals are wide, and may be too narrow all the same"
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
        f"most configurations have {count(int(seeds), 'trial')}: with fewer than {FEW_SEEDS} seeds, chance and "
        "parameters are hard to tell apart"
        if seeds < FEW_SEEDS
        else None,
    ]


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
    names = {"failed": "failed", "stopped": "were stopped by hand", None: "have not ended"}
    counts = {text: int(np.sum([o == name for o in outcome])) for name, text in names.items()}
    return [
        f"{number:,} of {len(outcome):,} trials {text}"
        + (", and trials that grok end first: shares are too high" if text == "have not ended" else "")
        for text, number in counts.items()
        if number > (0 if text == "have not ended" else MANY_LOST * len(outcome))
    ]


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
