"""Which hyper-parameters matter: fANOVA and PED-ANOVA side by side, as they can disagree.

fANOVA (Hutter et al. 2014, ICML) fits a random forest to the values and splits *its* variance over the space: what
moves the value anywhere, mostly far from the best. PED-ANOVA (Watanabe et al. 2023, IJCAI) asks how the best tenth of
the configurations lies differently from all: what it takes to be among the best. Both are Optuna's, on a study rebuilt
from the trials; nothing is searched here.

A configuration's value is as the search has it: the median over seeds of the grok step, where a trial that did not grok
ranks behind all that did, among each other by held-out loss, and one that diverged last; in the logarithm, which
leaves the order as it is. A parameter that is there for some configurations only (a base) gets the value `absent` where
it is not, if it is a choice, and its middle if it is a range: there, what its presence does is its parent's.

Of a choice fANOVA is told the place of each value when they are ordered by their mean, since the best split of choices
in two is one of that order (Fisher, W. D. 1958. On grouping for maximum homogeneity. JASA 53, 789-798). A column for
each value instead, as Optuna would make, spans points that there are not, where a trial has two values or none: of one
odd value in ten it made an importance of 0.59 where 0.33 was true, the place 0.33. And the time doubles with each.
Where values are not equally likely, each takes as much room as it is likely; its trials lie at either end of it, so
that a split between two values lies where the one's room ends.

Intervals are how far an importance moves over resamples of the configurations. They do not say how far it is from that
of the truth, which a forest smooths, and so hold it less often than their level.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import Outcomes, column, diverged, outcomes
from grokray.analysis.shares import LEVEL, Estimate, percentiles
from grokray.analysis.space import Axis, Space, space_of_trials
from grokray.analysis.wording import counted

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

# More configurations make the forest slower, and hardly better.
MAX_CONFIGURATIONS = 2_000
MIN_CONFIGURATIONS = 20
# Draws at most, of a forest and of densities, and how many configurations all draws together may hold: a forest of 50
# takes 0.1 CPU-seconds, of 2,000 one. So more than a few CPU-seconds are spent on many configurations alone, which
# need fewer draws.
FOREST_DRAWS, DENSITY_DRAWS, LEAST_DRAWS = 30, 100, 10
_IN_ALL_DRAWS = 20_000
# The time of an importance grows with the square of a tree's leaves: 2,000 configurations took 0.8 s at depth 7, a
# minute at 16, and the importances differed by less than 0.01.
_TREES, _DEPTH = 32, 7

_ALIKE = 1e-9  # probabilities that differ by no more are equal
_INSET = 1e-6  # of a value's room, between its end and its trials

Target = Literal["grok_step", "grokked"]
_Side = Literal["fanova", "ped_anova"]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Each parameter's share of all importance, by either estimator, most important (fANOVA) first; `notes` say what
    was sampled, filled in, or left out. All are empty where nothing can be said. `fanova_first`, `ped_anova_first`: in
    which share of the draws each parameter was the most important one."""

    of: Target
    fanova: dict[str, Estimate]
    ped_anova: dict[str, Estimate]
    fanova_first: dict[str, float]
    ped_anova_first: dict[str, float]
    configurations: int
    notes: tuple[str, ...]


