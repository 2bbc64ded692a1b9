"""Which effects the trials can tell, before a model is fitted to them.

If no trial at weight decay 0 grokked, the likelihood rises for as long as that effect grows: it has no maximum. In the
limit these trials have probability 1 and say nothing about the others, so the exact answer is to leave them out, and
the effect with them: Albert, A., and Anderson, J. A. (1984). On the existence of maximum likelihood estimates in
logistic regression models. Biometrika 71, 1-10; the limit: Geyer, C. J. (2009). Likelihood inference in exponential
families and directions of recession. Electronic Journal of Statistics 3, 259-289.

Here a direction of the covariates is one of recession if it changes nothing for those that were seen to grok within
an interval, and does not make anyone else less likely: later for those that did not grok, or earlier for those that had
at the first measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linprog

from grokray.analysis.clusters import jackknife
from grokray.analysis.design import Design
from grokray.analysis.effects import Effect, not_estimable
from grokray.analysis.times import Times

_ZERO = 1e-8  # of standardised columns


@dataclass(frozen=True, kw_only=True)
class Estimable:
    """`times` and `design` are what is left to fit; of the columns in `reasons` the trials say nothing, and why.

    `rows` (trials left,) are their places among all that were given. `counted` of these had a weight, of which
    `grokked` were seen to grok.
    """

    times: Times
    design: Design
    rows: np.ndarray
    counted: int
    grokked: int
    labels: Mapping[str, str]
    reasons: Mapping[str, str]

    @cached_property
    def lone(self) -> np.ndarray:
        """(p,) bool: columns that do not vary, or follow from others, without some one cluster. All False where every
        trial counts once and alone, since then the model itself says what chance does."""
        if self.times.is_plain:
            return np.zeros(len(self.design.names), bool)
        scaled = _scaled(self.design.matrix)

        def squares(rows: np.ndarray) -> np.ndarray:
            return scaled[rows, :, None] * scaled[rows, None, :]

        codes = self.times.codes
        return jackknife(np.zeros_like(scaled), squares, scaled.T @ scaled, codes)[1][1:]

    @property
    def impossible(self) -> str | None:
        """Why nothing can be fitted, or None."""
        if not self.counted:
            return "no trial counts"
        if not self.grokked:
            return "no trial grokked"
        if self.times.observed.any():
            return None
        # Only trials that had grokked at their first measurement can all be certain.
        which = "all trials" if self.grokked == self.counted else "all that grokked"
        return f"{which} had grokked at their first measurement: their times say nothing of effects"

    def effects(self, found: Mapping[str, Effect], otherwise: str = "") -> tuple[Effect, ...]:
        """In the order of the columns; one that was not found has its own reason, or else `otherwise`."""
        return tuple(
            found[name] if name in found else not_estimable(name, label, self.reasons.get(name, otherwise))
            for name, label in self.labels.items()
        )


def estimable(times: Times, design: Design) -> Estimable:
    """Of the trials with a weight. ValueError if `design` is of another number of trials."""
    if len(times) != len(design.matrix):
        raise ValueError(f"there are {len(times)} times, but {len(design.matrix)} rows of covariates")
    rows = np.flatnonzero(times.weight > 0)
    times, design = times.select(rows), design.select(rows).independent()
    counted, grokked = len(times), int(times.observed.sum())
    labels, reasons = dict(zip(design.names, design.labels, strict=True)), {}
    while times.observed.any() and len(keep := _informative(times, design.matrix)) < len(times):
        before, all_times = design, times
        rows, times, design = rows[keep], times.select(keep), design.select(keep).independent()
        for name in before.names:
            if name not in design.names:
                reasons[name] = _reason(before, all_times, name)
    left_out = {name: why for name, why in design.left_out.items() if name not in reasons}
    design = Design(**{**design.__dict__, "left_out": left_out})
    of = {"counted": counted, "grokked": grokked}
    return Estimable(times=times, design=design, rows=rows, **of, labels=labels, reasons=reasons)


def _informative(times: Times, matrix: np.ndarray) -> np.ndarray:
    """Places of the trials that no direction of recession makes certain."""
    everyone = np.arange(len(times))
    if not matrix.shape[1]:
        return everyone
    scaled = _scaled(matrix)
    fixed = times.observed & (times.lower > 0)
    free = _null_space(scaled[fixed])
    if not free.shape[1]:
        return everyone
    sign = np.where(times.observed, -1.0, 1.0)
    later = np.where(fixed[:, None], 0.0, scaled @ free * sign[:, None])  # (n, k): by a unit of each free direction
    direction = _recession(np.unique(np.round(later, 10), axis=0))
    gain = later @ direction
    return np.flatnonzero(gain <= _ZERO * max(float(np.abs(later).max()), 1.0))


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """(n, p) → (n, p + 1): ones, and the columns with mean 0 and standard deviation 1."""
    scaled = (matrix - matrix.mean(axis=0)) / np.maximum(matrix.std(axis=0), 1e-300)
    return np.column_stack([np.ones(len(matrix)), scaled])


def _null_space(rows: np.ndarray) -> np.ndarray:
    """(n, p) → (p, k): directions that these rows do not see."""
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return vectors[:, values <= _ZERO**1.5 * max(float(values[-1]), 1.0)]


def _recession(later: np.ndarray) -> np.ndarray:
    """(m, k) → (k,): the direction within [-1, 1] that makes nobody's gain negative and their sum largest."""
    found = linprog(-later.sum(axis=0), A_ub=-later, b_ub=np.full(len(later), _ZERO / 10), bounds=(-1, 1))
    return found.x if found.success else np.zeros(later.shape[1])


def _reason(design: Design, times: Times, name: str) -> str:
    column = design.names.index(name)
    if design.indicator[column]:
        here = design.matrix[:, column] == 1
        for trials, where in ((here, "with it"), (~here, "without it")):
            if not times.observed[trials].any():
                number = int(trials.sum())
                if number == 1:
                    return f"the one trial {where} did not grok"
                return f"none of the {number:,} trials {where} grokked"
    late, early = (~times.observed).any(), (times.observed & (times.lower <= 0)).any()
    if early and not late:
        return "only trials that had grokked at their first measurement differ in it"
    return f"only trials that did not grok{', or had at their first measurement,' if early else ''} differ in it"
