"""How much of a space each point stands for that was drawn, where those drawn again count once.

A random sweep trains a point that comes up again no second time. So of a space of few points the sweep has the likely
ones first and the others later, but each of them once, and their mean would give rare points too much. Murthy's
estimator (1957, Sankhyā 18) weighs each by its probability, times how much more likely the sample would be had that
point been the first: its mean has no bias, whatever the shares. With points that arrive at random times, each at a
rate of its probability, that factor is the mean of 1 / (1 − exp(−p t)) over the time t by which the sample was full.
"""

from __future__ import annotations

import numpy as np

_NEGLIGIBLE = 40.0  # in the logarithm of a density
_NODES = 129  # an eighth of a standard deviation apart, or less
_SEARCHES = 16


def weights_of_drawn(chance: np.ndarray) -> np.ndarray:
    """(k,) up to a factor, of the probabilities (k,) of different points in the order of their being drawn or another.
    0: of a range, where no point comes up twice. Their sum is 1 where all points of the space were drawn."""
    rates, place, number = np.unique(chance, return_inverse=True, return_counts=True)
    rest = 1 - float(chance.sum())
    if rest < 1e-9:
        return chance
    if len(rates) == 1:
        return np.ones(len(chance))
    log_times = _support(rates, number, rest)
    density = _log_density(log_times, rates, number, rest)
    density = np.exp(density - density.max())
    times = np.exp(log_times)[:, None]
    weight = np.where(rates > 0, rates / _arrived(rates, times), 1 / times)
    return (density @ weight / density.sum())[place]


def _support(rates: np.ndarray, number: np.ndarray, rest: float) -> np.ndarray:
    """Where the density is, evenly in the logarithm of the time."""
    low, high = -45.0, 45.0
    for _ in range(_SEARCHES):
        grid = np.linspace(low, high, _NODES)
        density = _log_density(grid, rates, number, rest)
        near = np.flatnonzero(density > density.max() - _NEGLIGIBLE)
        low, high, width = grid[max(near[0] - 1, 0)], grid[min(near[-1] + 1, _NODES - 1)], high - low
        if high - low > 0.9 * width:
            break
    return np.linspace(low, high, _NODES)


def _log_density(log_times: np.ndarray, rates: np.ndarray, number: np.ndarray, rest: float) -> np.ndarray:
    """Of the logarithm of the time: all of the sample have arrived, and nothing else has."""
    times = np.exp(log_times)[:, None]
    arrived = np.where(rates > 0, _arrived(rates, times), times)
    return log_times - rest * times[:, 0] + np.log(arrived) @ number


def _arrived(rates: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Of rates of 0, which arrive never, 1: they are not asked of."""
    return np.where(rates > 0, -np.expm1(-np.where(rates > 0, rates, 1) * times), 1)
