"""Half mean squared differences of pairs of trials, by the factors in which the two differ; no pair is ever made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from grokray.analysis.outcomes import grouped

CONFIGURATION = "configuration"

Factors = frozenset[str]


class PairMoments:
    """`factors` maps names to levels (n,) int, `values` (n,) float, `weight` (n,) > 0.

    The sum over all pairs of a group is known from its moments, and pairs that differ in exactly D follow by inclusion
    and exclusion from groups that agree in all that is outside of D, or of a part of D.
    """

    def __init__(self, factors: dict[str, np.ndarray], values: np.ndarray, weight: np.ndarray) -> None:
        self.names = list(factors)
        self.of = np.unique(factors[CONFIGURATION], return_inverse=True)[1]
        self.configurations = int(self.of.max(initial=-1)) + 1
        # Differences are all that counts: the middle is taken away so that squares stay small.
        centred = values - (np.average(values, weights=weight) if len(values) else 0.0)
        self.values, self.weight = centred, weight
        self.parts = [frozenset(part) for size in range(len(factors) + 1) for part in combinations(self.names, size)]
        agree = {part: [factors[name] for name in self.names if name not in part] for part in self.parts}
        self.group = {
            part: grouped([column.astype(float) for column in agree[part]], len(values)) for part in self.parts
        }
        self.inside = {part: self._inside(part) for part in self.parts if CONFIGURATION not in part}

    def by_factors(self, drawn: np.ndarray | None = None) -> dict[Factors, float]:
        """For each set of factors that some pair differs in exactly: half the mean squared difference.

        `drawn` (configurations,): how often each is in a resample.
        """
        drawn = np.ones(self.configurations) if drawn is None else drawn
        once = {part: (drawn @ pairs, drawn @ squares) for part, (pairs, squares) in self.inside.items()}
        twice = {part: (drawn**2 @ pairs, drawn**2 @ squares) for part, (pairs, squares) in self.inside.items()}
        across = {part: self._across(part, drawn) for part in self.parts if CONFIGURATION in part}
        found: dict[Factors, float] = {}
        for part in self.parts[1:]:
            sums = {**twice, **across} if CONFIGURATION in part else once
            pairs, squares = (sum((-1) ** len(part - sub) * sums[sub][i] for sub in _subsets(part)) for i in (0, 1))
            scale = sums[part][0]
            if pairs > 1e-9 * max(scale, 1e-300):
                found[part] = float(max(squares, 0.0) / pairs)
        return found

    def paired(self, part: Factors) -> float:
        """How many configurations count in effect (Kish 1965) where pairs of one configuration tell of `part`."""
        pairs = self.inside[part][0]
        return float(pairs.sum() ** 2 / (pairs**2).sum()) if pairs.any() else 0.0

    def _inside(self, part: Factors) -> tuple[np.ndarray, np.ndarray]:
        """(configurations,) each: sums over pairs of one configuration of weights, and of half squared differences."""
        group = self.group[part]
        first = np.unique(group, return_index=True)[1]
        pairs, squares = _pairs(group, self.weight, self.weight**2, self.values)
        owner = self.of[first]
        return tuple(np.bincount(owner, weights=x, minlength=self.configurations) for x in (pairs, squares))  # pyright: ignore

    def _across(self, part: Factors, drawn: np.ndarray) -> tuple[float, float]:
        weight = self.weight * drawn[self.of]
        pairs, squares = _pairs(self.group[part], weight, weight**2, self.values)
        return float(pairs.sum()), float(squares.sum())


def _pairs(group: np.ndarray, weight: np.ndarray, own: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each group, over all pairs of different trials: sum of the products of weights, and of these times half the
    squared difference. `own`: each trial's product with itself, which is no pair."""
    total, first, second = (np.bincount(group, weights=weight * values**power) for power in (0, 1, 2))
    return (total**2 - np.bincount(group, weights=own)) / 2, (total * second - first**2) / 2


def _subsets(part: Factors) -> Iterator[Factors]:
    return (frozenset(sub) for size in range(len(part) + 1) for sub in combinations(sorted(part), size))
