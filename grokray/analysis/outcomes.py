"""What each trial says about grokking within its budget, and how much it counts.

Three kinds of trials say nothing by themselves, and leaving them out in silence would bias every share:

- *pruned* ones were to be stopped because they were behind, also where they came to their end before the stop reached
  them. The trials that the scheduler wanted to stop but that were audited, each with a known probability, stand for
  them: an audited trial counts 1 / its probability, a pruned one not at all (see `weights`).
- *undecided* ones (failed, stopped by hand, unfinished, or ended by grokking at a step that is lost: see `lost_steps`)
  are left out, and counted. While a sweep runs, shares are too high: trials that grok end first.
- *diverged* ones never grok within the budget, so they count as not grokked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grokray.analysis.wording import counted
from grokray.errors import ConfigError, Problem
from grokray.records.schema import CONFIG_FIELDS
from grokray.trial import HASHES, SEEDS

# Fields that say how a trial is watched or where its data lies, and not what it is.
NO_PARAMETERS = frozenset({*SEEDS, *HASHES, "eval_interval", "eval_train_rows", "eval_start", "measure", "data_dir"})
# Those of a search space that do the same. They differ where sweeps are read together that were watched differently.
WATCHING = ("eval_interval", "eval_train_rows", "eval_start", "threshold", "sustain", "continue_training")
LOG_FACTOR = 10
FEW_PRUNED = 0.1  # of a group: of no more, nobody need stand for them
NOBODY = "of one group trials were pruned, and none of it was audited"  # why there is no number
DECIDED = ("grokked", "budget", "diverged")


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Arrays of one entry a trial, in the table's order.

    `grokked` (n,) bool: True where it grokked within its own num_steps. `weight` (n,) float64, 0 where the trial is
    not used. `used` (n,) bool: weight above 0. `survival_weight` (n,): the same, but the undecided count 1, as times
    are censored where they stand. `stands_for` (n,) bool: True where the trial is used, or another one stands for it:
    all but the undecided. `configuration` (n,) int64: 0 … number of configurations − 1. `unfinished`, and
    `damaged` ones, of which it is not known when they grokked, are among the `undecided`. `is_pruned`, `is_audited`
    (n,) bool. `is_lost` (n,) bool: pruned, and no audit was made of its like.
    """

    grokked: np.ndarray
    weight: np.ndarray
    stands_for: np.ndarray
    survival_weight: np.ndarray
    configuration: np.ndarray
    undecided: int
    unfinished: int
    damaged: int
    is_pruned: np.ndarray
    is_audited: np.ndarray
    is_lost: np.ndarray

    @property
    def pruned(self) -> int:
        return int(self.is_pruned.sum())

    @property
    def audited(self) -> int:
        return int(self.is_audited.sum())

    @property
    def lost(self) -> int:
        return int(self.is_lost.sum())

    @property
    def used(self) -> np.ndarray:
        return self.weight > 0

    @property
    def lost_notes(self) -> tuple[str, ...]:
        """That some were pruned for whom none stands."""
        if not self.lost:
            return ()
        return (
            f"{counted(self.lost, 'trial', 'was', 'were')} pruned and none "
            f"{'like them ' if self.audited else ''}was audited: the rest are those that did well early, so shares "
            "are too high and times too short",
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any share must know; nothing where all trials ran to their end."""
        return (*self.lost_notes, *self.undecided_notes)

    @property
    def undecided_notes(self) -> tuple[str, ...]:
        """Who is left out, since what would come of them is not known."""
        notes = []
        if self.unfinished:
            left_out = counted(
                self.unfinished, "trial", "has not ended and is left out", "have not ended and are left out"
            )
            notes.append(f"{left_out}: those that grok end first, so shares are too high until the sweep is done")
        if others := self.undecided - self.unfinished - self.damaged:
            one, many = "is left out: it failed, or was stopped", "are left out: they failed, or were stopped"
            notes.append(counted(others, "trial", one, many))
        if self.damaged:
            left_out = counted(self.damaged, "trial", "ended by grokking, but is", "ended by grokking, but are")
            lost = "its step was" if self.damaged == 1 else "their steps were"
            notes.append(f"{left_out} left out, so shares are too low: {lost} lost with a damaged line")
        return tuple(notes)

    @property
    def cluster(self) -> np.ndarray:
        """(n,) int64: see `drawn_by_chance`."""
        return drawn_by_chance(self.configuration)

    def unrepresented(self, mask: np.ndarray, least: int = 1) -> int:
        """How many of these trials (n,) bool were pruned, where audits are to stand for such, but fewer than `least` of
        these trials were audited; 0 where they are few. Weights mend shares of all trials, and of parts on average
        only: where chance audited none, a part's share is that of trials that did well early."""
        pruned = int((mask & self.is_pruned).sum())
        if not self.audited or (mask & self.is_audited).sum() >= least or pruned <= FEW_PRUNED * mask.sum():
            return 0
        return pruned

    def unrepresented_in(self, cell: np.ndarray, cells: int) -> np.ndarray:
        """(cells,) bool: whether so it is of the trials in each; `cell` (n,) int64, −1 for none."""
        return np.array([self.unrepresented(cell == number) > 0 for number in range(cells)], dtype=bool)

    def once_each(self, weight: np.ndarray | None = None) -> np.ndarray:
        """(n,) float64: `weight`, by default the trials' own, so divided that every configuration counts once, however
        many trials it has."""
        counts = np.bincount(self.configuration, weights=self.stands_for)
        return (self.weight if weight is None else weight) / np.maximum(counts, 1)[self.configuration]


def drawn_by_chance(configuration: np.ndarray) -> np.ndarray:
    """(n,) int64: what an interval takes as drawn anew. The configurations (n,), numbered from 0; where there is one
    alone, each trial, as nothing but its seed varies then."""
    return configuration if configuration.any() else np.arange(len(configuration))


def outcomes(trials: pa.Table) -> Outcomes:
    """Of TRIALS_SCHEMA, also of older tables, which know no audits."""
    outcome = column(trials, "outcome")
    grok_step, num_steps = column(trials, "grok_step"), column(trials, "num_steps")
    grokked = grok_step <= num_steps  # False where it is NaN
    audited = _audited(trials)
    pruned = _to_be_stopped(trials, outcome) & ~audited
    damaged = (outcome == "grokked") & np.isnan(grok_step)
    decided = grokked | np.isin(outcome.astype(str), DECIDED) & ~damaged
    survival_weight = np.where(pruned, 0.0, np.where(audited, 1 / _audit_probability(trials), 1.0))
    undecided = ~decided & ~pruned
    return Outcomes(
        grokked=grokked,
        weight=np.where(decided, survival_weight, 0.0),
        survival_weight=survival_weight,
        stands_for=decided | pruned,
        configuration=np.unique(column(trials, "configuration"), return_inverse=True)[1],
        undecided=int(undecided.sum()),
        unfinished=int((undecided & missing_in(outcome)).sum()),
        damaged=int((undecided & damaged).sum()),
        is_pruned=pruned,
        is_audited=audited,
        is_lost=without_audit(pruned, audited, _chances(trials)),
    )


def without_audit(pruned: np.ndarray, audited: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """(n,) bool: which `pruned` trials none can stand for: those whose `chance` (n,) of being audited was none, as in a
    sweep without an audit that is read together with one that has, or all where chance audited none."""
    return pruned & ~(chance > 0) if audited.any() else pruned


def diverged(trials: pa.Table) -> np.ndarray:
    """(n,) bool"""
    return column(trials, "outcome") == "diverged"


def column(trials: pa.Table, name: str) -> np.ndarray:
    """(n,): float64 with NaN for null where the column is of numbers or truth values, object with None otherwise."""
    if name not in trials.column_names:
        raise ConfigError([Problem(message=f"the trials have no column {name}", field=name)])
    values = trials[name]
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return pc.fill_null(values.cast(pa.float64()), float("nan")).to_numpy()
    return np.array(values.to_pylist(), dtype=object)


def codes(values: np.ndarray) -> tuple[np.ndarray, list]:
    """(n,) any → (n,) int64 and the distinct values in order; null (NaN or None) is the last of them, None."""
    missing = missing_in(values)
    distinct, inverse = np.unique(
        values[~missing].astype(str if values.dtype == object else float), return_inverse=True
    )
    coded = np.full(len(values), len(distinct), dtype=np.int64)
    coded[~missing] = inverse
    return coded, distinct.tolist() + ([None] if missing.any() else [])


def missing_in(values: np.ndarray) -> np.ndarray:
    """(n,) bool: True where the value is null."""
    if values.dtype == object:
        return np.fromiter((value is None for value in values), dtype=bool, count=len(values))
    return np.isnan(values)


def grouped(columns: list[np.ndarray], length: int) -> np.ndarray:
    """(n,) int64: a number for each distinct combination of the columns' values, 0 … combinations − 1."""
    group = np.zeros(length, dtype=np.int64)
    for values in columns:
        coded, distinct = codes(values)
        group = np.unique(group * max(len(distinct), 1) + coded, return_inverse=True)[1]
    return group


def varying(trials: pa.Table) -> list[str]:
    """The parameters with more than one value among the trials, in the table's order; seeds are none of them."""
    names = [name for name in CONFIG_FIELDS if name in trials.column_names and name not in NO_PARAMETERS]
    return [name for name in names if trials.num_rows and len(trials[name].unique()) > 1]


def looks_logarithmic(values: np.ndarray) -> bool:
    """Whether numbers (n,), without null, lie more evenly in the logarithm: positive, over a factor of LOG_FACTOR, and
    with their mean nearer to the middle of the ends there."""
    low, high = values.min(), values.max()
    if low <= 0 or high < LOG_FACTOR * low:
        return False
    linear, log = (np.mean((x - x.min()) / np.ptp(x)) for x in (values, np.log(values)))
    return bool(abs(log - 0.5) < abs(linear - 0.5))


def _to_be_stopped(trials: pa.Table, outcome: np.ndarray) -> np.ndarray:
    """(n,) bool: also of a trial that came to its end before the stop reached it. Had it been a moment slower, it would
    be one of those that audited ones stand for, so that to count it as well would count its like twice."""
    stopped = outcome == "pruned"
    return stopped | ~np.isnan(column(trials, "stop_step")) if "stop_step" in trials.column_names else stopped


def _audited(trials: pa.Table) -> np.ndarray:
    if "audited" not in trials.column_names:
        return np.zeros(trials.num_rows, dtype=bool)
    return column(trials, "audited") == 1


def _chances(trials: pa.Table) -> np.ndarray:
    there = "audit_probability" in trials.column_names
    return column(trials, "audit_probability") if there else np.zeros(trials.num_rows)


def _audit_probability(trials: pa.Table) -> np.ndarray:
    audited, probability = _audited(trials), np.ones(trials.num_rows)
    if audited.any():
        probability = column(trials, "audit_probability")
        wrong = audited & ~((probability > 0) & (probability <= 1))
        if wrong.any():
            value = probability[wrong][0]
            message = f"audit_probability is {value} of an audited trial, but must be in (0, 1]"
            raise ConfigError([Problem(message=message, field="audit_probability")])
    return np.where(audited, probability, 1.0)
