"""Rules of a sweep that concern more than one key of its file. No trial is made here: that is in check.py."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from grokray.sweep import space
from grokray.sweep.grammar import same
from grokray.sweep.sections import DEFINING, MAX_CONFIGURATIONS, SIGNAL_METRICS, GrokAsha
from grokray.tasks.draft import PARAMETERS
from grokray.trial import MEASURES
from grokray.wording import nearest

if TYPE_CHECKING:
    from grokray.sweep.config import SweepConfig

# Where, as keys from the top of the file, and what is wrong there.
Fault = tuple[tuple[str | int, ...], str]

MAX_CONDITIONS = 100_000


def faults(config: SweepConfig, *, omitted: frozenset[str]) -> list[Fault]:
    """Every rule that is broken. `omitted` names keys left out because they have faults of their own."""
    found = [
        *_names(config),
        *([] if omitted & {"num_trials", "method"} else _num_trials(config)),
        *_conditions(config, omitted),
        *([] if "method" in omitted else _grid(config)),
        *([] if omitted & {"method", "part"} else _part(config)),
        *([] if omitted & {"execution", "resources"} else _resources(config)),
        *([] if omitted & {"scheduler", "trial", "measure"} else _signal(config)),
    ]
    # Faulty parameters and conditions cannot be counted.
    counts = not found and omitted.isdisjoint({"method", "num_trials", *PARAMETERS})
    return [*found, *(_size_of_grid(config) if counts else [])]


def _names(config: SweepConfig) -> Iterator[Fault]:
    for name in config.parameters:
        if name not in PARAMETERS:
            yield ("parameters", name), f"{name} is no parameter of a trial{_near(name)}"
        if name in DEFINING and name in config.trial.model_fields_set:
            yield ("parameters", name), f"{name} stands under parameters and under trial, but must be in one place"


def _near(name: str) -> str:
    return nearest(name, list(PARAMETERS)) or "; `grokray train --help` lists them"


def _num_trials(config: SweepConfig) -> Iterator[Fault]:
    if config.num_trials is None and config.method != "grid":
        yield ("method",), f"num_trials is missing, but must be given for the method {config.method}"


def _conditions(config: SweepConfig, omitted: frozenset[str]) -> Iterator[Fault]:
    parameters = config.parameters
    for name, parameter in parameters.items():
        for parent, wanted in parameter.when.items():
            where = ("parameters", name, "when", parent)
            if parent not in parameters:
                if parent not in omitted:
                    near = nearest(parent, [n for n in parameters if n != name])
                    yield where, f"{name} depends on {parent}, which is not under parameters{near}"
            elif not parameters[parent].values:
                yield where, f"{name} depends on {parent}, which must then have value or values"
            else:
                yield from _wanted(name, parent, wanted, parameters[parent].values, where)
    if ring := space.cycle(parameters):
        yield ("parameters", ring[0], "when"), f"conditions go in a circle: {' → '.join(ring)}"
    parents = {parent for p in parameters.values() for parent in p.when if parent in parameters}
    if prod(len(parameters[parent].values) or 1 for parent in parents) > MAX_CONDITIONS:
        yield ("parameters",), f"conditions must hang on at most {MAX_CONDITIONS:,} combinations of values"


def _wanted(name: str, parent: str, wanted: tuple, values: tuple, where: tuple) -> Iterator[Fault]:
    for value in wanted:
        if not any(same(value, v) for v in values):
            near = nearest(value, [str(v) for v in values])
            yield where, f"{name} is there when {parent} is {value!r}, which it never is{near}"


def _grid(config: SweepConfig) -> Iterator[Fault]:
    for name, parameter in config.parameters.items():
        if config.method == "grid" and parameter.grid_values() is None:
            rule = "but must be values, int_uniform or q_uniform for the method grid"
            yield ("parameters", name), f"{name} is of the distribution {parameter.distribution}, {rule}"


def _size_of_grid(config: SweepConfig) -> Iterator[Fault]:
    if config.method == "grid" and (size := config.grid_size()) > MAX_CONFIGURATIONS:
        rule = f"but must hold at most {MAX_CONFIGURATIONS:,}; num_trials takes the first so many"
        yield ("parameters",), f"the grid holds {size:,} configurations, {rule}"


def _part(config: SweepConfig) -> Iterator[Fault]:
    if config.part is not None and config.method == "tpe":
        rule = "but the method tpe learns from all trials: it must be grid, random or sobol for a part"
        yield ("part",), f"part is {config.part}, {rule}"


def _resources(config: SweepConfig) -> Iterator[Fault]:
    for key, amount in (("cpu", config.resources.cpu), ("gpu", config.resources.gpu)):
        if amount > 1 and config.execution == "fused":
            yield ("resources", key), f"resources.{key} is {amount:g}, but must be at most 1 for execution: fused"
        elif amount > 1 and not amount.is_integer():
            yield ("resources", key), f"resources.{key} is {amount:g}, but must be a whole number if above 1"


def _signal(config: SweepConfig) -> Iterator[Fault]:
    """A scheduler can only compare what every trial measures."""
    scheduler = config.scheduler
    if not isinstance(scheduler, GrokAsha) or SIGNAL_METRICS[scheduler.signal] not in MEASURES:
        return
    needed = SIGNAL_METRICS[scheduler.signal]
    searched = config.parameters.get("measure")
    if searched is not None and any(needed not in _named(value) for value in searched.values):
        line = f"but needs {needed} in every value of parameters.measure"
    elif searched is None and needed not in _named(config.trial.measure):
        names = ", ".join([*_named(config.trial.measure), needed])
        line = f"but needs it measured: add measure: [{names}] under trial"
    else:
        return
    yield ("scheduler", "signal"), f"scheduler.signal is {scheduler.signal}, {line}"


def _named(measure: Any) -> list[str]:
    return [name.strip() for name in str(measure).split(",") if name.strip()]
