"""One parameter of a search space, in the grammar of W&B sweeps, with `when` for conditions.

{value: 128}                                            always 128
{values: [1, 2, 3], probabilities: [0.5, 0.3, 0.2]}     one of these
{min: 1, max: 8}                                        whole numbers: int_uniform; else uniform
{distribution: log_uniform_values, min: 0.01, max: 3}
{values: [2, 10], when: {task_type: sequence}}          there only if the other parameter has that value
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from grokray.sweep.distributions import Bell, Choice, Distribution, LogMultiples, Real
from grokray.sweep.grammar import KEYS, check, ends, fault, one_of, spell_out
from grokray.sweep.multiples import Multiples, Number, Scalar, multiples_within

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise fault(None, "must be a single value: a number, a text, true, false or null")


def _number(value: Any) -> Number | None:
    if value is None:
        return value
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise fault(None, "must be a number")
    if isinstance(value, int) and abs(value) >= 2**63 or not math.isfinite(value):
        raise fault(None, "must be a finite number, and below 2^63 if it is whole")
    return value


def _sequence(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    raise fault(None, "must be a list, such as [1, 2]")


def _conditions(value: Any) -> Any:
    if not isinstance(value, Mapping) or not value:
        raise fault(None, "must name another parameter and its value, such as {task_type: sequence}")
    return {k: tuple(v) if isinstance(v, list | tuple) else (v,) for k, v in value.items()}


AnyScalar = Annotated[Any, BeforeValidator(_scalar)]
AnyNumber = Annotated[Any, BeforeValidator(_number)]
DistributionName = Annotated[str, one_of(KEYS)]


class Parameter(BaseModel):
    """Frozen. `value: x` is kept as `values: [x]` of the distribution `constant`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: DistributionName
    values: Annotated[tuple[AnyScalar, ...], BeforeValidator(_sequence)] = ()
    probabilities: Annotated[tuple[AnyNumber, ...] | None, BeforeValidator(_sequence)] = None
    min: AnyNumber = None
    max: AnyNumber = None
    mu: AnyNumber = None
    sigma: AnyNumber = None
    q: AnyNumber = None
    when: Annotated[dict[str, tuple[AnyScalar, ...]], BeforeValidator(_conditions)] = {}

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, spec: Any) -> Any:
        return spell_out(spec)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check(self)
        return self

    def from_unit(self, u: float) -> Scalar:
        """The value at quantile u in [0, 1)."""
        return self.shape.from_unit(u)

    def suggest(self, trial: BaseTrial, name: str) -> Scalar:
        """The value that an Optuna trial suggests. A constant asks nothing; bell curves and probabilities ask for
        their quantile, as `name:u`."""
        return self.shape.suggest(trial, name)

    def grid_values(self) -> Sequence[Scalar] | None:
        """All values, or None where there are infinitely many."""
        return self.shape.listed()

    def extremes(self) -> tuple[Scalar, ...]:
        """Values worth trying out beforehand: all that are listed, the ends of a range, a spread of whole numbers."""
        return self.shape.extremes()

    @property
    def is_fixed(self) -> bool:
        """Has one value only, so that there is nothing to search."""
        return len(self.values) == 1

    @cached_property
    def shape(self) -> Distribution:
        return _shape(self)

    def spec(self) -> dict[str, Any]:
        """What to write in YAML, shortest: loads back to an equal parameter."""
        spec = {k: v for k, v in self.model_dump(exclude_defaults=True).items() if k != "values"}
        if self.distribution in ("constant", "categorical"):
            del spec["distribution"]
        if self.distribution == "constant":
            spec = {"value": self.values[0], **spec}
        elif self.values:
            spec = {"values": list(self.values), **spec}
        if self.when:
            spec["when"] = {k: v[0] if len(v) == 1 else list(v) for k, v in self.when.items()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in spec.items()}


def _shape(p: Parameter) -> Distribution:
    kind, q = p.distribution, 1 if p.q is None else p.q
    low, high = ends(p)
    if p.values:
        return Choice(values=p.values, probabilities=p.probabilities)
    if kind.endswith("normal"):
        mu, sigma = 0.0 if p.mu is None else p.mu, 1.0 if p.sigma is None else p.sigma
        q = q if kind.startswith("q_") else None
        return Bell(mu=mu, sigma=sigma, log="log" in kind, low=low, high=high, q=q)
    first, last = multiples_within(low, high, q)
    if kind in ("int_uniform", "q_uniform"):
        return Multiples(first=first or 0, last=last or 0, q=q)
    if kind.startswith("q_"):
        return LogMultiples(low=low, high=high, first=first or 0, last=last or 0, q=q)
    return Real(low=float(low), high=float(high), log="log" in kind)
