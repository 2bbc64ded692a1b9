"""What a covariate does to whether a trial groks within its budget: differences of shares, by linear regression.

A straight line through what happened, 1 or 0, tells how many points one unit of a covariate adds to the share, all
others held fixed: the best one on average over what was tried, whatever the true curve. It always has a solution, where
odds ratios have none of a value with which nothing groks: Angrist, J. D., and Pischke, J.-S. (2009). Mostly Harmless
Econometrics, section 3.4.2. Errors are by leaving out each cluster, see `clusters.py`; of trials that count once and
alone no smaller than the line's own, since where few grok those left out may be none of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from grokray.analysis.bends import bends
from grokray.analysis.clusters import cluster_codes, jackknife
from grokray.analysis.design import Design
from grokray.analysis.effects import LONE, NO_CHANCE, Told, standard_errors
from grokray.analysis.intervals import effective_size, student_quantile, unseen

TOO_WIDE = "too few trials tell it: its interval goes over more than all shares"
NOTHING_DIFFERS = "all trials that count do the same"
_WHOLE = 1.0  # half of an interval of no use
_NONE = 1e-9  # of a share: an error of one standard deviation of the column that is none but for rounding


@dataclass(frozen=True, kw_only=True)
class ShareEffect(Told):
    """By how much one unit of a covariate changes the share that groks: 0.1 are ten points."""

    difference: float = float("nan")

    @property
    def from_none(self) -> float:
        return self.difference

    @property
    def stated(self) -> str:
        value, lower, upper = (100 * number for number in (self.difference, self.lower, self.upper))
        if value > 0:
            return f"raises the share that does by {value:.1f} points ({lower:.1f} to {upper:.1f})"
        return f"lowers the share that does by {-value:.1f} points ({-upper:.1f} to {-lower:.1f})"


@dataclass(frozen=True, kw_only=True)
class WhetherFit:
    """`effects` in the design's order, of `trials` with a weight, of which so many `grokked`."""

    effects: tuple[ShareEffect, ...]
    trials: int
    grokked: int

    @property
    def differs(self) -> bool:
        """Whether some grokked and some did not; else there is nothing to explain."""
        return 0 < self.grokked < self.trials


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Through n trials with a weight. `codes` (n,) are their clusters; `slopes`, `errors`, `exact` (they have none) and
    `alone`, which rest on one cluster, are (p + 1,), that of the column of ones first."""

    success: np.ndarray
    weight: np.ndarray
    codes: np.ndarray
    slopes: np.ndarray
    errors: np.ndarray
    exact: np.ndarray
    alone: np.ndarray
    degrees: float


def fit_whether(
    success: np.ndarray, weight: np.ndarray, cluster: np.ndarray, design: Design, level: float = 0.95
) -> WhetherFit:
    """`success` (n,) bool, `weight` (n,) 0 or more, `cluster` (n,) int: trials of one may be alike; `design` has n
    rows."""
    rows = np.flatnonzero(weight > 0)
    part = design.select(rows).independent()
    success, weight, cluster = success[rows], weight[rows], cluster[rows]
    counted = {"trials": len(rows), "grokked": int(success.sum())}
    if not 0 < counted["grokked"] < len(rows):
        none = tuple(_unknown(design, name, NOTHING_DIFFERS) for name in design.names)
        return WhetherFit(effects=none, **counted)
    line = _line(part, success, weight, cluster)
    found = {name: _effect(part, line, at, level) for at, name in enumerate(part.names)}
    effects = tuple(
        found[name] if name in found else _unknown(design, name, part.left_out.get(name, NOTHING_DIFFERS))
        for name in design.names
    )
    return WhetherFit(effects=effects, **counted)


def uneven_whether(
    success: np.ndarray, weight: np.ndarray, cluster: np.ndarray, design: Design, fit: WhetherFit
) -> dict[str, float]:
    """As `bends` has it; `fit` is of the same trials without squares."""
    fitted = [effect.name for effect in fit.effects if effect.reason is None]

    def p_of_last(bent: Design) -> float:
        return fit_whether(success, weight, cluster, bent).effects[-1].p_value

    return bends(design, fitted, min(fit.grokked, fit.trials - fit.grokked), p_of_last)


def _line(design: Design, success: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> _Line:
    middle, spread = design.matrix.mean(axis=0), design.matrix.std(axis=0)
    x = np.column_stack([np.ones(len(success)), (design.matrix - middle) / spread])
    codes = cluster_codes(cluster)
    total = x.T @ (x * weight[:, None])
    slopes = np.linalg.solve(total, x.T @ (weight * success))
    left = success - x @ slopes

    def information(rows: np.ndarray) -> np.ndarray:
        return weight[rows, None, None] * x[rows, :, None] * x[rows, None, :]

    covariance, alone = jackknife(x * (weight * left)[:, None], information, total, codes)
    errors, degrees = standard_errors(covariance), effective_size(weight, codes) - x.shape[1]
    if degrees > 0 and np.all(weight == weight[0]) and int(codes.max()) + 1 == len(codes):
        own = np.linalg.inv(total / weight[0]) * float(left @ left) / degrees
        errors = np.maximum(errors, standard_errors(own))
    scale = np.append(1.0, spread)
    return _Line(
        success=success,
        weight=weight,
        codes=codes,
        slopes=slopes / scale,
        errors=errors / scale,
        exact=errors < _NONE,
        alone=alone,
        degrees=max(degrees, 1.0),
    )


def _effect(design: Design, line: _Line, column: int, level: float) -> ShareEffect:
    name, value = design.names[column], float(line.slopes[column + 1])
    if line.alone[column + 1]:
        return _unknown(design, name, LONE)
    sides = _sides(design, column)
    if line.exact[column + 1] and not all(_agree(line, side) for side in sides or (slice(None),)):
        return _unknown(design, name, NO_CHANCE)
    quantile = student_quantile(line.degrees, level)
    less, more = _unseen_sides(line, sides, level) / np.ptp(design.matrix[~design.stand_in[:, column], column])
    down, up = (float(np.hypot(quantile * line.errors[column + 1], end)) for end in (less, more))
    if max(down, up) > _WHOLE:
        return _unknown(design, name, TOO_WIDE)
    error = (down if value > 0 else up) / quantile  # of the end that may reach none
    most = max(_WHOLE, abs(value)) if design.indicator[column] else np.inf  # shares differ by no more
    return ShareEffect(
        name=name,
        label=design.labels[column],
        difference=value,
        lower=max(value - down, -most),
        upper=min(value + up, most),
        standard_error=error,
        p_value=float(2 * student.sf(abs(value) / error, line.degrees)) if error > 0 else float("nan"),
    )


def _sides(design: Design, column: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(n,) bool each: the trials with the larger and with the smaller value, where there are two; else None."""
    values, said = design.matrix[:, column], ~design.stand_in[:, column]
    low, high = values[said].min(), values[said].max()
    two = bool(np.isin(values[said], (low, high)).all())
    return (said & (values == high), said & (values == low)) if two else None


def _agree(line: _Line, side: np.ndarray | slice) -> bool:
    """Whether all trials of it grokked, or none."""
    return len(np.unique(line.success[side])) < 2


def _unseen_sides(line: _Line, sides: tuple[np.ndarray, np.ndarray] | None, level: float) -> np.ndarray:
    """(2,): by how much less and more the difference of two sides may be, where of one all grokked or none did: the
    line takes them as certain, though there may be few."""
    if sides is None:
        return np.zeros(2)
    (less_high, more_high), (less_low, more_low) = (
        unseen(side, line.success, line.weight, line.codes, level) for side in sides
    )
    return np.array([less_high + more_low, more_high + less_low])


def _unknown(design: Design, name: str, reason: str) -> ShareEffect:
    return ShareEffect(name=name, label=design.labels[design.names.index(name)], reason=reason)
