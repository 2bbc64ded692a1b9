"""What the results say: rates in tables, and ratios beside their targets."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import harness
from peers.case import Case

from card.plan import PRECISIONS, Plan

HALF_AN_HOUR_S = 1800
STEPS_TO_GROK = 2500  # of x/y mod 97 at the default sizes: 2,000 to 2,550 were published and measured
Results = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """`value` is None where it was not measured."""

    name: str
    value: float | None
    rule: str
    bound: float

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        met = self.value >= self.bound if self.rule == ">=" else self.value <= self.bound
        return "met" if met else "not met"

    @property
    def row(self) -> list[str]:
        value = "" if self.value is None else f"{self.value:.3g}"
        return [self.name, value, f"{self.rule} {self.bound:g}", self.verdict]


def report(plan: Plan, results: Results) -> str:
    parts = []
    for name, case in plan.cases.items():
        found = results["cases"].get(name, {})
        if found:
            of_case = Found(Case.of(case.parameters).flops, found, _ceilings(results))
            parts.append(f"== {name}\n" + "\n\n".join(of_case.tables()))
    left_out = [f"{part}, {what}: {why}" for part, found in results["left_out"].items() for what, why in found.items()]
    lists = {"left out": left_out, "said meanwhile": results["remarks"]}
    parts += [f"{head}:\n" + "\n".join(f"  {line}" for line in lines) for head, lines in lists.items() if lines]
    return "\n\n".join(parts)


def _ceilings(results: Results) -> dict[str, float]:
    """Of large products, operations per second by precision: the card's, whichever case they were measured with."""
    found: dict[str, float] = {}
    for case in results["cases"].values():
        for precision, products in case.get("products", {}).items():
            best = max(result["per_s"] for name, result in products.items() if name != "the model's")
            found[precision] = max(best, found.get(precision, 0.0))
    return found


