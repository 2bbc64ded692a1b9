"""Times to grok, as every estimator takes them: an interval, a weight and a cluster for each trial.

Steps are optimiser updates. A trial that grokked did so in (lower, upper]: the last measurement before, and the first
of those that were sustained. Of a trial that did not grok, only a lower end is known, and upper is infinite:

- `budget`, `failed`, `stopped`, `running`: the last measurement, `duration_steps`. Nothing about it hints at what
  would have come, except for `budget`, where nothing was to come.
- `diverged`: `num_steps`, not the step where it diverged. A trial whose loss is infinite does not grok in what is left
  of its budget; to censor it early would count it like those that still might. So it is where shares are asked for.
  What a parameter does to the time is another question, of trials that still train: there observation ends where it
  diverged (cause-specific: Lau, B., Cole, S. R., and Gange, S. J. (2009). Competing risk regression models for
  epidemiologic data. American Journal of Epidemiology 170, 244-256).
- `pruned`: weight 0, since it was stopped because it was behind. Its like that were audited stand for it, see
  `grokray.analysis.weights`. But up to its `stop` it was watched like any other: estimators that go along time count
  it until there, see `until_stopped`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from grokray.analysis.clusters import cluster_codes
from grokray.analysis.trial_columns import numbers, table_of, texts
from grokray.analysis.weights import inverse_probability_weights, stop_steps

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import ArrayLike

_FIELDS = ("lower", "upper", "weight", "cluster", "stop")


@dataclass(frozen=True, kw_only=True)
class Times:
    """n trials. Raises ValueError for what is no interval or no weight.

    `lower`, `upper` (n,) in steps, 0 <= lower < upper; `upper` is infinite where the trial was not seen to grok.
    `weight` (n,): how many trials it stands for, 0 or more. `cluster` (n,) whole numbers: trials with the same one,
    such as seeds of one configuration, may be alike; all different by default. `stop` (n,): the step at which the
    scheduler wanted to stop it, and whether it is audited was drawn; up to there it stands for itself alone. Infinite
    where it has its weight from the beginning, as by default.
    """

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(
        cls,
        lower: ArrayLike,
        upper: ArrayLike,
        weight: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        stop: ArrayLike | None = None,
    ) -> Times:
        """Of anything that numpy reads. Times.of([0, 100], [100, np.inf]): one grokked, one did not by step 100."""
        lower = np.asarray(lower, np.float64)
        return cls(
            lower=lower,
            upper=np.asarray(upper, np.float64),
            weight=np.ones(len(lower)) if weight is None else np.asarray(weight, np.float64),
            cluster=np.arange(len(lower)) if cluster is None else np.asarray(cluster),
            stop=np.full(len(lower), np.inf) if stop is None else np.asarray(stop, np.float64),
        )

    @classmethod
    def right_censored(
        cls,
        time: ArrayLike,
        event: ArrayLike,
        weight: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        stop: ArrayLike | None = None,
    ) -> Times:
        """Of exact times; `event` (n,) is True where the time is that of an event, False where it is censored."""
        time, event = np.asarray(time, np.float64), np.asarray(event, bool)
        # The largest number below: an interval that holds nothing but the time.
        return cls.of(
            np.where(event, np.nextafter(time, 0), time), np.where(event, time, np.inf), weight, cluster, stop
        )

    def __post_init__(self) -> None:
        shapes = {name: getattr(self, name).shape for name in _FIELDS}
        if len(set(shapes.values())) > 1 or self.lower.ndim != 1:
            raise ValueError(f"shapes are {shapes}, but must be the same (n,)")
        if bad := np.flatnonzero(~((self.lower >= 0) & (self.lower < self.upper) & np.isfinite(self.lower))).tolist():
            at = bad[0]
            raise ValueError(
                f"trial {at} lies in ({self.lower[at]}, {self.upper[at]}], but must have 0 <= lower < upper"
            )
        if bad := np.flatnonzero(~((self.weight >= 0) & np.isfinite(self.weight))).tolist():
            raise ValueError(
                f"the weight of trial {bad[0]} is {self.weight[bad[0]]}, but must be 0 or more, and finite"
            )

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def observed(self) -> np.ndarray:
        """(n,): True where the trial was seen to grok."""
        return np.isfinite(self.upper)

    @property
    def seen_until(self) -> np.ndarray:
        """(n,): the right-censored view; the upper end of an observed interval, or else where observation ended."""
        return np.where(self.observed, self.upper, self.lower)

    @cached_property
    def codes(self) -> np.ndarray:
        """(n,) whole numbers from 0, equal within a cluster. If all belong to one, each trial has its own: there is no
        other to tell by how clusters differ, and what is estimated is about that one alone."""
        codes = cluster_codes(self.cluster)
        return codes if codes.any() else np.arange(len(self))

    @cached_property
    def is_plain(self) -> bool:
        """Whether every trial counts once and alone, so that the textbook's variances hold."""
        return bool(np.all(self.weight == 1)) and int(self.codes.max(initial=-1)) + 1 == len(self)

    def select(self, mask: np.ndarray) -> Times:
        """Those where `mask` (n,) is True."""
        return Times(**{name: getattr(self, name)[mask] for name in _FIELDS})

    def counted(self) -> Times:
        """Those with a weight above 0."""
        return self if np.all(self.weight > 0) else self.select(self.weight > 0)

    def until_stopped(self) -> Times:
        """With pruned trials that have a `stop`: watched until there, with weight 1. `stop` is left where the weight
        changes: of audited trials that were seen beyond it."""
        here = np.isfinite(self.stop)
        if not here.any():
            return self
        beyond = here & (self.seen_until > self.stop)
        cut, audited = beyond & (self.weight == 0), beyond & (self.weight > 0)
        return Times(
            lower=np.where(cut, self.stop, self.lower),
            upper=np.where(cut, np.inf, self.upper),
            weight=np.where(here & ~audited, 1.0, self.weight),
            cluster=self.cluster,
            stop=np.where(audited, self.stop, np.inf),
        )


def times_of(trials: pa.Table | pd.DataFrame, *, while_training: bool = False) -> Times:
    """Times of the rows of trials.parquet, in their order; (n,) each. ConfigError if a column is missing.

    Clusters are configurations. With `while_training` a diverged trial is seen up to where it diverged.
    """
    table = table_of(trials)
    duration, grok_step = numbers(table, "duration_steps"), numbers(table, "grok_step")
    observed = ~np.isnan(grok_step)
    diverged = texts(table, "censor_reason") == "diverged"
    never = diverged & (not while_training)
    censored_at = np.where(never, np.fmax(numbers(table, "num_steps"), duration), duration)
    return Times(
        lower=np.where(observed, np.nan_to_num(numbers(table, "grok_step_lower")), censored_at),
        upper=np.where(observed, grok_step, np.inf),
        weight=inverse_probability_weights(table),
        cluster=numbers(table, "configuration").astype(np.int64),
        stop=stop_steps(table),
    )
