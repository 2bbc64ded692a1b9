"""Events and phases of all trials at once, read off their curves with thresholds of one's own.

The definitions are those of `grokray.events` (phases after Liu et al. 2022, "Towards Understanding Grokking"), which
reads one curve at a time and is this file's slow twin in the tests. Here nothing loops over measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import column
from grokray.errors import ConfigError, Problem
from grokray.events import PHASE_ACCURACY, PHASE_GAP_STEPS, UNGROK_ACCURACY
from grokray.wording import show


@dataclass(frozen=True, kw_only=True)
class Events:
    """One entry a measured trial, by rising trial_index; steps are float64 with NaN where there was no event.

    An event lies in (its `_lower`, itself]. `last_step` is the last measurement, where a trial without the event is
    censored. `phase` is one of PHASES, without `diverged`, which no curve tells.
    """

    trial_index: np.ndarray
    last_step: np.ndarray
    memorization_step: np.ndarray
    memorization_step_lower: np.ndarray
    grok_step: np.ndarray
    grok_step_lower: np.ndarray
    ungrok_step: np.ndarray
    phase: np.ndarray


def events_of_curves(
    trial_index: np.ndarray,
    step: np.ndarray,
    train: np.ndarray,
    heldout: np.ndarray,
    *,
    threshold: float = 0.99,
    sustain: int = 3,
    ungrok_accuracy: float = UNGROK_ACCURACY,
    phase_accuracy: float = PHASE_ACCURACY,
    phase_gap_steps: int = PHASE_GAP_STEPS,
) -> Events:
    """`trial_index`, `step` (n,) sorted by both; `train`, `heldout` (n,) exact match in [0, 1], NaN where unmeasured.

    A worked example with sustain=2: held-out 0.2 at step 100, 1.0 at 200, 1.0 at 300 gives grok_step 200,
    grok_step_lower 100. Rows of step 0 make no event. ConfigError where the rows are not sorted, or a threshold cannot
    be one.
    """
    accuracies = {"threshold": threshold, "phase_accuracy": phase_accuracy}
    _check(trial_index, step, accuracies, sustain=sustain, phase_gap_steps=phase_gap_steps)
    trial_index, step, train, heldout = (values[step > 0] for values in (trial_index, step, train, heldout))
    curves = _Curves(trial_index, step)
    memorized = curves.first(train >= threshold)
    confirmed = curves.first(curves.streak(heldout >= threshold) >= sustain)
    grokked = np.where(confirmed < 0, -1, confirmed - sustain + 1)
    # Only what follows the measurement that made the grokking certain can undo it.
    after = np.arange(len(step)) > np.where(confirmed < 0, len(step), confirmed)[curves.number]
    learnt, generalised = (curves.steps(curves.first(accuracy >= phase_accuracy)) for accuracy in (train, heldout))
    return Events(
        trial_index=trial_index[curves.start],
        last_step=step[curves.end].astype(float),
        memorization_step=curves.steps(memorized),
        memorization_step_lower=curves.steps_before(memorized),
        grok_step=curves.steps(grokked),
        grok_step_lower=curves.steps_before(grokked),
        ungrok_step=curves.steps(curves.first(after & (heldout < min(ungrok_accuracy, threshold)))),
        phase=_phases(learnt, generalised, phase_gap_steps),
    )


def phases(trials: pa.Table, found: Events | None = None) -> np.ndarray:
    """(n,) object: each trial's phase, None where nothing was measured.

    By default the trials' own column; with `found`, what was read off the curves, but `diverged` of the trials that
    did.
    """
    own = column(trials, "phase")
    if found is None:
        return own
    phase = align(trials, found, found.phase)
    phase[own == "diverged"] = "diverged"
    return phase


def align(trials: pa.Table, found: Events, values: np.ndarray) -> np.ndarray:
    """One of the arrays of `found`, in the order of the trials' rows: NaN, or None, for a trial without a curve."""
    index = trials["trial_index"].to_numpy()
    empty = None if values.dtype == object else float("nan")
    aligned = np.full(len(index), empty, dtype=values.dtype)
    if len(found.trial_index):
        place = np.minimum(np.searchsorted(found.trial_index, index), len(found.trial_index) - 1)
        known = found.trial_index[place] == index
        aligned[known] = values[place[known]]
    return aligned


