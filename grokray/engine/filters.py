"""What is done to a gradient on its way to the optimiser."""

from __future__ import annotations

import torch
from torch import Tensor

from grokray.engine.shape import Layout
from grokray.engine.sums import dots, norms

_TINY = 1e-30  # added to what is divided by, as in the authors' code


@torch.no_grad()
def grokfast(
    gradients: Tensor, average: Tensor, *, step: Tensor, alpha: Tensor, strength: Tensor, active: Tensor
) -> Tensor:
    """Amplify what is slow in the gradients (slots, row_size): g + λh, where h ← αh + (1 − α)g starts as the first g.

    Grokfast-EMA (Lee et al. 2024, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients"), its start as in the
    authors' code. `average` (slots, row_size) is h and is updated in place, but for inactive slots; step (slots,)
    counts the steps that it has seen; alpha, strength (λ), active (slots,) are float64.
    """
    weight = torch.where(step == 0, 1.0, 1 - alpha) * active
    average.lerp_(gradients, weight.to(average.dtype)[:, None])
    return gradients + strength.to(average.dtype)[:, None] * average


@torch.no_grad()
def orthograd(layout: Layout, parameters: Tensor, gradients: Tensor) -> Tensor:
    """Take from each parameter's gradient what points along the parameter, and make the rest as long as the whole was:
    g ← (g − w·(w·g)/(w·w)), times |g| over its own norm. Rows (slots, row_size), which it leaves as they are.

    ⊥Grad (Prieto et al. 2025, "Grokking at the Edge of Numerical Stability"); one parameter at a time and the length
    as in the authors' code, where the paper has all of them as one vector. Queries, keys and values are three.
    """
    weights, found = layout.views(parameters), {}
    for name, gradient in layout.views(gradients).items():
        parts = 3 if ".qkv." in name else 1
        w, g = (t.unflatten(-1, (parts, -1)).movedim(-2, 1) for t in (weights[name], gradient))
        rest = _orthogonal(w.flatten(0, 1).flatten(1), g.flatten(0, 1).flatten(1))
        found[name] = rest.view(g.shape).movedim(1, -2).reshape(gradient.shape)
    return layout.rows(found)


def _orthogonal(w: Tensor, g: Tensor) -> Tensor:
    """w, g (n, size) to the same, of each by itself."""
    along = dots(w, g) / (dots(w, w) + _TINY)
    rest = g - along.to(g.dtype)[:, None] * w
    return rest * (norms(g) / (norms(rest) + _TINY)).to(g.dtype)[:, None]
