"""Numbers in steps: whole numbers, and the multiples of any q."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Scalar = bool | int | float | str | None
Number = int | float

# A range is tried out at no more than this many values, evenly spread.
MAX_EXTREMES = 64


@dataclass(frozen=True, kw_only=True)
class Multiples:
    """The multiples of q from first·q to last·q; with q = 1 the whole numbers.

    Example: q = 0.1, first = 2, last = 4 → 0.2, 0.3, 0.4 (exactly these decimals, not 0.30000000000000004).
    """

    first: int
    last: int
    q: Number = 1

    def from_unit(self, u: float) -> Scalar:
        return times(self.first + index_at(u, self.last - self.first + 1), self.q)

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        if isinstance(self.q, int):
            return trial.suggest_int(name, self.first * self.q, self.last * self.q, step=self.q)
        low, high = float(times(self.first, self.q)), float(times(self.last, self.q))
        return snap(trial.suggest_float(name, low, high, step=float(self.q)), self.q, self.first, self.last)

    def listed(self) -> Sequence[Scalar]:
        return _Progression(self.first, self.last, self.q)

    def extremes(self) -> tuple[Scalar, ...]:
        span = self.last - self.first
        parts = min(span, MAX_EXTREMES - 1)
        return tuple(times(self.first + (span * i // parts if parts else 0), self.q) for i in range(parts + 1))


def multiples_within(low: Number | None, high: Number | None, q: Number) -> tuple[int | None, int | None]:
    """First and last whole k with low <= k·q <= high; low or high None: no limit on that side."""
    step = Decimal(str(q))
    first = None if low is None else math.ceil(Decimal(str(low)) / step)
    last = None if high is None else math.floor(Decimal(str(high)) / step)
    return first, last


def times(k: int, q: Number) -> Number:
    """k·q without the dust of binary fractions: 3 times 0.1 is 0.3."""
    return k * q if isinstance(q, int) else float(k * Decimal(str(q)))


def snap(value: Number, q: Number, first: int | None, last: int | None) -> Number:
    """The multiple of q nearest to the value, from first·q to last·q."""
    k = round(Decimal(str(value)) / Decimal(str(q)))
    k = k if first is None else max(k, first)
    return times(k if last is None else min(k, last), q)


def index_at(u: float, count: int) -> int:
    """Which of `count` equal parts of [0, 1) holds u; u = 1 is taken as just below."""
    return min(int(u * count), count - 1)


@dataclass(frozen=True)
class _Progression(Sequence[Scalar]):
    """first·q, …, last·q without holding them: a range may have millions."""

    first: int
    last: int
    q: Number

    def __len__(self) -> int:
        return min(self.last - self.first + 1, sys.maxsize)  # Python has no greater length

    @overload
    def __getitem__(self, index: int) -> Scalar: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Scalar]: ...
    def __getitem__(self, index: int | slice) -> Scalar | Sequence[Scalar]:
        steps = range(self.first, self.last + 1)[index]
        return times(steps, self.q) if isinstance(steps, int) else [times(k, self.q) for k in steps]