@dataclass(frozen=True)
class Found:
    """One case. `flops` are the operations that a trial-step needs."""

    flops: float
    results: Results
    ceilings: dict[str, float]

    def tables(self) -> Iterator[str]:
        for table in (self.builds(), self.products(), self.rates(), self.others()):
            if table:
                yield table
        yield harness.table(["", "measured", "target", ""], [target.row for target in self.targets()])
        yield from filter(None, [self.of_own_products(), self.projection()])

    def builds(self) -> str:
        rows = [[name, f"{found['warm_up_s']:.0f}"] for name, found in self.results.get("builds", {}).items()]
        return harness.table(["compiled beside each other", "s"], rows) if rows else ""

    def products(self) -> str:
        rows = [
            [f"{precision}, {name}", f"{result['per_s'] / 1e12:,.3g}"]
            for precision, products in self.results.get("products", {}).items()
            for name, result in products.items()
        ]
        return harness.table(["matrix products", "TFLOP/s"], rows) if rows else ""

    def rates(self) -> str:
        """Of all heats; a contestant that took part in several has a line in each."""
        heats = {**self.results.get("engines", {}), **self.results.get("rivals", {})}
        rows = [self._rate(heat, name, result) for heat, found in heats.items() for name, result in found.items()]
        for peer, by_count in self.results.get("processes", {}).items():
            rows += [[f"{n} processes of {peer}", f"{r['per_s']:,.0f}", "", "", "", ""] for n, r in by_count.items()]
        header = ["trial-steps per second", "", "of ceiling", "build, s", "warm-up, s", "GiB"]
        return harness.table(header, rows) if rows else ""

    def _rate(self, heat: str, name: str, result: Results) -> list[str]:
        memory = "" if result["peak_gib"] is None else f"{result['peak_gib']:.1f}"
        times = [f"{result['build_s']:.1f}", f"{result['warm_up_s']:.1f}", memory]
        if name.startswith("product"):
            return [f"{heat}: {name}", f"{result['per_s'] / 1e12:,.3g} TFLOP/s", "", *times]
        precision = next((p for p in PRECISIONS if p in name or p in heat), PRECISIONS[0])
        share = self._share(result["per_s"], precision)
        return [f"{heat}: {name}", f"{result['per_s']:,.0f}", "" if share is None else f"{share:.1%}", *times]

    def others(self) -> str:
        """Costs beside training, exactness and stability, a line each."""
        kinds = ("upkeep", "exactness", "stability")
        lines = [
            f"{kind}, {name}: " + ", ".join(f"{key} {_text(value)}" for key, value in found.items())
            for kind in kinds
            for name, found in self.results.get(kind, {}).items()
            if not name.endswith("heat")
        ]
        return "\n".join(lines)

    def targets(self) -> Iterator[Target]:
        best, processes = self.engine("float32"), self._best_of_processes()
        ratio = best / processes if best and processes else None
        yield Target(name="× best of a process a trial", value=ratio, rule=">=", bound=20)
        for peer, bound in (("hfta", 2.0), ("vmap", 2.0), ("vmap compiled", 2.0), ("jax", 1.0)):
            for precision in PRECISIONS[:2]:
                heat = f"{peer}, {precision}"
                if precision == PRECISIONS[0] or heat in self.results.get("rivals", {}):
                    yield Target(name=f"× best of {heat}", value=self.over(heat), rule=">=", bound=bound)
        for precision in PRECISIONS:
            rate = self.engine(precision)
            share = self._share(rate, precision) if rate else None
            yield Target(name=f"share of the ceiling, {precision}", value=share, rule=">=", bound=0.4)
        upkeep = self.results.get("upkeep", {})
        yield Target(name="churn over steady", value=upkeep.get("churn", {}).get("ratio"), rule=">=", bound=0.9)
        share = upkeep.get("evaluation", {}).get("share")
        yield Target(name="share of time in evaluations", value=share, rule="<=", bound=0.05)

    def of_own_products(self) -> str:
        """Beside the ceiling of large products, what these small ones allow on this card."""
        lines = []
        for precision, products in self.results.get("products", {}).items():
            rate, own = self.engine(precision), products.get("the model's")
            if rate and own:
                lines.append(f"  {precision}: {rate * self.flops / own['per_s']:.1%}")
        return "\n".join(["share of the rate of the model's own products", *lines]) if lines else ""

    def projection(self) -> str:
        rates = {precision: self.engine(precision) for precision in PRECISIONS}
        lines = [
            f"  {precision}: {rate * HALF_AN_HOUR_S / STEPS_TO_GROK:,.0f}" for precision, rate in rates.items() if rate
        ]
        head = f"projected, not measured: trials of {STEPS_TO_GROK:,} steps in half an hour, at the engine's best rate"
        return "\n".join([head, *lines]) if lines else ""

    def engine(self, precision: str) -> float | None:
        """The engine's best rate, with however many trials, in its own heats or beside others."""
        heats = [*self.results.get("engines", {}).values(), *self.results.get("rivals", {}).values()]
        names = [f"{mode} {precision} " for mode in ("compiled", "eager")]
        rates = [r["per_s"] for heat in heats for name, r in heat.items() if name.startswith(tuple(names))]
        return max(rates, default=None)

    def over(self, heat: str) -> float | None:
        """The engine over the best peer of a heat, the median of the rounds' ratios."""
        found = self.results.get("rivals", {}).get(heat, {})
        own = [r for name, r in found.items() if name.startswith(("compiled ", "eager "))]
        peers = [r for name, r in found.items() if not name.startswith(("compiled ", "eager "))]
        if not own or not peers:
            return None
        best = max(peers, key=lambda result: result["per_s"])
        return statistics.median(a / b for a, b in zip(own[0]["rounds_per_s"], best["rounds_per_s"], strict=True))

    def _best_of_processes(self) -> float | None:
        found = self.results.get("processes", {}).values()
        return max((result["per_s"] for by_count in found for result in by_count.values()), default=None)

    def _share(self, rate: float, precision: str) -> float | None:
        return rate * self.flops / self.ceilings[precision] if precision in self.ceilings else None


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
