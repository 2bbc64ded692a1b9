"""The share grokked at any point of the space, as the mean of the nearest configurations; its mean over the space.

Used where trials do not lie evenly: TPE looks closer where grokking comes early, so a plain mean over its trials would
be the share among *its* trials and not of the space. Nearest-neighbour regression assumes nothing but that near
configurations behave alike. Where hardly anything was tried, the nearest lie on the side that the search liked, so the
share comes out too high: in a simulation with a fifth of the configurations drawn evenly and the rest crowded where
grokking is likely, 0.57 (of 100 configurations) and 0.53 (of 400) for 0.5, where a plain mean says 0.87. That error is
in no interval, which held the truth in 44 % of those runs. To measure robustness, sweep with random or sobol.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from grokray.analysis.space import MAX_CHOICES, Space

POINTS = 2_048
NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20)
# Of a resample, so many times k are looked at to find k that were drawn.
_REACH = 4
_JUDGED = 2_000


class Neighbours:
    """`points` (c, axes) of the configurations, as `Space.points`; `mass` (c,) > 0, `hits` (c,) in [0, mass]: the
    weights of each one's trials, and of those that grokked. `k` is how many configurations make a mean; it is chosen
    by leaving each out in turn (Brier score), as is best on average over the space."""

    def __init__(self, space: Space, points: np.ndarray, mass: np.ndarray, hits: np.ndarray, seed: int = 0) -> None:
        self.space, self.mass, self.hits = space, mass, hits
        self.even = space.even(POINTS, seed)
        placed, tree_points = _embedded(space, self.even), _embedded(space, points)
        tree = KDTree(tree_points)
        count = min(len(points), _REACH * NEIGHBOURS[-1])
        self._near = _nearest(tree, placed, count)
        self.k = self._best_k(tree, tree_points, seed)

    def shares(
        self, drawn: np.ndarray | None = None, mass: np.ndarray | None = None, hits: np.ndarray | None = None
    ) -> np.ndarray:
        """(POINTS,) at the points `even`. `drawn` (c,) int is how often each configuration is in a resample, of whose
        seeds `mass` and `hits` (c,) speak; NaN where nothing near was drawn."""
        mass, hits = self.mass if mass is None else mass, self.hits if hits is None else hits
        drawn = np.ones(len(mass), dtype=np.int64) if drawn is None else drawn * (mass > 0)
        return _means(self._near, drawn, mass, hits, self.k)

    @property
    def effective(self) -> float:
        """As many configurations of equal weight as the mean over the space rests on (Kish)."""
        return self.effective_at(np.ones(len(self.even), bool))

    def effective_at(self, where: np.ndarray) -> float:
        """Likewise of the mean over some of the points `even`; `where` (POINTS,) bool."""
        held = self._near[where, : self.k]
        weight = np.bincount(held.ravel(), minlength=len(self.mass))
        return float(weight.sum() ** 2 / (weight**2).sum())

    def _best_k(self, tree: KDTree, points: np.ndarray, seed: int) -> int:
        # Each configuration counts by the volume around it, so that crowded places do not decide alone.
        volume = np.bincount(self._near[:, 0], minlength=len(points))
        judged = np.flatnonzero(volume)
        judged = np.random.default_rng(seed).permutation(judged)[:_JUDGED]
        if len(points) < 3:
            return 1
        near = _nearest(tree, points[judged], min(len(points), NEIGHBOURS[-1] + 1))[:, 1:]
        ones, truth = np.ones(len(points), dtype=np.int64), self.hits / self.mass
        weight = volume[judged] * self.mass[judged]
        losses = {
            k: np.average((_means(near, ones, self.mass, self.hits, k) - truth[judged]) ** 2, weights=weight)
            for k in NEIGHBOURS
            if k <= near.shape[1]
        }
        return min(losses, key=losses.__getitem__)


def _nearest(tree: KDTree, places: np.ndarray, count: int) -> np.ndarray:
    """(places, count) int: the nearest of the tree's points, nearest first."""
    near = np.asarray(tree.query(places, k=count)[1])
    return near.reshape(len(places), count)  # of one neighbour scipy leaves the dimension out


def _means(near: np.ndarray, drawn: np.ndarray, mass: np.ndarray, hits: np.ndarray, k: int) -> np.ndarray:
    """(points,): the mean of the nearest until k were drawn. `near` (points, reach): configurations, nearest first."""
    counts = drawn[near]
    before = np.cumsum(counts, axis=1) - counts
    counts = np.where(before < k, counts, 0)
    weight = (counts * mass[near]).sum(axis=1)
    weight[weight == 0] = np.nan
    return (counts * hits[near]).sum(axis=1) / weight


def _embedded(space: Space, points: np.ndarray) -> np.ndarray:
    """(n, axes) → (n, dimensions): a range is one dimension from 0 to 1, a choice has one for each value, so that two
    values are 1 apart; many listed numbers are in order along one. What is not there is in the middle."""
    columns = []
    for axis, units in zip(space.axes, points.T, strict=True):
        numbers = axis.values and not any(isinstance(value, str | bool | None) for value in axis.values)
        if axis.values and numbers and len(axis.values) > MAX_CHOICES:
            columns.append(np.nan_to_num((units + 0.5) / len(axis.values), nan=0.5))
        elif axis.values:
            columns += [(units == index) / np.sqrt(2) for index in range(len(axis.values))]
        else:
            columns.append(np.nan_to_num(units, nan=0.5))
    return np.stack(columns, axis=1) if columns else np.zeros((len(points), 1))