def importance(
    trials: pa.Table,
    space: Space | None = None,
    of: Target = "grok_step",
    *,
    level: float = LEVEL,
    replicates: int | None = None,
    seed: int = 0,
) -> Importance:
    """Of TRIALS_SCHEMA; `space` as in `robustness`. `of` `grokked` asks for the share of seeds that grokked.

    A draw resamples the configurations, each as likely as the others, and of these takes MAX_CONFIGURATIONS at most in
    proportion to their weights. `replicates` is how many draws there are, at least one; by default as many as a few
    CPU-seconds hold, more of PED-ANOVA than of fANOVA. Intervals are percentiles over draws. The number itself is of
    all configurations where they weigh the same and fit, else the mean over draws: a single one is chance.
    """
    space = space_of_trials(trials) if space is None else space
    found = outcomes(trials)
    value, chance = _values(trials, found, of)
    known = np.flatnonzero(chance > 0)
    notes = (*space.notes, *_notes(space, found, len(known)))
    reason = _not_estimable(space, value[known])
    if of == "grok_step" and not (found.used & found.grokked).any():
        reason = reason or "no trial grokked"
    if reason:
        nothing = {"fanova": {}, "ped_anova": {}, "fanova_first": {}, "ped_anova_first": {}}
        return Importance(of=of, **nothing, configurations=len(known), notes=(reason, *notes))
    first = np.unique(found.configuration, return_index=True)[1]
    columns = {axis.name: _filled(axis, column(trials, axis.name)[first]) for axis in space.axes}
    drawn: dict[_Side, list[dict[str, float]]] = {"fanova": [], "ped_anova": []}
    draws = _draws(min(len(known), MAX_CONFIGURATIONS), replicates)
    rng = np.random.default_rng(seed)
    for number in range(max(draws.values())):
        rows = _draw(known, chance, rng)
        for side in drawn:
            if number < draws[side]:
                drawn[side].append(_of_rows(space, columns, value, rows, side, seed))
    whole: dict[_Side, dict[str, float]] = {}
    if len(known) <= MAX_CONFIGURATIONS and np.ptp(chance[known]) == 0:
        whole = {side: _of_rows(space, columns, value, known, side, seed) for side in drawn}
    both = {side: _estimates(results, whole.get(side), level) for side, results in drawn.items()}
    order = sorted(both["fanova"], key=lambda name: -both["fanova"][name].value)
    firsts = {side: _first(results, order) for side, results in drawn.items()}
    return Importance(
        of=of,
        fanova={name: both["fanova"][name] for name in order},
        ped_anova={name: both["ped_anova"][name] for name in order},
        fanova_first=firsts["fanova"],
        ped_anova_first=firsts["ped_anova"],
        configurations=len(known),
        notes=notes,
    )


