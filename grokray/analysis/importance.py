"""Which hyper-parameters matter: fANOVA and PED-ANOVA side by side, as they can disagree.

fANOVA (Hutter et al. 2014, ICML) fits a random forest to the values and splits *its* variance over the space: what
moves the value anywhere, mostly far from the best. PED-ANOVA (Watanabe et al. 2023, IJCAI) asks how the best tenth of
the configurations lies differently from all: what it takes to be among the best. Both are Optuna's, on a study rebuilt
from the trials; nothing is searched here.

A configuration's value is as the search has it: the median over seeds of the grok step, where a trial that did not grok
ranks behind all that did, among each other by held-out loss, and one that diverged last; in the logarithm, which
leaves the order as it is. A parameter that is there for some configurations only (a base) gets the value `absent` where
it is not, if it is a choice, and its middle if it is a range: there, what its presence does is its parent's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import Outcomes, column, outcomes
from grokray.analysis.shares import LEVEL, Estimate, percentiles
from grokray.analysis.space import Axis, Space, space_of_trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

# More configurations make the forest slower, and hardly better.
MAX_CONFIGURATIONS = 2_000
MIN_CONFIGURATIONS = 20
REPLICATES = 10
# The time of an importance grows with the square of a tree's leaves: 2,000 configurations took 0.8 s at depth 7, a
# minute at 16, and the importances differed by less than 0.01.
_TREES, _DEPTH = 32, 7

Target = Literal["grok_step", "grokked"]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Each parameter's share of all importance, by either estimator, most important (fANOVA) first; `notes` say what
    was sampled, filled in, or left out. Both are empty where nothing can be said."""

    of: Target
    fanova: dict[str, Estimate]
    ped_anova: dict[str, Estimate]
    configurations: int
    notes: tuple[str, ...]


