"""Where a share that rises with some number passes one half, and how sure that is: nothing else is said of the curve.

The best rising curve is the isotonic regression (Ayer et al. 1955, Ann. Math. Stat. 26). How sure: every place is in
the interval at which the best rising curve that is at one half there is hardly less likely than the best one of all
(Banerjee and Wellner 2001, Ann. Stat. 29). Twice the difference in log likelihood is then, of many trials and a curve
that is smooth and steep at one half, about 0.6 times a chi-squared number; of few, and of curves that are steep for the
trials they have, up to 0.8 times, by which it is cut here (docs/log.md, 2026-11-30). That counts trials. Where
configurations are alike within themselves, or trials weigh unequally, all counts are divided by the design effect (Rao
and Scott 1992, Biometrics 48).

It is more than 0.8 times where the curve jumps past one half and then stays near it: of a jump from 0 to 0.6 it is 1.1
times at 95 %, and the truth is in the interval in nine of ten sweeps; of one to 0.55 1.5 times, and eight of ten.

A logistic curve's midpoint is surer, and wrong where the curve is not one: of trials a tenth of which never grok, its
95 % intervals hold the truth in about half where there are 100, and in 3 % where there are 400.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from grokray.analysis.clusters import cluster_codes, cluster_sums

STRETCH = 0.8  # of chi-squared with one degree of freedom
_ONE_TRIAL = 2 * math.log(2)  # costs one trial that failed where half or more grok: no place is left out for that
_SURELY = 2.0  # standard errors that are added to a design effect, as it is known from few clusters only
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """`place` (k,) rising, `share` (k,): the best rising curve there. `unlikely` (k + 1,): of one half between each two
    of them, and beyond both ends, twice the log likelihood that it costs."""

    place: np.ndarray
    share: np.ndarray
    unlikely: np.ndarray

    @property
    def is_known(self) -> bool:
        return bool(self.share[0] <= 0.5 <= self.share[-1])

    @property
    def value(self) -> float:
        """Where a straight line between the places on both sides is at one half; NaN where one side has none."""
        if not self.is_known:
            return float("nan")
        at = np.flatnonzero(self.share == 0.5)
        if len(at):
            return float(self.place[at[[0, -1]]].mean())
        above = int(np.argmax(self.share > 0.5))
        return float(np.interp(0.5, self.share[above - 1 : above + 1], self.place[above - 1 : above + 1]))

    def ends(self, level: float) -> tuple[float, float]:
        """Infinite where the trials do not bound it."""
        most = max(STRETCH * float(chi2.ppf(level, 1)), _ONE_TRIAL)
        agrees = np.flatnonzero(self.unlikely <= most + _ROUNDING)
        first, last = agrees[[0, -1]] if len(agrees) else [int(np.argmin(self.unlikely))] * 2
        lower = self.place[first - 1] if first > 0 else -np.inf
        return float(lower), float(self.place[last] if last < len(self.place) else np.inf)


def crossing(place: np.ndarray, success: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> Crossing:
    """Of n trials: `place` (n,), `success` (n,) bool, `weight` (n,) > 0, `cluster` (n,): what is drawn by chance."""
    distinct, at = np.unique(place, return_inverse=True)
    mass = np.bincount(at, weights=weight)
    share = np.bincount(at, weights=weight * success) / mass
    fitted, best = _rising(share, mass)
    below, above = _below_half(share, mass), _below_half(1 - share[::-1], mass[::-1])[::-1]
    fitted[np.abs(fitted - 0.5) < _ROUNDING] = 0.5  # as it is told apart from what is above and below
    residual = success - fitted[at]
    effect = design_effect(residual, weight, cluster_codes(cluster))
    return Crossing(place=distinct, share=fitted, unlikely=2 * (best - below - above) / effect)


def design_effect(residual: np.ndarray, weight: np.ndarray, codes: np.ndarray) -> float:
    """How many trials, by weight, count as one: how much more their sum varies than that of as many alike and
    independent ones. `residual` (n,) from a fit. At least as much as weights alone make it, at most as though trials of
    one cluster were all equal, which is taken where a fit leaves nothing to tell it by."""
    total = float(weight.sum())
    least = float(np.sum(weight**2)) / total
    most = float(np.sum(cluster_sums(weight, codes) ** 2)) / total
    squares = cluster_sums(weight * residual, codes) ** 2
    alone, seen = float(np.sum(weight * residual**2)), float(squares.sum())
    if alone <= _ROUNDING * total:
        return most
    clusters = seen**2 / float(np.sum(squares**2)) if seen > 0 else 1.0
    return float(np.clip(seen / alone * (1 + _SURELY / math.sqrt(clusters)), least, most))


def _rising(share: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, float]:
    """The best rising curve (k,) and its log likelihood."""
    blocks: list[_Block] = []
    for one in _blocks(share, mass):
        _pool(blocks, one)
    fitted = np.repeat([one.level for one in blocks], [one.places for one in blocks])
    return fitted, float(sum(_log_likelihood(one.level, one) for one in blocks))


def _below_half(share: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """(k + 1,): of the first 0 … k places the log likelihood of the best rising curve that stays below one half, which
    is the best rising one cut off there."""
    blocks: list[_Block] = []
    upto = [0.0]
    sums: list[float] = []  # of all blocks up to each
    for one in _blocks(share, mass):
        pooled = _pool(blocks, one)
        del sums[len(blocks) - 1 :]
        sums.append((sums[-1] if sums else 0.0) + _log_likelihood(min(pooled.level, 0.5), pooled))
        upto.append(sums[-1])
    return np.array(upto)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Places that share a level."""

    mass: float
    successes: float
    places: int = 1

    @property
    def level(self) -> float:
        return min(self.successes / self.mass, 1.0)


def _blocks(share: np.ndarray, mass: np.ndarray) -> Iterable[_Block]:
    for one, weight in zip(share.tolist(), mass.tolist(), strict=True):
        yield _Block(mass=weight, successes=one * weight)


def _pool(blocks: list[_Block], one: _Block) -> _Block:
    """Takes in one more place, together with all before it that are not below it."""
    while blocks and blocks[-1].level >= one.level:
        last = blocks.pop()
        one = _Block(
            mass=last.mass + one.mass, successes=last.successes + one.successes, places=last.places + one.places
        )
    blocks.append(one)
    return one


def _log_likelihood(level: float, block: _Block) -> float:
    counts = (block.successes, level), (block.mass - block.successes, 1 - level)
    return sum(count * math.log(chance) for count, chance in counts if count > 0 and chance > 0)
