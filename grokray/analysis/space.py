"""The search space as a measure: where trials lie in it, and points drawn evenly from it.

"Evenly" is in the space's own measure: a parameter that the search space draws uniformly in its logarithm is uniform in
its logarithm here, choices have their probabilities, and a parameter with `when` is there only under its condition. So
random and Sobol sweeps are even by construction, and any sweep can be weighed against it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats
from scipy.stats.qmc import Sobol

from grokray.analysis.outcomes import WATCHING, column, grouped, looks_logarithmic, missing_in, varying
from grokray.tasks.resolve import DRAWN, OF_CHECKPOINTS, USED_BY
from grokray.trial import ALL_PARTS, LISTS_OF_PARTS, MODEL_PARTS, as_names

# Numbers with more different values than this are taken as a range where no search space says what they are.
MAX_CHOICES = 12
MANY_GAPS = 3  # between a range's end and the nearest of some trials: by chance it is further off in one case of twenty


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter that varies. Either `values` (with `probabilities`), or a range: `kind` `uniform`, `log`,
    `normal` or `log_normal`, from `low` to `high`, of whose numbers the nearest multiple of `step` is taken, unless
    that is 0. `when` maps other parameters to the values that bring it about."""

    name: str
    values: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] = ()
    kind: str = "uniform"
    low: float = -math.inf
    high: float = math.inf
    mu: float = 0.0
    sigma: float = 1.0
    step: float = 0.0
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """(n,) values of a column → (n,) float: the quantile in [0, 1] of a range, the number of a choice as it is
        listed; NaN where the value is null or none of the choices."""
        if self.values:
            return self._numbers(values)
        if self.kind in ("uniform", "log"):
            inner, low, high = (np.log(x) if self.kind == "log" else x for x in (values, self.low, self.high))
            return np.clip((inner - low) / (high - low), 0, 1)
        low, high = self._normal(np.array([self.low, self.high]))
        return np.clip((self._normal(values) - low) / (high - low), 0, 1)

    def from_unit(self, units: np.ndarray) -> np.ndarray:
        """The values of a range at quantiles (k,) in [0, 1]."""
        if self.kind in ("uniform", "log"):
            low, high = (np.log(x) if self.kind == "log" else x for x in (self.low, self.high))
            inner = low + units * (high - low)
            return np.exp(inner) if self.kind == "log" else inner
        low, high = self._normal(np.array([self.low, self.high]))
        inner = stats.norm.ppf(low + units * (high - low), self.mu, self.sigma)
        return np.exp(inner) if self.kind == "log_normal" else inner

    def chances(self, units: np.ndarray) -> np.ndarray:
        """How likely an even draw gives the values at `units` (k,), as of `to_unit`; 0 of a range without steps."""
        if self.values:
            return np.array(self.probabilities)[units.astype(int)]
        values = self.from_unit(units)
        # What is drawn beyond the outermost multiples is taken to them.
        start = np.where(values - self.step < self.low, self.low, values - self.step / 2)
        end = np.where(values + self.step > self.high, self.high, values + self.step / 2)
        return self.to_unit(end) - self.to_unit(start) if self.step else np.zeros(len(units))

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        number = np.full(len(values), np.nan)
        for index, value in enumerate(self.values):
            same = (
                missing_in(values) if value is None else values == (value if isinstance(value, str) else float(value))
            )
            number[same] = index
        return number

    def _normal(self, values: np.ndarray) -> np.ndarray:
        if self.kind == "log_normal":
            values = np.log(np.maximum(values, 1e-300))
        return stats.norm.cdf(values, self.mu, self.sigma)


