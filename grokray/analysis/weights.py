"""Weights that make up for pruning, and how often the scheduler was wrong.

A scheduler stops the trials that are behind, so what it leaves is no fair sample. But of those that it wants to stop
it lets some run on, chosen at random with a known probability: the audit. Each of these stands for all its like, by
the inverse of that probability, and those that were pruned stand for none: Horvitz, D. G., and Thompson, D. J. (1952).
A generalization of sampling without replacement from a finite universe. JASA 47, 663-685; for censoring: Robins, J.
M., and Finkelstein, D. M. (2000). Correcting for noncompliance and dependent censoring in an AIDS clinical trial with
inverse probability of censoring weighted log-rank tests. Biometrics 56, 779-788.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokray.analysis.intervals import Estimate, share_and_size, wilson, wilson_share
from grokray.analysis.outcomes import without_audit
from grokray.analysis.trial_columns import flags, numbers, table_of, texts
from grokray.analysis.wording import counted
from grokray.errors import ConfigError, Problem

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NO_AUDITED = "no audited trial has ended"


def inverse_probability_weights(trials: pa.Table | pd.DataFrame) -> np.ndarray:
    """(n,): 1 where the scheduler never wanted to stop the trial, 1 / audit_probability where it did and the trial was
    audited, 0 where it was pruned.

    Tables without the columns of the audit have 0 for each pruned trial and 1 for the others. A trial that was to be
    stopped and not audited has 0 whatever its outcome: had it been stopped a moment later, it would still be one of
    those that the audited ones stand for.
    """
    table = table_of(trials)
    unwanted, audited, probability = _audit(table)
    # Of the others there may be no probability, or one of 0, which nothing is divided by.
    return np.where(~unwanted, 1.0, np.where(audited, 1.0 / np.where(audited, probability, 1.0), 0.0))


def stop_steps(trials: pa.Table | pd.DataFrame) -> np.ndarray:
    """(n,): the step at which the scheduler wanted to stop the trial; infinite where it never did, or where none can
    stand for what would have come after."""
    table = table_of(trials)
    unwanted, audited, probability = _audit(table)
    if "stop_step" not in table.column_names:
        return np.full(len(unwanted), np.inf)
    step = numbers(table, "stop_step")
    known = unwanted & ~np.isnan(step) & ~without_audit(unwanted & ~audited, audited, probability)
    return np.where(known, step, np.inf)


@dataclass(frozen=True, kw_only=True)
class SchedulerAudit:
    """How many trials the scheduler wanted to stop, and how often it would have been wrong.

    `finished` of the `audited` ones reached their end: they grokked, diverged or used their budget. `grokked_later` of
    these grokked. `false_stop_rate` is the share of stops that kill a grokker; `grokkers_killed` the share, of all
    trials that would have grokked, that were pruned. `warning` is None, or why numbers from this sweep may be wrong.
    """

    trials: int
    to_be_stopped: int
    pruned: int
    audited: int
    finished: int
    grokked_later: int
    false_stop_rate: Estimate
    grokkers_killed: Estimate
    warning: str | None


def scheduler_audit(trials: pa.Table | pd.DataFrame, level: float = 0.95) -> SchedulerAudit:
    """Of the rows of trials.parquet. ConfigError if a column is missing, or a probability is no probability."""
    table = table_of(trials)
    unwanted, audited, probability = _audit(table)
    outcome, grokked = texts(table, "outcome"), ~np.isnan(numbers(table, "grok_step"))
    # Not one that ended by grokking at a step that is lost: as one that did not grok it would be counted wrong.
    finished = audited & (grokked | np.isin(outcome, ("budget", "diverged")))
    later, cluster = grokked[finished], numbers(table, "configuration")[finished]
    stands_for = 1.0 / probability[finished]  # itself, and the others of its like: those that were pruned
    rate = wilson_share(later, stands_for, cluster, level) if finished.any() else Estimate.none(NO_AUDITED)
    stopped = unwanted & ~audited
    pruned = int(stopped.sum())
    seen = int((grokked & (audited | ~unwanted)).sum())
    return SchedulerAudit(
        trials=table.num_rows,
        to_be_stopped=int(unwanted.sum()),
        pruned=pruned,
        audited=int(audited.sum()),
        finished=int(finished.sum()),
        grokked_later=int((finished & grokked).sum()),
        false_stop_rate=rate,
        grokkers_killed=_killed(
            *share_and_size(later, stands_for - 1.0, cluster), pruned=pruned, seen=seen, level=level
        ),
        warning=_warning(int(without_audit(stopped, audited, probability).sum()), int(audited.sum())),
    )


def _audit(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) each: whether the scheduler wanted to stop it, whether it ran on all the same, and with what probability."""
    unwanted = texts(table, "outcome") == "pruned"
    audited, probability = np.zeros(len(unwanted), bool), np.full(len(unwanted), np.nan)
    if "stop_step" in table.column_names:
        unwanted |= ~np.isnan(numbers(table, "stop_step"))
        audited = flags(table, "audited") & unwanted
        probability = numbers(table, "audit_probability")
    bad = np.flatnonzero(audited & ~((probability > 0) & (probability <= 1)))
    if len(bad):
        message = f"audit_probability of audited trial {bad[0]} is {probability[bad[0]]}, but must be in (0, 1]"
        raise ConfigError([Problem(field="audit_probability", message=message)])
    return unwanted, audited, probability


def _killed(rate: float, _: float, size: float, *, pruned: int, seen: int, level: float) -> Estimate:
    """Of those pruned, as many would have grokked as the audited ones say; the grokkers that were seen are known.

    `rate` is known from `size` audited trials, and how many of those pruned would have grokked varies about it too: as
    when the next so many draws are foretold from the last.
    """
    if not pruned:
        return Estimate(value=0.0, lower=0.0, upper=0.0, note="no trial was pruned")
    if not size > 0:
        return Estimate.none(NO_AUDITED)

    def share(stops: float) -> float:
        return pruned * stops / (pruned * stops + seen)

    lower, upper = wilson(rate, 1 / (1 / size + 1 / pruned), level)
    if not seen:  # and so no audited one either: all that would have grokked were killed, if there were any
        return Estimate.none("no trial grokked, so there is none that could have been killed")
    return Estimate(value=share(rate), lower=share(lower), upper=share(upper))


def _warning(lost: int, audited: int) -> str | None:
    if not lost:
        return None
    where = " of the same sweep" if audited else ""
    return (
        f"{counted(lost, 'trial', 'was', 'were')} pruned and none{where} that the scheduler wanted to stop ran on, so "
        "nothing says how many of them would have grokked. They are left out here, which makes grokking look more "
        "frequent and earlier than it is. "
        "With an audit_fraction, the next sweep can tell"
    )