def cut_short(trials: pa.Table, found: Events) -> np.ndarray:
    """(n,) bool: True where the trial ended because it had grokked by its own threshold, but has not by the new one.

    A stricter definition is censored there, and not by chance: those trials were about to grok. Only trials with
    continue_training are free of it.
    """
    ended = column(trials, "outcome") == "grokked"
    ended &= column(trials, "continue_training") != 1
    return ended & np.isnan(align(trials, found, found.grok_step))


class _Curves:
    """Rows of one trial after the other; `number` (n,) counts the trials, `start` and `end` (trials,) are rows."""

    def __init__(self, trial_index: np.ndarray, step: np.ndarray) -> None:
        self.step = step
        opens = np.r_[True, trial_index[1:] != trial_index[:-1]] if len(step) else np.zeros(0, dtype=bool)
        self.start, self.number = np.flatnonzero(opens), np.cumsum(opens) - 1
        self.end = np.r_[self.start[1:], len(step)][: len(self.start)] - 1

    def first(self, happened: np.ndarray) -> np.ndarray:
        """(trials,): the row where `happened` (n,) is first true; −1 if nowhere."""
        if not len(happened):
            return np.zeros(0, dtype=np.int64)
        none = len(happened)
        row = np.minimum.reduceat(np.where(happened, np.arange(none), none), self.start)
        return np.where(row == none, -1, row)

    def streak(self, holds: np.ndarray) -> np.ndarray:
        """(n,): for how many rows on end, up to this one and within the trial, `holds` (n,) has been true."""
        row = np.arange(len(holds))
        broken = np.maximum(np.where(holds, -1, row), self.start[self.number] - 1)
        return row - np.maximum.accumulate(broken)

    def steps(self, row: np.ndarray) -> np.ndarray:
        return np.where(row < 0, np.nan, self.step[row]) if len(row) else np.zeros(0)

    def steps_before(self, row: np.ndarray) -> np.ndarray:
        """The measurement before; step 0 before the first one."""
        before = np.where(row > self.start, self.step[row - 1], 0) if len(row) else np.zeros(0)
        return np.where(row < 0, np.nan, before)


def _phases(learnt: np.ndarray, generalised: np.ndarray, gap: float) -> np.ndarray:
    phase = np.where(generalised - learnt >= gap, "grokking", "comprehension").astype(object)
    phase[np.isnan(generalised)] = "memorization"
    phase[np.isnan(learnt)] = "confusion"
    return phase


def _check(
    trial_index: np.ndarray, step: np.ndarray, accuracies: dict[str, float], *, sustain: int, phase_gap_steps: int
) -> None:
    faults = []
    same, later = np.diff(trial_index) == 0, np.diff(step) > 0
    if (np.diff(trial_index) < 0).any() or (same & ~later).any():
        faults.append(Problem(message="the curves must be sorted by trial_index and step, with each step once"))
    for name, accuracy in accuracies.items():
        if not (isinstance(accuracy, Real) and 0 < accuracy <= 1):
            faults.append(Problem(message=f"{name} is {show(accuracy)}, but must be in (0, 1]", field=name))
    if not (isinstance(sustain, Real) and sustain >= 1 and float(sustain).is_integer()):
        message = f"sustain is {show(sustain)}, but must be a whole number above 0"
        faults.append(Problem(message=message, field="sustain"))
    if not (isinstance(phase_gap_steps, Real) and phase_gap_steps >= 0):
        message = f"phase_gap_steps is {show(phase_gap_steps)}, but must be 0 or above"
        faults.append(Problem(message=message, field="phase_gap_steps"))
    if faults:
        raise ConfigError(faults)
