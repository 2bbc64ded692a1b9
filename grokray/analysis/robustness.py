"""How robust grokking is: the share of the search space in which a trial groks within its budget.

One number with an interval, profiles along each parameter, and the chance of grokking of each configuration over its
seeds. Each configuration counts once, however many seeds it has.

*Even* sweeps (random, Sobol) lie in the space in its own measure, so the share is a weighted mean. A whole *grid* is
weighed by how likely an even draw of the space's values is. TPE's trials, and a grid that was cut short, are not even:
there the share is estimated by a model (see `neighbours`), and `adaptive` is True. Intervals are percentile bootstraps
that draw configurations; `over_seeds` draws seeds as well (the pigeonhole bootstrap: Owen 2007, Annals of Applied
Statistics 1), for what other seeds would have shown. Of a grid the former is too wide if no other values are meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.analysis.neighbours import Neighbours
from grokray.analysis.outcomes import SEEDS, Outcomes, column, grouped, outcomes
from grokray.analysis.shares import LEVEL, REPLICATES, Estimate, Shares, percentiles, resampled, shares
from grokray.analysis.space import Axis, Space, space_of_trials

PROFILE_BINS = 8
_MODEL_REPLICATES = 200
# More different seeds than this are not shared by the configurations: each has its own.
_MAX_SEEDS = 100
_MEAN = "weighted mean, bootstrap by configuration"
_MODEL = "nearest neighbours, bootstrap by configuration"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The share grokked along one parameter, everything else averaged over. Arrays are of the bins; NaN if empty.

    `configurations` (bins,) were trained there: a model speaks of bins that nothing was trained in, too.
    """

    name: str
    labels: list[str]
    share: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    configurations: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """`share` of the space, its interval by configuration; `over_seeds` None where there is one seed only, or where
    no two configurations share a seed. `at_least`: the share if no pruned trial had grokked, None where audits make
    that guess needless. `effective`: as many evenly drawn configurations."""

    share: Estimate
    over_seeds: Estimate | None
    at_least: float | None
    adaptive: bool
    trials: int
    configurations: int
    effective: float
    profiles: list[Profile]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ByConfiguration:
    """Arrays of one entry a configuration, in rising order: how many of its trials `trials` grokked, and the chance
    of it with Wilson's interval, which of three seeds is wide. NaN where no trial was decided."""

    configuration: np.ndarray
    shares: Shares

    def agreement(self) -> dict[str, int]:
        """How many configurations grokked with all, some or none of two or more seeds."""
        share = self.shares.share[self.shares.trials > 1]
        return {
            "all": int((share == 1).sum()),
            "some": int(((share > 0) & (share < 1)).sum()),
            "none": int((share == 0).sum()),
        }


