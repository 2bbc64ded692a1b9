"""Intervals of variance components by the jackknife, each on the scale on which its error is even.

A variance that is estimated too low has too low an error, too: the percentiles of a bootstrap lie too low, and of few
configurations, or where a few carry the variance, far too low. So variances go by their logarithm: Miller, R. G.
(1968). Jackknifing variances. Annals of Mathematical Statistics 39, 567-582; differences of two by the ends of both,
see `intervals.joined`; and shares, which are intraclass correlations, by Fisher's z (1925, Statistical Methods for
Research Workers, chapter 7).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grokray.analysis.intervals import joined

MOST_BLOCKS = 200  # of configurations, each left out; of as many configurations, each is a block

Ends = tuple[float, float]
_NONE = (float("nan"), float("nan"))


def left_out(configurations: int) -> Iterator[np.ndarray]:
    """For each block (configurations,) bool: which configurations are kept. Dealt at random, but always alike."""
    blocks = min(MOST_BLOCKS, configurations)
    block = np.random.default_rng(0).permutation(configurations) % blocks
    return (block != number for number in range(blocks))


def error(moved: np.ndarray) -> float:
    """Of an estimate that is `moved` (blocks,) without each block; NaN where it cannot be had without one."""
    return float(np.sqrt((len(moved) - 1) / len(moved) * np.sum((moved - moved.mean()) ** 2)))


def of_variance(value: float, moved: np.ndarray, critical: float) -> Ends:
    """No ends of none at all."""
    reach = critical * error(moved)
    if not value > 0 or not reach > 0:
        return _NONE
    with np.errstate(over="ignore"):
        factor = float(np.exp(reach / value))
    return value / factor, value * factor


def of_difference(whole: tuple[float, Ends, np.ndarray], part: tuple[float, Ends, np.ndarray]) -> Ends:
    """Of a whole less a part of it, of each the value, its ends, and as what it is `moved`."""
    (a, (low_a, high_a), moved_a), (b, (low_b, high_b), moved_b) = whole, part
    apart = float(np.sqrt(moved_a.var() * moved_b.var()))
    alike = float(np.mean((moved_a - moved_a.mean()) * (moved_b - moved_b.mean()))) / apart if apart > 0 else 0.0
    return a - b - joined(a - low_a, high_b - b, alike), a - b + joined(high_a - a, b - low_b, alike)


def of_share(value: float, moved: np.ndarray, critical: float, trials: float) -> Ends:
    """Of the share that configurations have, which have so many `trials` each on average. No ends where none of the
    variance, or less, is left to seeds, or where trials of a configuration are less alike than they could be."""
    more, less = 1 + (trials - 1) * value, 1 - value
    reach = critical * error(moved)
    if not more > 0 or not less > 0 or not reach > 0:
        return _NONE
    z, half = np.log(more / less), min(reach * trials / (more * less), 700.0)
    lower, upper = (float(np.expm1(end) / (np.exp(end) + trials - 1)) for end in (z - half, z + half))
    return lower, upper
