"""All parts by name, and the order of their importance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from card.plan import Plan


@dataclass(frozen=True, kw_only=True)
class PartOf:
    """A function of Notes, `module:function`. With less than `needs_s` left it is not begun, after `at_most_s` it is
    ended: what hangs must not take the others' time."""

    function: str
    needs_s: float
    at_most_s: float


PARTS = {
    "builds": PartOf(function="card.builds:measure", needs_s=40, at_most_s=150),
    "products": PartOf(function="card.products:measure", needs_s=5, at_most_s=45),
    "engines": PartOf(function="card.engines:measure", needs_s=15, at_most_s=180),
    "processes": PartOf(function="card.processes:measure", needs_s=20, at_most_s=75),
    "upkeep": PartOf(function="card.upkeep:measure", needs_s=15, at_most_s=130),
    "rivals": PartOf(function="card.rivals:measure", needs_s=15, at_most_s=240),
    "exactness": PartOf(function="card.exactness:measure", needs_s=10, at_most_s=120),
    "stability": PartOf(function="card.stability:measure", needs_s=10, at_most_s=130),
    "rivals_tf32": PartOf(function="card.rivals:measure_tf32", needs_s=15, at_most_s=210),
    "rivals_plain": PartOf(function="card.rivals:measure_plain", needs_s=15, at_most_s=180),
    "engines_more": PartOf(function="card.engines:measure_more", needs_s=15, at_most_s=120),
    "processes_compiled": PartOf(function="card.processes:measure_compiled", needs_s=30, at_most_s=75),
}
# Of the first case all parts; of the others what is compared.
OF_OTHERS = ("builds", "engines", "processes", "rivals", "upkeep")


def order(plan: Plan, cases: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(case, part), what matters most first; of these cases and parts alone, where any are named."""
    for number, case in enumerate(plan.cases):
        for part in PARTS if number == 0 else OF_OTHERS:
            if (not cases or case in cases) and (not only or part in only):
                yield case, part
