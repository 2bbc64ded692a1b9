"""The public analysis of one or several sweeps: `grokray.load("results/robust")`.

Each method answers one question as a Finding: tables as pandas frames, a sentence, and what to mind. What censoring,
pruning and audits do to each estimate is in docs/analysis.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grokray.analysis.conditions import chosen_by
from grokray.analysis.findings.audit import audit
from grokray.analysis.findings.comparison import comparison, delay
from grokray.analysis.findings.critical import critical_fraction
from grokray.analysis.findings.effects import effects
from grokray.analysis.findings.finding import Finding
from grokray.analysis.findings.importance import importance
from grokray.analysis.findings.overview import overview
from grokray.analysis.findings.phases import phases
from grokray.analysis.findings.predictors import predictors
from grokray.analysis.findings.quality import quality
from grokray.analysis.findings.robustness import robustness
from grokray.analysis.findings.survival import survival
from grokray.analysis.findings.tasks import tasks
from grokray.analysis.findings.variance import variance
from grokray.analysis.sweeps import BY_HAND, Sweeps, load_sweeps
from grokray.analysis.times import times_of
from grokray.arguments import refused, texts
from grokray.errors import ConfigError, Problem
from grokray.wording import count

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

# Of intervals: one of a lower level says little, one of a higher level is said to be of 100 %, and has no end.
LEVELS = 0.5, 0.9999


class Analysis:
    """Of all trials of the sweeps: `trials` and `curves` are pandas frames, each question a method.

    A method gives a Finding: `summary`, `tables` (pandas frames; a number `x` has its interval in `x_lower` and
    `x_upper`) and `notes`. Its plot_… draws it with matplotlib, into `ax` or a new figure, and gives the axes. `by` is
    any column of `trials`. `level` is that of all intervals; `seed` that of all bootstraps.

    What has been computed without arguments is kept. ConfigError for a column that does not exist.
    """

    def __init__(self, sweeps: Sweeps, *, level: float = 0.95, seed: int = 0) -> None:
        if not isinstance(sweeps, Sweeps):
            raise refused("sweeps", sweeps, "must be what load_sweeps gives; grokray.load takes a folder")
        _check(level, seed)
        self.sweeps, self.level, self.seed = sweeps, level, seed
        self._kept: dict[str, Finding] = {}

    def __repr__(self) -> str:
        return f"<Analysis of {self.sweeps.name}: {self.sweeps.size}>"

    def where(self, *chosen: ArrayLike) -> Analysis:
        """The analysis of a part of the trials: `a.where("weight_decay>=0.1", "base=10")`, or by a truth for each,
        `a.where(a.trials.base == 10)`. All must hold.

        A condition is a column, one of = != < <= > >=, and a value; where a trial has no value != alone holds, and
        `base=none`. Choose by parameters, seeds or sweeps. What is chosen by what came of trials, such as those that
        grokked, is no fair sample of anything, and no condition. The search space is then the part of it that the
        chosen trials span.
        """
        if not chosen:
            raise ConfigError([Problem(message="where needs a condition, or a truth for each trial", field="chosen")])
        held, by = chosen_by(self.sweeps.trials, [one for one in chosen if isinstance(one, str)])
        for one in chosen:
            if not isinstance(one, str):
                held, by = held & _truths(one, self.trials), (*by, BY_HAND)
        return Analysis(self.sweeps.part(held, by), level=self.level, seed=self.seed)

    def with_column(self, name: str, expression: str) -> Analysis:
        """The analysis with a column made of others: `a.with_column("shrinkage", "learning_rate*weight_decay")`.

        Of columns of numbers that are known before a trial trains, numbers, + - * / ** and parentheses; null where it
        is no number. Groups, critical fractions, profiles, phase diagrams, conditions and effects take it like a
        parameter; the search space stays as it is.
        """
        return Analysis(self.sweeps.with_column(name, expression), level=self.level, seed=self.seed)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial, as in trials.parquet, and `sweep`, the folder's name."""
        return self.sweeps.trials.drop_columns(["folder_number"] if len(self.sweeps.folders) > 1 else []).to_pandas()

    def times(self) -> pd.DataFrame:
        """When each trial grokked, as the estimators take it, for other programs: `a.trials.join(a.times())`.

        Of each row of `trials` it was after step `lower` and by `upper`, which is infinite where it was not seen;
        `steps` and `observed` say the same by one number, `upper` or else `lower`; `weight` is how many trials it
        stands for, 0 where it was pruned. Diverged trials are seen to the end of their budget.
        """
        import pandas as pd

        found = times_of(self.sweeps.trials)
        known = {name: getattr(found, name) for name in ("lower", "upper", "observed", "weight")}
        return pd.DataFrame({**known, "steps": found.seen_until}, index=self.trials.index)

    @property
    def curves(self) -> pd.DataFrame:
        """A row for each measurement of every trial: 20 million of them take 2 GB. See `curves_of` for a part."""
        return self.curves_of()

    def curves_of(self, trial_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Measurements of some trials, by id or the start of one, and some columns beside `trial_id`, `trial_index` and
        `step`; of one, by its name alone. ConfigError for an id or a column that there is not."""
        ids = None if trial_ids is None else texts(trial_ids, "trial_ids")
        names = None if columns is None else texts(columns, "columns")
        return self.sweeps.curves(ids, names).to_pandas()

    def overview(self) -> Finding:
        """What was run: outcomes of each sweep, and the parameters that varied."""
        return self._keep("overview", lambda: overview(self.sweeps))

    def robustness(self) -> Finding:
        """The share of the search space in which a trial groks within its budget, and along each parameter."""
        return self._keep("robustness", lambda: robustness(self.sweeps, self.level, seed=self.seed))

    def phases(self, **thresholds: float) -> Finding:
        """The share of trials in each phase.

        By default of the trials' own column; with `phase_accuracy` or `phase_gap_steps` read off the curves anew.
        `threshold` and `sustain` change no phase: a note tells how many trials ended before they had grokked by these.
        """
        known = ("threshold", "sustain", "phase_accuracy", "phase_gap_steps")
        if unknown := [name for name in thresholds if name not in known]:
            from grokray.wording import nearest

            message = f"{unknown[0]} is no threshold{nearest(unknown[0], known)}"
            raise ConfigError([Problem(message=message, field=unknown[0])])
        if thresholds:
            return phases(self.sweeps, self.level, **thresholds)
        return self._keep("phases", lambda: phases(self.sweeps, self.level))

    def survival(self, by: str | Sequence[str] | None = None) -> Finding:
        """The share grokked by a step (Kaplan-Meier), its median and restricted mean, overall and by a column, or
        by several together; by each parameter that varies if none is named. Log-rank tests compare groups."""
        if by is not None:
            return survival(self.sweeps.trials, by, self.level, learned=self.sweeps.learned)
        learned = self.sweeps.learned
        return self._keep("survival", lambda: survival(self.sweeps.trials, level=self.level, learned=learned))

    def effects(self) -> Finding:
        """What each parameter does to the time to grok: time ratios, and hazard ratios as a second view."""
        return self._keep("effects", lambda: effects(self.sweeps.trials, self.level))

    def critical_fraction(self, by: str | Sequence[str] | None = None) -> Finding:
        """The training fraction above which trials grok more often than not, in each group of a column, or of
        several: `by=["modulus", "base"]`; and in what each two groups differ."""
        learned = self.sweeps.learned
        if by is not None:
            return critical_fraction(self.sweeps.trials, by, self.level, learned=learned)
        return self._keep("critical", lambda: critical_fraction(self.sweeps.trials, level=self.level, learned=learned))

    def importance(self) -> Finding:
        """Which parameters matter, by fANOVA and by PED-ANOVA."""
        return self._keep("importance", lambda: importance(self.sweeps, self.level, self.seed))

    def comparison(self) -> Finding:
        """Classification against sequence and base against base, on the same pairs where the sweep has them."""
        return self._keep("comparison", lambda: comparison(self.sweeps.trials, self.level, self.seed))

    def delay(self) -> Finding:
        """Steps from memorization to grokking, and the share of grokked trials that fell back."""
        return self._keep("delay", lambda: delay(self.sweeps.trials, self.level))

    def predictors(self, at: int | Sequence[int] | None = None) -> Finding:
        """Which measures at an early step, or at several, tell which of two trials will grok first: losses, accuracies,
        what `measure` names, and measures of your own."""
        if at is not None:
            return predictors(self.sweeps, self.level, at)
        return self._keep("predictors", lambda: predictors(self.sweeps, self.level))

    def tasks(self) -> Finding:
        """Of trials of several operations: how often and when each of them is grokked."""
        return self._keep("tasks", lambda: tasks(self.sweeps, self.level))

    def variance(self) -> Finding:
        """How much of the spread comes from hyper-parameters, and how much from seeds."""
        return self._keep("variance", lambda: variance(self.sweeps.trials, self.level))

    def audit(self) -> Finding:
        """How often the scheduler stopped a trial that would have grokked."""
        return self._keep("audit", lambda: audit(self.sweeps.trials, self.level))

    def quality(self) -> Finding:
        """What speaks against trusting the numbers."""
        return self._keep("quality", lambda: quality(self.sweeps.trials, self.sweeps.uneven))

    def plot_survival(self, by: str | Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
        """The share grokked by a step; one line for each group of a column, or of several."""
        return self._plots.survival(self, by, ax)

    def plot_phases(self, x: str | None = None, y: str | None = None, ax: Axes | None = None) -> Axes:
        """A phase diagram over two columns, by default the first two parameters that vary."""
        return self._plots.phases(self, x, y, ax)

    def plot_profile(self, parameter: str, ax: Axes | None = None) -> Axes:
        """The share grokked along one parameter of the search space."""
        return self._plots.profile(self, parameter, ax)

    def plot_effects(self, of: str = "when", ax: Axes | None = None) -> Axes:
        """One of the tables of `effects()`: `whether`, `when`, `if_all_grok` or `hazard_ratios`."""
        return self._plots.effects(self, of, ax)

    def plot_critical(self, by: str | Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
        """Critical training fractions by group."""
        return self._plots.critical(self, by, ax)

    def plot_importance(self, ax: Axes | None = None) -> Axes:
        """fANOVA and PED-ANOVA beside each other."""
        return self._plots.importance(self, ax)

    def plot_comparison(self, ax: Axes | None = None) -> Axes:
        """Differences in the share grokked between ways to write the task."""
        return self._plots.comparison(self, ax)

    def plot_predictors(self, at: int | Sequence[int] | None = None, ax: Axes | None = None) -> Axes:
        """How well measures tell by then which of two trials will grok first."""
        return self._plots.predictors(self, at, ax)

    def plot_curves(self, trial_id: str, ax: Axes | None = None) -> Axes:
        """Accuracy of one trial, by its id or the start of it."""
        return self._plots.curve(self, trial_id, ax)

    @property
    def _plots(self) -> ModuleType:
        # Tables alone need no matplotlib.
        from grokray.analysis import plots

        return plots

    def findings(self) -> list[Finding]:
        """All of them, in the order of the report."""
        return [getattr(self, name)() for name in FINDINGS]

    def _keep(self, name: str, compute: Callable[[], Finding]) -> Finding:
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]


FINDINGS = (
    *("overview", "robustness", "phases", "survival", "delay", "effects", "critical_fraction", "importance"),
    *("comparison", "predictors", "tasks", "variance", "audit", "quality"),
)


def load(path: str | Path | Sequence[str | Path], *, level: float = 0.95, seed: int = 0) -> Analysis:
    """The analysis of a sweep's folder, or of a list of folders as one. `level` is that of all intervals, from 0.5 to
    0.9999; `seed` that of all bootstraps, so that the same folder gives the same numbers.

    `grokray.load("results/quickstart").survival(by="weight_decay")`

    The folder's tables are brought up to date with its journal first, so a sweep may be running. FolderError for what
    is no sweep's folder, ConfigError where it holds no trial yet or an argument cannot be.
    """
    _check(level, seed)  # before anything is read
    return Analysis(load_sweeps(path), level=level, seed=seed)


def _truths(chosen: Any, trials: pd.DataFrame) -> np.ndarray:
    """(n,) bool, of a truth for each row of `trials`, in their order."""
    found = np.asarray(chosen)
    is_in_order = not isinstance(chosen, type(trials["trial_id"])) or chosen.index.equals(trials.index)
    if found.dtype != bool or found.shape != (len(trials),) or not is_in_order:
        rule = (
            f"must be true or false for each of {count(len(trials), 'trial')} in order, as analysis.trials.seed == 0 "
            "is, or a condition such as 'weight_decay>=0.1'"
        )
        raise ConfigError([Problem(message=f"chosen is {type(chosen).__name__}, but {rule}", field="chosen")])
    return found


def _check(level: float, seed: int) -> None:
    if not (isinstance(level, Real) and LEVELS[0] <= level <= LEVELS[1]):
        raise refused("level", level, f"must be in [{LEVELS[0]}, {LEVELS[1]}]")
    if not (isinstance(seed, Integral) and seed >= 0):
        raise refused("seed", seed, "must be a whole number, 0 or above")
