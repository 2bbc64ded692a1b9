"""Walks through the parameters of a search space in an order where conditions can be decided: parents first.

A parameter whose condition is false is absent, and so is every parameter that depends on it.
Here the parameters are already valid: `when` names others of them, without cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

from grokray.sweep.grammar import same
from grokray.sweep.multiples import Scalar
from grokray.sweep.parameters import Parameter

# So many repeated or impossible proposals in a row mean that the space has no more configurations.
MAX_FRUITLESS = 200

Parameters = Mapping[str, Parameter]
Choice = dict[str, Scalar]
Values = Callable[[Parameter], Sequence[Scalar]]


def combinations(parameters: Parameters, values: Values) -> Iterator[Choice]:
    """Every combination once; the last parameter changes fastest.

    Example: task_type (classification, sequence) and base (2, 10, when task_type is sequence) give
    {classification}, {sequence, 2}, {sequence, 10}.
    """
    names = ordered(parameters)

    def extend(chosen: Choice, i: int) -> Iterator[Choice]:
        if i == len(names):
            yield dict(chosen)
            return
        parameter = parameters[names[i]]
        if not is_active(parameter, chosen):
            yield from extend(chosen, i + 1)
            return
        for value in values(parameter):
            yield from extend({**chosen, names[i]: value}, i + 1)

    return extend({}, 0)


def count(parameters: Parameters, values: Values) -> int:
    """How many combinations there are, without walking through those that conditions do not touch."""
    parents = {parent for parameter in parameters.values() for parent in parameter.when}
    tied = {n: p for n, p in parameters.items() if n in parents or p.when}
    free = prod(len(values(p)) for n, p in parameters.items() if n not in tied)
    # Children that are nobody's parent only multiply, so only the parents are walked through.
    leaves = [p for n, p in tied.items() if n not in parents]
    walked = {n: p for n, p in tied.items() if n in parents}
    return free * sum(
        prod(len(values(leaf)) for leaf in leaves if is_active(leaf, chosen)) for chosen in combinations(walked, values)
    )


def choose(parameters: Parameters, value: Callable[[str, Parameter], Scalar]) -> Choice:
    """One combination: `value` is asked for each parameter that is there, parents first."""
    chosen: Choice = {}
    for name in ordered(parameters):
        if is_active(parameters[name], chosen):
            chosen[name] = value(name, parameters[name])
    return chosen


def is_active(parameter: Parameter, chosen: Mapping[str, Scalar]) -> bool:
    return all(
        parent in chosen and any(same(chosen[parent], wanted) for wanted in allowed)
        for parent, allowed in parameter.when.items()
    )


def ordered(parameters: Parameters) -> list[str]:
    """File order, but each parameter after those its condition names."""
    names: dict[str, None] = {}

    def visit(name: str) -> None:
        for parent in parameters[name].when:
            if parent not in names:
                visit(parent)
        names[name] = None

    for name in parameters:
        visit(name)
    return list(names)


def cycle(parameters: Parameters) -> list[str] | None:
    """Names that wait for each other, as [a, b, a]; None if there are none. Unknown names are passed over."""
    cleared: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        for parent in parameters[name].when:
            if parent in parameters and parent not in cleared and (found := walk(parent, [*path, name])):
                return found
        cleared.add(name)
        return None

    return next((found for name in parameters if (found := walk(name, []))), None)