def _draws(configurations: int, replicates: int | None) -> dict[_Side, int]:
    """How many of each estimator, a function of the number of configurations and not of the clock."""
    fit = max(_IN_ALL_DRAWS // configurations, LEAST_DRAWS)
    return {
        "fanova": replicates or min(fit, FOREST_DRAWS),
        "ped_anova": replicates or min(2 * fit, DENSITY_DRAWS),
    }


def _draw(known: np.ndarray, chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of one study: a bootstrap of the configurations, of which each is taken in proportion to its weight, as
    nearly as whole numbers allow (systematic resampling). Drawing them at random by their weights instead would hide
    that few heavy ones make up the study, and add noise of its own."""
    again = rng.choice(known, len(known))
    size = min(len(known), MAX_CONFIGURATIONS)
    reached = np.cumsum(chance[again])
    return again[np.searchsorted(reached, (rng.random() + np.arange(size)) / size * reached[-1])]


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
    """(n,): the grok step, or between one and two of the largest budgets by held-out loss, or two where it diverged."""
    budget, loss = np.nanmax(column(trials, "num_steps")), column(trials, "final_heldout_loss")
    squashed = np.where(np.isfinite(loss), loss / (1 + loss), 1.0)
    squashed[diverged(trials)] = 1.0
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


def _of_rows(
    space: Space, columns: dict[str, np.ndarray], value: np.ndarray, rows: np.ndarray, side: _Side, seed: int
) -> dict[str, float]:
    """Each parameter's share, of a study of these rows (k,) of `columns` and `value` (configurations,)."""
    _load_optuna()
    told = {axis.name: _told(axis, columns[axis.name][rows], value[rows], side) for axis in space.axes}
    return _of_study(_study(told, value[rows]), side, seed)


def _told(axis: Axis, values: np.ndarray, value: np.ndarray, side: _Side) -> tuple[BaseDistribution, np.ndarray]:
    """A parameter as Optuna is told of it: how it is distributed, and what each trial (k,) has."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.values and side == "fanova":
        place = _places(values, value)
        if np.ptp(axis.probabilities) > _ALIKE:
            return FloatDistribution(0.0, 1.0), _spaced(place, values, axis)
        return FloatDistribution(-0.5, place.max() + 0.5), place
    if axis.values:
        labels = tuple(map(str, axis.values))
        return CategoricalDistribution((*labels, "absent") if "absent" in values else labels), values
    if axis.kind in ("uniform", "log"):
        return FloatDistribution(axis.low, axis.high, log=axis.kind == "log"), values
    return FloatDistribution(0.0, 1.0), values


def _places(labels: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(k,) float64: 0 for the label whose trials have the least mean value, 1 for the next, …"""
    code = np.unique(labels.astype(str), return_inverse=True)[1]
    means = np.bincount(code, weights=value) / np.bincount(code)
    return np.argsort(np.argsort(means, kind="stable"))[code].astype(float)


def _spaced(place: np.ndarray, labels: np.ndarray, axis: Axis) -> np.ndarray:
    """(k,) in [0, 1]: the `place` (k,) of each label as one of the two ends of a stretch as long as the label is
    likely, by turns. One that is absent is as likely as the others are on average."""
    likely = {**dict(zip(map(str, axis.values), axis.probabilities, strict=True)), "absent": 1 / len(axis.values)}
    first = np.unique(place, return_index=True)[1]
    room = np.array([likely[label] for label in labels[first].tolist()])
    ends = np.append(0.0, np.cumsum(room / room.sum()))
    order = np.argsort(place, kind="stable")
    of = place.astype(int)
    turn = np.empty(len(place), int)
    turn[order] = np.arange(len(place)) - np.searchsorted(place[order], place[order])
    inset = _INSET * room[of] / room.sum()
    return np.where(turn % 2, ends[of + 1] - inset, ends[of] + inset)


def _study(told: dict[str, tuple[BaseDistribution, np.ndarray]], value: np.ndarray) -> Study:
    import optuna
    from optuna.trial import FrozenTrial, TrialState

    distributions = {name: distribution for name, (distribution, _) in told.items()}
    now = datetime.now()
    trials = [
        FrozenTrial(
            number=row,
            trial_id=row,
            state=TrialState.COMPLETE,
            value=float(one),
            datetime_start=now,
            datetime_complete=now,
            params={name: values[row] for name, (_, values) in told.items()},
            distributions=distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        for row, one in enumerate(value)
    ]

    class Given(optuna.storages.InMemoryStorage):
        """Of these trials, as they are: a study that they are added to copies each, which takes as long as the rest."""

        def get_all_trials(
            self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
        ) -> list[FrozenTrial]:
            return [trial for trial in trials if states is None or trial.state in states]

    return optuna.create_study(storage=Given(), direction="minimize")


def _load_optuna() -> None:
    """Before anything of it is imported: the first import may warn."""
    with warnings.catch_warnings():
        # Of its progress bars, in a notebook without widgets; none is shown here.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _of_study(study: Study, side: _Side, seed: int) -> dict[str, float]:
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

    forest = side == "fanova"
    with _quiet():
        return get_param_importances(
            study,
            evaluator=FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=seed)
            if forest
            else PedAnovaImportanceEvaluator(),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna marks evaluators as experimental."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _estimates(results: list[dict[str, float]], whole: dict[str, float] | None, level: float) -> dict[str, Estimate]:
    estimates = {}
    for name in results[0]:
        values = np.array([result[name] for result in results])
        value = float(values.mean() if whole is None else whole[name])
        lower, upper = percentiles(values, level)
        # With few draws the number may lie beyond all of them.
        bounds = {"lower": min(lower, value), "upper": max(upper, value)}
        estimates[name] = Estimate(value=value, **bounds, method="resampled configurations")
    return estimates


def _first(results: list[dict[str, float]], names: list[str]) -> dict[str, float]:
    """In which share of the draws each was the most important; the first of `names` where several were."""
    firsts = [max(names, key=lambda name: result[name]) for result in results]
    return {name: firsts.count(name) / len(firsts) for name in names}


def _not_estimable(space: Space, value: np.ndarray) -> str:
    if len(value) < MIN_CONFIGURATIONS:
        return f"{counted(len(value), 'configuration', 'is', 'are')} too few: {MIN_CONFIGURATIONS} are needed"
    if len(space.axes) < 2:
        vary = "parameter varies" if len(space.axes) == 1 else "parameters vary"
        return f"{len(space.axes)} {vary}, but there is nothing to tell apart with fewer than two"
    return "all configurations are worth the same" if np.ptp(value) == 0 else ""


def _notes(space: Space, found: Outcomes, configurations: int) -> list[str]:
    notes: list[Any] = []
    if configurations > MAX_CONFIGURATIONS:
        notes.append(f"of {configurations:,} configurations {MAX_CONFIGURATIONS:,} were drawn at random")
    conditional = [axis.name for axis in space.axes if axis.when]
    if conditional:
        notes.append(f"{', '.join(conditional)}: filled in where absent, so part of it is its parent's importance")
    if found.pruned and not found.audited:
        one = "ranks behind all that grokked, by its loss when it was stopped"
        many = "rank behind all that grokked, by their loss when they were stopped"
        notes.append(counted(found.pruned, "pruned trial", one, many))
        return notes + list(found.notes[1:])
    return notes + list(found.notes)