def importance(
    trials: pa.Table,
    space: Space | None = None,
    of: Target = "grok_step",
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Importance:
    """Of TRIALS_SCHEMA; `space` as in `robustness`. `of` `grokked` asks for the share of seeds that grokked.

    Intervals are percentiles over resampled configurations, MAX_CONFIGURATIONS at most each; with few replicates, as by
    default, the least and the greatest.
    """
    space = space_of_trials(trials) if space is None else space
    found = outcomes(trials)
    value, chance = _values(trials, found, of)
    known = np.flatnonzero(chance > 0)
    notes = (*space.notes, *_notes(space, found, len(known)))
    reason = _not_estimable(space, value[known])
    if reason:
        return Importance(of=of, fanova={}, ped_anova={}, configurations=len(known), notes=(reason, *notes))
    first = np.unique(found.configuration, return_index=True)[1]
    columns = {axis.name: _filled(axis, column(trials, axis.name)[first]) for axis in space.axes}
    rng = np.random.default_rng(seed)
    likely = chance[known] / chance[known].sum()
    whole = len(known) <= MAX_CONFIGURATIONS and np.ptp(chance[known]) == 0
    size = min(len(known), MAX_CONFIGURATIONS)
    samples = [known if whole else rng.choice(known, size, p=likely)]
    samples += [rng.choice(known, size, p=likely) for _ in range(replicates)]
    results = [_of_study(_study(space, columns, value, rows), seed) for rows in samples]
    both = [_estimates([result[side] for result in results], level) for side in (0, 1)]
    order = sorted(both[0], key=lambda name: -both[0][name].value)
    return Importance(
        of=of,
        fanova={name: both[0][name] for name in order},
        ped_anova={name: both[1][name] for name in order},
        configurations=len(known),
        notes=notes,
    )


def _values(trials: pa.Table, found: Outcomes, of: Target) -> tuple[np.ndarray, np.ndarray]:
    """(configurations,) each: the value, the lower the better, and how likely it is to be drawn into the study."""
    # Where nobody was audited, pruned trials rank behind those that grokked, as the search has them.
    instead = found.stands_for * 1.0 if not found.audited else found.weight
    chance = np.bincount(found.configuration, weights=instead)
    chance = chance / np.maximum(np.bincount(found.configuration, weights=found.stands_for), 1)
    if of == "grokked":
        hits = np.bincount(found.configuration, weights=instead * found.grokked)
        return -hits / np.maximum(np.bincount(found.configuration, weights=instead), 1e-300), chance
    return _median(np.log(_steps(trials, found)), instead, found.configuration), chance


def _steps(trials: pa.Table, found: Outcomes) -> np.ndarray:
    """(n,): the grok step, or between one and two budgets by held-out loss, or two where it diverged."""
    budget, loss = column(trials, "num_steps"), column(trials, "final_heldout_loss")
    squashed = np.where(np.isfinite(loss), loss / (1 + loss), 1.0)
    squashed[column(trials, "outcome") == "diverged"] = 1.0
    return np.maximum(np.where(found.grokked, column(trials, "grok_step"), budget * (1 + squashed)), 1.0)


def _median(values: np.ndarray, weight: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Weighted medians of groups; the mean of the two in the middle where they share it, NaN without any weight."""
    order = np.lexsort((values, group))
    values, weight, group = values[order], weight[order], group[order]
    total = np.bincount(group, weights=weight)
    starts = np.searchsorted(group, np.arange(len(total)))
    reached = np.cumsum(weight)
    within = reached - (reached[starts] - weight[starts])[group]
    result = np.zeros(len(total))
    for slack in (-1e-9, 1e-9):
        passes = within >= (0.5 + slack) * total[group]
        at = np.minimum.reduceat(np.where(passes, np.arange(len(values)), len(values)), starts)
        result += values[np.minimum(at, len(values) - 1)] / 2
    return np.where(total > 0, result, np.nan)


def _filled(axis: Axis, values: np.ndarray) -> np.ndarray:
    """(configurations,) object: what Optuna is told. Bell curves are told as quantiles."""
    units = axis.to_unit(values)
    if axis.values:
        labels = [*map(str, axis.values), "absent"]
        return np.array([labels[-1 if np.isnan(unit) else int(unit)] for unit in units], dtype=object)
    units = np.where(np.isnan(units), 0.5, units)
    return np.clip(axis.from_unit(units), axis.low, axis.high) if axis.kind in ("uniform", "log") else units


def _study(space: Space, columns: dict[str, np.ndarray], value: np.ndarray, rows: np.ndarray) -> Study:
    with warnings.catch_warnings():
        # Of its progress bars, in a notebook without widgets; none is shown here.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {axis.name: _distribution(axis, columns[axis.name]) for axis in space.axes}
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        optuna.trial.create_trial(
            value=float(value[row]),
            params={name: values[row] for name, values in columns.items()},
            distributions=distributions,
        )
        for row in rows
    )
    return study


def _distribution(axis: Axis, filled: np.ndarray) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.values:
        labels = tuple(map(str, axis.values))
        return CategoricalDistribution((*labels, "absent") if "absent" in filled else labels)
    if axis.kind in ("uniform", "log"):
        return FloatDistribution(axis.low, axis.high, log=axis.kind == "log")
    return FloatDistribution(0.0, 1.0)


def _of_study(study: Study, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

    forest = FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=seed)
    with _quiet():
        return (
            get_param_importances(study, evaluator=forest),
            get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna marks evaluators as experimental."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _estimates(results: list[dict[str, float]], level: float) -> dict[str, Estimate]:
    estimates = {}
    for name, value in results[0].items():
        lower, upper = percentiles(np.array([result[name] for result in results]), level)
        estimates[name] = Estimate(value=float(value), lower=lower, upper=upper, method="resampled configurations")
    return estimates


def _not_estimable(space: Space, value: np.ndarray) -> str:
    if len(value) < MIN_CONFIGURATIONS:
        return f"{len(value)} configurations are too few: {MIN_CONFIGURATIONS} are needed"
    if len(space.axes) < 2:
        return f"{len(space.axes)} parameters vary, but there is nothing to tell apart with fewer than two"
    return "all configurations are worth the same" if np.ptp(value) == 0 else ""


def _notes(space: Space, found: Outcomes, configurations: int) -> list[str]:
    notes: list[Any] = []
    if configurations > MAX_CONFIGURATIONS:
        notes.append(f"of {configurations} configurations {MAX_CONFIGURATIONS} were drawn at random")
    conditional = [axis.name for axis in space.axes if axis.when]
    if conditional:
        notes.append(f"{', '.join(conditional)}: filled in where absent, so part of it is its parent's importance")
    if found.pruned and not found.audited:
        notes.append(f"{found.pruned} pruned trials rank behind all that grokked, by their loss when they were stopped")
        return notes + list(found.notes[1:])
    return notes + list(found.notes)
