"""Sums over clusters of trials, and how an estimate moves without each of them.

Huber, P. J. (1967); White, H. (1980); for clusters Liang, K.-Y., and Zeger, S. L. (1986). Longitudinal data analysis
using generalized linear models. Biometrika 73, 13-22. Few clusters, or a few with large weights, pull the estimate
towards themselves, which makes the sandwich too small; leaving each out in one step of Newton's method mends that:
Bell, R. M., and McCaffrey, D. F. (2002). Bias reduction in standard errors for linear regression with multi-stage
samples. Survey Methodology 28, 169-181.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Matrices of trials that the jackknife holds at once.
_CHUNK = 4_000
# Of the information in a direction; with less than this left, it came from one cluster.
_LONE = 1e-6
# Of a parameter's own error; what such directions move it less than is told without them.
_HARDLY = 1e-3
BLOCKS = 25  # of clusters, each left out exactly


def blockwise(
    estimate: Callable[[np.ndarray], np.ndarray | None], whole: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """`whole` (p,) less its bias, its covariance (p, p), and of how many blocks: each left out exactly, where one step
    of Newton's method, as in `jackknife`, does not see how a few heavy trials bend the likelihood.

    `estimate(kept)` is that of the trials in `kept` (n,) bool, None where there is none: then there is none here.
    Blocks are of whole clusters `codes` (n,), dealt at random but always alike. Efron, B. (1982). The Jackknife, the
    Bootstrap and Other Resampling Plans, chapters 2 and 3.
    """
    clusters = int(codes.max()) + 1
    blocks = min(BLOCKS, clusters)
    block = (np.random.default_rng(0).permutation(clusters) % blocks)[codes]
    found = []
    for number in range(blocks):
        one = estimate(block != number)
        if one is None:
            return None
        found.append(one)
    middle = np.mean(found, axis=0)
    apart, corrected = np.array(found) - middle, blocks * whole - (blocks - 1) * middle
    return corrected, (blocks - 1) / blocks * apart.T @ apart, blocks


def cluster_codes(cluster: np.ndarray) -> np.ndarray:
    """(n,) of any labels → (n,) whole numbers from 0, equal where the labels are."""
    return np.unique(cluster, return_inverse=True)[1].reshape(-1)


def cluster_sums(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,) or (n, p) → the sums over each cluster, (clusters,) or (clusters, p)."""
    if values.ndim == 1:
        return np.bincount(codes, weights=values)
    return np.stack([np.bincount(codes, weights=column) for column in values.T], axis=1)


def jackknife(
    scores: np.ndarray,
    information: Callable[[np.ndarray], np.ndarray],
    total: np.ndarray,
    codes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (p, p) of an estimate by leaving out each of the G clusters, and which parameters (p,) bool rest on
    one of them alone: without that cluster nothing tells them, so their variance means nothing.

    `scores` (n, p) are weighted and sum to 0; `information` takes places of trials (r,) and returns each one's part
    (r, p, p) in `total` (p, p), which is less the Hessian of the log likelihood.
    """
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    sums, inverse = cluster_sums(scores, codes), np.linalg.inv(total)
    moves, alone = [], np.zeros(len(total), bool)
    clusters = len(starts)
    at = 0
    while at < clusters:
        # At least one cluster, however large.
        upto = max(int(np.searchsorted(ends, starts[at] + _CHUNK, side="right")), at + 1)
        rows = order[starts[at] : ends[upto - 1]]
        parts = np.add.reduceat(information(rows), starts[at:upto] - starts[at], axis=0)
        left = total - parts
        # The share of all information that the cluster has, summed over p directions; 1 in one of them takes 1 in all.
        for heavy in np.flatnonzero(np.einsum("ij,cji->c", inverse, parts) > 0.99):
            left[heavy], rests = _without_lone_directions(left[heavy], total)
            alone |= rests
        moves.append(np.linalg.solve(left, sums[at:upto, :, None])[..., 0])
        at = upto
    moved = np.concatenate(moves)
    return moved.T @ moved * ((clusters - 1) / clusters), alone


def _without_lone_directions(left: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The information (p, p) that is left without a cluster, with all of it put back where none is; and which
    parameters (p,) such directions move."""
    root = np.linalg.cholesky(total)
    shares, vectors = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, left).T))
    none = shares < _LONE
    directions = np.linalg.solve(root.T, vectors[:, none])
    scale = np.sqrt(np.diag(total))[:, None]
    moved = np.abs(directions * scale).max(axis=1, initial=0.0) > _HARDLY
    whole = (vectors * np.where(none, 1.0, shares)) @ vectors.T
    return root @ whole @ root.T, moved