@dataclass(frozen=True, kw_only=True)
class Space:
    """`axes`: parents before those whose condition names them. `method`: `grid`, `random`, `sobol`, `tpe`, or None
    where it is not known. `notes`: what had to be guessed."""

    axes: tuple[Axis, ...]
    method: str | None = None
    notes: tuple[str, ...] = ()

    def points(self, trials: pa.Table) -> np.ndarray:
        """(n, axes) float: `Axis.to_unit` of every trial; NaN where the axis is not there for that trial."""
        columns = [axis.to_unit(column(trials, axis.name)) for axis in self.axes]
        return self._with_conditions(np.stack(columns, axis=1)) if columns else np.zeros((trials.num_rows, 0))

    def even(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, axes) float: as `points`, of a scrambled Sobol sequence; `count` is a power of two."""
        if not self.axes:
            return np.zeros((count, 0))
        units = Sobol(len(self.axes), scramble=True, rng=seed).random(count)
        for number, axis in enumerate(self.axes):
            if axis.values:
                ends = np.cumsum(axis.probabilities)[:-1]
                units[:, number] = np.searchsorted(ends, units[:, number], side="right")
        return self._with_conditions(units)

    def probabilities(self, points: np.ndarray) -> np.ndarray:
        """(n,): how likely an even draw gives each of the points (n, axes): 0 where an axis is a range without steps.

        Of all configurations of a whole grid they sum to 1.
        """
        chance = np.ones(len(points))
        for axis, units in zip(self.axes, points.T, strict=True):
            there = ~np.isnan(units)
            chance[there] *= axis.chances(units[there])
        return chance

    def _with_conditions(self, points: np.ndarray) -> np.ndarray:
        place = {axis.name: number for number, axis in enumerate(self.axes)}
        for number, axis in enumerate(self.axes):
            for parent, allowed in axis.when.items():
                if parent in place:
                    listed = [index for index, value in enumerate(self.axes[place[parent]].values) if value in allowed]
                    points[~np.isin(points[:, place[parent]], listed), number] = np.nan
        return points


def space_of_sweep(fingerprint: Mapping[str, str], trials: pa.Table) -> Space:
    """As the sweep's folder has it (`SweepFolder.fingerprint`).

    A parameter that has no column of its own (the original's names, such as max_bit_length_train), or other values
    there (such as x+y_binary), is replaced by what varies among the trials instead, which `notes` says.
    """
    specs = {name: json.loads(fingerprint[f"parameters.{name}"]) for name in json.loads(fingerprint["parameters"])}
    specs = {name: spec for name, spec in specs.items() if not _is_constant(spec)}
    axes = _used([_axis(name, spec) for name, spec in specs.items() if name in trials.column_names], trials)
    axes = [axis for axis in axes if _is_of(axis, trials)]
    known = {axis.name for axis in axes}
    unknown = [name for name in specs if name not in known]
    notes = ()
    if unknown:
        axes += [axis for axis in space_of_trials(trials).axes if axis.name not in known]
        others = "the trials have other names or values than the search space, so what varies among them is taken"
        notes = (f"{', '.join(unknown)}: {others}",)
    return Space(axes=_parents_first(axes), method=json.loads(fingerprint["method"]), notes=notes)


def _is_constant(spec: Mapping[str, Any]) -> bool:
    """One folder of data is told by what it `holds` in place of a value."""
    return "value" in spec or len(spec.get("values", ())) == 1 or ("holds" in spec and "values" not in spec)


def space_of_trials(trials: pa.Table) -> Space:
    """Guessed from what varies: up to MAX_CHOICES different values are choices, equally likely; else a range from the
    least to the greatest, in the logarithm where they lie more evenly there. A parameter that is null for some values
    of another one is there under the condition of the rest. How trials are watched is no part of the space."""
    axes: list[Axis] = []
    parents: list[np.ndarray] = []
    configurations = len(np.unique(column(trials, "configuration")))
    for name in varying(trials):
        if name in WATCHING:
            continue
        values = column(trials, name)
        if any(_follows(values, parent) for parent in parents):
            continue  # it says nothing that another parameter does not say
        axes.append(_guessed(name, values, trials, axes))
        if axes[-1].values and _recurs(values, configurations):
            parents.append(values)
    return Space(axes=tuple(axes), notes=("the search space is guessed from the values of the trials",))


def narrowed(space: Space, trials: pa.Table) -> Space:
    """Of a space the part that some of its trials span, which were picked out by their parameters: the choices that
    they have, in their old proportions, and ranges from where they begin to where they end."""
    axes = [part for axis in space.axes if (part := _part_of(axis, column(trials, axis.name))) is not None]
    names = {axis.name for axis in axes}  # who is alike in all of them brings nothing about
    axes = [dataclasses.replace(one, when={k: v for k, v in one.when.items() if k in names}) for one in axes]
    note = "a part of the trials was chosen: the part of the search space that they span is taken as the space"
    return dataclasses.replace(space, axes=tuple(axes), notes=(*space.notes, note))


def _part_of(axis: Axis, values: np.ndarray) -> Axis | None:
    """None where the values (n,) are all alike."""
    units = axis.to_unit(values)
    seen = np.unique(units[~np.isnan(units)])
    if len(seen) < 2:
        return None
    if axis.values:
        there = seen.astype(int).tolist()
        chances = np.array(axis.probabilities)[there]
        values_there = tuple(axis.values[number] for number in there)
        return dataclasses.replace(axis, values=values_there, probabilities=tuple((chances / chances.sum()).tolist()))
    gap = (seen[-1] - seen[0]) / (len(seen) - 1)
    low, high = axis.from_unit(np.array([seen[0] - gap / 2, seen[-1] + gap / 2]).clip(0, 1)).tolist()
    first, last = axis.from_unit(seen[[0, -1]]).tolist()
    if axis.step and round((last - first) / axis.step) < len(seen):  # no multiple between them is missing
        low, high = max(axis.low, first - axis.step / 2), min(axis.high, last + axis.step / 2)
        return dataclasses.replace(axis, low=low, high=high)
    return dataclasses.replace(
        axis,
        low=axis.low if seen[0] <= MANY_GAPS * gap else low,
        high=axis.high if 1 - seen[-1] <= MANY_GAPS * gap else high,
    )


def _used(axes: list[Axis], trials: pa.Table) -> list[Axis]:
    """With the conditions that nobody had to write down: a parameter is not there where nothing uses it. Trials have it
    at its default then, and those that differ in it alone are one."""
    of = {axis.name: axis for axis in axes}
    wanted = [(parent, users, name) for (parent, users), used in USED_BY.items() for name in used]
    if (start := of.get("initial_checkpoint")) is not None:
        paths = tuple(value for value in start.values if value is not None)
        wanted += [(start.name, paths, name) for name in OF_CHECKPOINTS]
        if not _takes_parts(trials):  # where some parts are drawn and others are not, both have their uses
            wanted += [(start.name, (None,), name) for name in DRAWN]
    for parent, users, name in wanted:
        if name in of and parent in of:
            written = of[name].when.get(parent, users)
            both = tuple(value for value in written if value in users)
            of[name] = dataclasses.replace(of[name], when={**of[name].when, parent: both})
    return list(of.values())


def _takes_parts(trials: pa.Table) -> bool:
    """Whether any of them takes some parts of its `initial_checkpoint` alone."""
    taken = trials["initial_parts"].to_pylist() if "initial_parts" in trials.column_names else []
    return not {*taken} <= {None, ALL_PARTS}


def _is_of(axis: Axis, trials: pa.Table) -> bool:
    """Whether all values among the trials are of the axis: names of the original are translated before training."""
    for parent, allowed in axis.when.items():
        if parent in trials.column_names:
            trials = trials.filter(pa.array([value in allowed for value in trials[parent].to_pylist()], pa.bool_()))
    values = column(trials, axis.name)
    return not axis.values or bool((missing_in(values) | ~np.isnan(axis.to_unit(values))).all())


def _axis(name: str, spec: Mapping[str, Any]) -> Axis:
    """From a parameter as YAML has it, with its distribution written out unless it has values."""
    when = {
        parent: _as_trained(parent, v if isinstance(v, list) else [v]) for parent, v in spec.get("when", {}).items()
    }
    if "values" in spec:
        values = _as_trained(name, spec["values"])
        equal = [1 / len(values)] * len(values)
        return Axis(name=name, values=values, probabilities=tuple(spec.get("probabilities") or equal), when=when)
    kind = spec["distribution"]
    low, high = spec.get("min", -math.inf), spec.get("max", math.inf)
    step = 1 if kind == "int_uniform" else spec.get("q", 1) if kind.startswith("q_") else 0
    if kind.endswith("normal"):
        mu, sigma = spec.get("mu", 0.0), spec.get("sigma", 1.0)
        shape = "log_normal" if "log" in kind else "normal"
        return Axis(name=name, kind=shape, low=low, high=high, mu=mu, sigma=sigma, step=step, when=when)
    if kind.endswith("log_uniform"):  # its ends are exponents
        low, high = math.exp(low), math.exp(high)
    if kind in ("int_uniform", "q_uniform"):  # each multiple has a stretch of its own
        low, high = (math.ceil(low / step - 1e-9) - 0.5) * step, (math.floor(high / step + 1e-9) + 0.5) * step
    return Axis(name=name, kind="log" if "log" in kind else "uniform", low=low, high=high, step=step, when=when)


def _as_trained(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """The values as trials have them, who name parts of a model in one order."""
    return tuple(as_names(value, MODEL_PARTS) if name in LISTS_OF_PARTS else value for value in values)


def _guessed(name: str, values: np.ndarray, trials: pa.Table, axes: Sequence[Axis]) -> Axis:
    missing = missing_in(values)
    distinct = sorted(set(values[~missing].tolist()))
    when, choices = {}, list(distinct)
    if missing.any():
        parent = next((axis for axis in axes if axis.values and _follows(missing, column(trials, axis.name))), None)
        if parent is None:
            choices.append(None)
        else:
            held = set(column(trials, parent.name)[~missing].tolist())
            when = {parent.name: tuple(value for value in parent.values if value in held)}
    if values.dtype == object or len(choices) <= MAX_CHOICES:
        return Axis(name=name, values=tuple(choices), probabilities=(1 / len(choices),) * len(choices), when=when)
    low, high = distinct[0], distinct[-1]
    kind = "log" if looks_logarithmic(values[~missing]) else "uniform"
    return Axis(name=name, kind=kind, low=low, high=high, when=when)


def _recurs(values: np.ndarray, configurations: int) -> bool:
    """Whether it is no accident that another column follows these values: where nearly each configuration has a number
    of its own, every column does."""
    if values.dtype == object:
        return True
    return 2 * len(np.unique(values[~missing_in(values)])) <= configurations


def _follows(values: np.ndarray, other: np.ndarray) -> bool:
    """Whether each value of `other` comes with one value of `values` only."""
    values = values.astype(float) if values.dtype == bool else values
    return grouped([other, values], len(values)).max(initial=0) == grouped([other], len(other)).max(initial=0)


def _parents_first(axes: list[Axis]) -> tuple[Axis, ...]:
    placed: dict[str, Axis] = {}
    names = {axis.name for axis in axes}
    while len(placed) < len(axes):  # the search space has no cycles
        for axis in axes:
            if axis.name not in placed and all(parent in placed or parent not in names for parent in axis.when):
                placed[axis.name] = axis
    return tuple(placed.values())
