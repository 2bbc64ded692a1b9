"""Do units of several groups differ? By how they might have been dealt to the groups, if it made no difference.

Fisher, R. A. (1935). The Design of Experiments. The statistic is a quadratic form of the groups' sums in their
covariance under permutation, as that of Kruskal and Wallis (1952, JASA 47) is for ranks, and near chi-squared for many
units of like size. A few units that weigh as much as all others, as audited trials do, are why it is not relied upon.
Permutations end once enough were as extreme: Besag, J., and Clifford, P. (1991). Sequential Monte Carlo p-values.
Biometrika 78, 301-304.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

FEWEST, MOST, NUMBERS = 999, 9_999, 20_000_000  # permutations, and how many numbers are moved in all
_ENOUGH = 100  # as extreme
_EQUAL = 1e-9  # of a statistic: rounding


@dataclass(frozen=True, kw_only=True)
class Compared:
    """`least` is what p could be at the least, however far the groups lie apart."""

    statistic: float
    degrees: int
    p_value: float
    least: float = 0.0


def permutation_test(value: np.ndarray, group: np.ndarray, block: np.ndarray, *, seed: int = 0) -> Compared:
    """`value` (n,), `group` and `block` (n,) int64 from 0; units change their groups within their block alone.

    A worked example: values 1, 2, 3, 10, 11, 12 in two groups of three: 2 of the 20 ways to deal them are as extreme,
    so p is 0.1.
    """
    counts = np.zeros((int(block.max()) + 1, int(group.max()) + 1))
    np.add.at(counts, (block, group), 1.0)
    expected, covariance = _moments(value, block, counts)
    degrees = int(np.linalg.matrix_rank(covariance, tol=1e-9 * max(covariance.max(), 1e-300), hermitian=True))
    inverse = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)

    def statistic(groups: np.ndarray) -> float:
        apart = np.bincount(groups, weights=value, minlength=counts.shape[1]) - expected
        return float(apart @ inverse @ apart)

    found, rng = statistic(group), np.random.default_rng(seed)
    deal = _dealer(group, block, rng)
    limit = int(np.clip(NUMBERS / len(value), FEWEST, MOST))
    extreme, made = 0, 0
    while degrees and extreme < _ENOUGH and made < limit:
        extreme += statistic(deal()) >= found * (1 - _EQUAL)
        made += 1
    p_value = extreme / made if extreme == _ENOUGH else (extreme + 1) / (made + 1)
    return Compared(statistic=found, degrees=degrees, p_value=p_value if degrees else 1.0, least=_least(counts))


def _moments(value: np.ndarray, block: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (k,) and covariance (k, k) of the groups' sums under permutation; `counts` (blocks, k)."""
    size = counts.sum(axis=1)
    mean = np.bincount(block, weights=value) / size
    spread = np.bincount(block, weights=(value - mean[block]) ** 2) / np.maximum(size - 1, 1)
    apart = np.diag(spread @ counts) - (counts * (spread / size)[:, None]).T @ counts
    return mean @ counts, apart


def _dealer(group: np.ndarray, block: np.ndarray, rng: np.random.Generator):
    """A call gives the groups (n,) of one permutation."""
    if not block.any():
        return lambda: rng.permutation(group)
    place = np.argsort(block, kind="stable")

    def deal() -> np.ndarray:
        dealt = np.empty_like(group)
        # Blocks stay in order, as numbers below 1 are added.
        dealt[place] = group[np.argsort(block + rng.random(len(group)))]
        return dealt

    return deal


def _least(counts: np.ndarray) -> float:
    """One in all ways to deal, times those that only rename groups of the same size."""
    ways = float(np.sum(gammaln(counts.sum(axis=1) + 1)) - np.sum(gammaln(counts + 1)))
    alike = Counter(map(tuple, counts.T.tolist())).values()
    return float(np.exp(min(sum(gammaln(number + 1) for number in alike) - ways, 0.0)))
