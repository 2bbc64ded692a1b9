"""What the trials say about each point of the space, and the share grokked along one parameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from grokray.analysis.diagram import cut
from grokray.analysis.drawn import weights_of_drawn
from grokray.analysis.intervals import wilsons
from grokray.analysis.neighbours import Neighbours
from grokray.analysis.outcomes import Outcomes, column, grouped, outcomes
from grokray.analysis.shares import mean_of_known, percentiles, shares
from grokray.analysis.space import Axis, Space
from grokray.analysis.wording import ranges, value_texts
from grokray.trial import SEEDS

PROFILE_BINS = 8
# More different seeds than this are not shared by the configurations: each has its own.
_MAX_SEEDS = 100


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The share grokked along one parameter, everything else averaged over. Arrays are of the bins; NaN if empty, or if
    trials were pruned there and none was audited.

    `configurations` (bins,) were trained there: a model speaks of bins that nothing was trained in, too.
    """

    name: str
    labels: list[str]
    share: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    configurations: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`points` (n, axes), `mass` (n,): what each trial counts for, `seed` (n,): a number for each set of seeds;
    `volume`: see `_volume`."""

    space: Space
    found: Outcomes
    points: np.ndarray
    mass: np.ndarray
    seed: np.ndarray
    volume: np.ndarray | None

    @classmethod
    def of(cls, trials: pa.Table, space: Space) -> Sample:
        found, points = outcomes(trials), space.points(trials)
        volume = _volume(space, points, found.configuration)
        mass = found.once_each() * (1 if volume is None else volume)
        seed = grouped([column(trials, name) for name in SEEDS], trials.num_rows)
        return cls(space=space, found=found, points=points, mass=mass, seed=seed, volume=volume)

    @property
    def adaptive(self) -> bool:
        return self.volume is None

    @property
    def is_lone(self) -> bool:
        """Whether all trials are of one configuration, of a space that has others."""
        return bool(len(self.space.axes)) and not self.found.configuration.any()

    @property
    def hits(self) -> np.ndarray:
        return self.mass * self.found.grokked

    def per_configuration(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.found.configuration, weights=values)

    def per_cluster(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.found.cluster, weights=values)

    def seeds_drawn(self, values: np.ndarray) -> np.ndarray | None:
        """(configurations, seeds): sums of `values` (n,); None where the seeds are too few, or not shared,
        and where there is one configuration."""
        rows, seeds = int(self.found.configuration.max(initial=-1)) + 1, int(self.seed.max(initial=-1)) + 1
        if rows < 2 or not 1 < seeds <= _MAX_SEEDS or rows * seeds > 2 * len(values):
            return None
        flat = np.bincount(self.found.configuration * seeds + self.seed, weights=values, minlength=rows * seeds)
        return flat.reshape(rows, seeds)


def profile_of_mean(sample: Sample, number: int, level: float) -> Profile:
    axis = sample.space.axes[number]
    return _of_cells(sample, axis.name, *_binned(axis, sample.points[:, number]), level)


def profile_of_column(sample: Sample, trials: pa.Table, name: str, level: float) -> Profile:
    """Along a column that is no axis of the space, in bins of about equally many trials."""
    bins = cut(trials, name)
    bins = bins if bins.scale == "categories" else cut(trials, name, PROFILE_BINS, "quantiles")
    return _of_cells(sample, name, bins.labels, bins.bin, level)


def _of_cells(sample: Sample, name: str, labels: list[str], cell: np.ndarray, level: float) -> Profile:
    found = shares(
        *(sample.found.grokked, sample.mass, sample.found.configuration, cell, len(labels), level),
        audited=sample.found.is_audited,
    )
    unknown = sample.found.unrepresented_in(cell, len(labels))
    return Profile(
        name=name,
        labels=labels,
        share=np.where(unknown, np.nan, found.share),
        lower=np.where(unknown, np.nan, found.lower),
        upper=np.where(unknown, np.nan, found.upper),
        configurations=found.clusters,
    )


def profile_of_model(sample: Sample, model: Neighbours, number: int, drawn: np.ndarray, level: float) -> Profile:
    axis = sample.space.axes[number]
    labels, cell = _binned(axis, model.even[:, number])
    at = sample.found.used
    trained = shares(at, at * 1.0, sample.found.configuration, _binned(axis, sample.points[:, number])[1], len(labels))
    share, lower, upper = (np.full(len(labels), np.nan) for _ in range(3))
    values = model.shares()
    for index in np.unique(cell[cell >= 0]):
        share[index] = values[cell == index].mean()
        ends = percentiles(mean_of_known(drawn[:, cell == index]), level)
        # Resamples in which all that is near agrees know nothing of what was not seen: see `robustness`.
        least = wilsons(share[index : index + 1], np.array([model.effective_at(cell == index)]), level)
        lower[index], upper[index] = np.fmin(ends[0], least[0][0]), np.fmax(ends[1], least[1][0])
    return Profile(
        name=axis.name, labels=labels, share=share, lower=lower, upper=upper, configurations=trained.clusters
    )


def _binned(axis: Axis, units: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Labels, and the bin of each (n,), −1 where the axis is not there. Bins of a range are equally likely."""
    if axis.values:
        return value_texts(axis.values), np.where(np.isnan(units), -1, units).astype(int)
    edges = axis.from_unit(np.linspace(0, 1, PROFILE_BINS + 1))
    labels = ranges(edges.tolist())
    cell = np.minimum(np.nan_to_num(units, nan=-1) * PROFILE_BINS, PROFILE_BINS - 1)
    return labels, np.where(np.isnan(units), -1, cell).astype(int)


def _volume(space: Space, points: np.ndarray, configuration: np.ndarray) -> np.ndarray | None:
    """(n,): how much of the space each trial's configuration stands for, up to a factor; None where that is not known
    because it was chosen by what others did, or the grid is not whole. See `drawn` of random sweeps."""
    if space.method == "tpe":
        return None
    if space.method is None:
        return np.ones(len(points))
    first, place = np.unique(configuration, return_index=True, return_inverse=True)[1:]
    # Parameters that the space has not may tell configurations of one point apart.
    point, number = np.unique(np.nan_to_num(points[first], nan=-1), axis=0, return_inverse=True, return_counts=True)[1:]
    chance = np.zeros(len(number))
    chance[point] = space.probabilities(points[first])
    if space.method == "grid" and not np.isclose(chance.sum(), 1):
        return None
    return (weights_of_drawn(chance) / number)[point][place]