def robustness(
    trials: pa.Table,
    space: Space | None = None,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> Robustness:
    """Of TRIALS_SCHEMA. `space` defaults to what the values of the trials suggest, taken to be sampled evenly."""
    space = space_of_trials(trials) if space is None else space
    sample = _Sample.of(trials, space)
    rng = np.random.default_rng(seed)
    build = _by_model if sample.adaptive else _by_mean
    share, over_seeds, effective, profiles, notes = build(sample, replicates, level, rng)
    found = sample.found
    return Robustness(
        share=share,
        over_seeds=over_seeds,
        at_least=_at_least(sample) if found.pruned and not found.audited else None,
        adaptive=sample.adaptive,
        trials=int(found.used.sum()),
        configurations=int((sample.per_configuration(sample.mass) > 0).sum()),
        effective=effective,
        profiles=profiles,
        notes=(*notes, *space.notes, *found.notes),
    )


def by_configuration(trials: pa.Table, level: float = LEVEL) -> ByConfiguration:
    """The chance of grokking over seeds, configuration by configuration."""
    found = outcomes(trials)
    cells = int(found.configuration.max(initial=-1)) + 1
    each = np.arange(trials.num_rows)
    return ByConfiguration(
        configuration=np.unique(trials["configuration"].to_numpy()),
        shares=shares(found.grokked, found.weight, each, found.configuration, cells, level),
    )


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """`points` (n, axes), `mass` (n,): what each trial counts for, `seed` (n,): a number for each set of seeds."""

    space: Space
    found: Outcomes
    points: np.ndarray
    mass: np.ndarray
    seed: np.ndarray
    adaptive: bool

    @classmethod
    def of(cls, trials: pa.Table, space: Space) -> _Sample:
        found, points = outcomes(trials), space.points(trials)
        volume = _volume(space, points, found.configuration)
        mass = found.once_each() * (1 if volume is None else volume)
        seed = grouped([column(trials, name) for name in SEEDS], trials.num_rows)
        return cls(space=space, found=found, points=points, mass=mass, seed=seed, adaptive=volume is None)

    @property
    def hits(self) -> np.ndarray:
        return self.mass * self.found.grokked

    def per_configuration(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.found.configuration, weights=values)

    def seeds_drawn(self, values: np.ndarray) -> np.ndarray | None:
        """(configurations, seeds): sums of `values` (n,); None where the seeds are too few, or not shared."""
        rows, seeds = int(self.found.configuration.max(initial=-1)) + 1, int(self.seed.max(initial=-1)) + 1
        if not 1 < seeds <= _MAX_SEEDS or rows * seeds > 2 * len(values):
            return None
        flat = np.bincount(self.found.configuration * seeds + self.seed, weights=values, minlength=rows * seeds)
        return flat.reshape(rows, seeds)


Built = tuple[Estimate, Estimate | None, float, list[Profile], tuple[str, ...]]


def _by_mean(sample: _Sample, replicates: int, level: float, rng: np.random.Generator) -> Built:
    mass, hits = sample.per_configuration(sample.mass), sample.per_configuration(sample.hits)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(hits.sum() / mass.sum())
        drawn = np.array([(r @ hits) / (r @ mass) for r in resampled(len(mass), replicates, rng)])
        both = sample.seeds_drawn(sample.mass), sample.seeds_drawn(sample.hits)
        over = None
        if both[0] is not None and both[1] is not None:
            twice = zip(
                resampled(len(mass), replicates, rng), resampled(both[0].shape[1], replicates, rng), strict=True
            )
            over = np.array([(r @ both[1] @ s) / (r @ both[0] @ s) for r, s in twice])
        effective = float(mass.sum() ** 2 / (mass**2).sum())
    profiles = [_profile_of_mean(sample, number, level) for number in range(len(sample.space.axes))]
    return (
        _estimate(value, drawn, level, _MEAN),
        _estimate(value, over, level, _MEAN + " and seed"),
        effective,
        profiles,
        (),
    )


def _by_model(sample: _Sample, replicates: int, level: float, rng: np.random.Generator) -> Built:
    mass, hits = sample.per_configuration(sample.mass), sample.per_configuration(sample.hits)
    known = mass > 0
    first = np.unique(sample.found.configuration, return_index=True)[1]
    if not known.any():
        nothing = Estimate(value=np.nan, lower=np.nan, upper=np.nan, method=_MODEL)
        return nothing, None, 0.0, [], ("no trial says anything yet",)
    model = Neighbours(sample.space, sample.points[first][known], mass[known], hits[known])
    replicates = min(replicates, _MODEL_REPLICATES)
    drawn = np.stack([model.shares(r) for r in resampled(int(known.sum()), replicates, rng)])
    both, over = (sample.seeds_drawn(sample.mass), sample.seeds_drawn(sample.hits)), None
    if both[0] is not None and both[1] is not None:
        at_mass, at_hits = both[0][known], both[1][known]
        twice = zip(resampled(len(at_mass), replicates, rng), resampled(at_mass.shape[1], replicates, rng), strict=True)
        over = np.array([np.nanmean(model.shares(r, at_mass @ s, at_hits @ s)) for r, s in twice])
    value = float(model.shares().mean())
    profiles = [_profile_of_model(sample, model, number, drawn, level) for number in range(len(sample.space.axes))]
    note = (
        f"the trials do not lie evenly in the space: shares are of a model, the mean of the {model.k} nearest "
        f"configurations at {len(model.even)} evenly drawn points; its own error is not in the intervals"
    )
    share = _estimate(value, np.nanmean(drawn, axis=1), level, _MODEL)
    return share, _estimate(value, over, level, _MODEL + " and seed"), model.effective, profiles, (note,)


def _profile_of_mean(sample: _Sample, number: int, level: float) -> Profile:
    axis = sample.space.axes[number]
    labels, cell = _binned(axis, sample.points[:, number])
    found = shares(sample.found.grokked, sample.mass, sample.found.configuration, cell, len(labels), level)
    return Profile(
        name=axis.name,
        labels=labels,
        share=found.share,
        lower=found.lower,
        upper=found.upper,
        configurations=found.clusters,
    )


def _profile_of_model(sample: _Sample, model: Neighbours, number: int, drawn: np.ndarray, level: float) -> Profile:
    axis = sample.space.axes[number]
    labels, cell = _binned(axis, model.even[:, number])
    at = sample.found.used
    trained = shares(at, at * 1.0, sample.found.configuration, _binned(axis, sample.points[:, number])[1], len(labels))
    share, lower, upper = (np.full(len(labels), np.nan) for _ in range(3))
    values = model.shares()
    for index in np.unique(cell[cell >= 0]):
        share[index] = values[cell == index].mean()
        lower[index], upper[index] = percentiles(np.nanmean(drawn[:, cell == index], axis=1), level)
    return Profile(
        name=axis.name, labels=labels, share=share, lower=lower, upper=upper, configurations=trained.clusters
    )


def _binned(axis: Axis, units: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Labels, and the bin of each (n,), −1 where the axis is not there. Bins of a range are equally likely."""
    if axis.values:
        return ["none" if v is None else str(v) for v in axis.values], np.where(np.isnan(units), -1, units).astype(int)
    edges = axis.from_unit(np.linspace(0, 1, PROFILE_BINS + 1))
    labels = [f"{low:.3g} to {high:.3g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    cell = np.minimum(np.nan_to_num(units, nan=-1) * PROFILE_BINS, PROFILE_BINS - 1)
    return labels, np.where(np.isnan(units), -1, cell).astype(int)


def _estimate(value: float, drawn: np.ndarray | None, level: float, method: str) -> Any:
    """An Estimate; None where nothing was drawn."""
    if drawn is None:
        return None
    lower, upper = percentiles(drawn, level)
    return Estimate(value=value, lower=lower, upper=upper, method=method)


def _at_least(sample: _Sample) -> float:
    """The share with every pruned trial counted as not grokked."""
    counts = sample.per_configuration(sample.found.stands_for)
    held = counts > 0
    return float((sample.per_configuration(sample.found.used * sample.found.grokked)[held] / counts[held]).mean())


def _volume(space: Space, points: np.ndarray, configuration: np.ndarray) -> np.ndarray | None:
    """(n,): how much of the space each trial's configuration stands for, up to a factor; None where that is not known
    because it was chosen by what others did, or the grid is not whole."""
    if space.method == "tpe":
        return None
    if space.method != "grid":
        return np.ones(len(points))
    chance = space.probabilities(points)
    first = np.unique(configuration, return_index=True)[1]
    return chance if chance is not None and np.isclose(chance[first].sum(), 1) else None
