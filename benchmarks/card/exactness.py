"""How equal a trial's curve is alone and in company, and on a card and on a CPU.

A step of n trials is computed for the next power of two, the bucket. In one bucket the curve must be the same to the
last bit, whoever else is there and wherever the trial sits; between buckets sums may be rounded differently.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from engine import NEVER

from card.engines import modes, precisions, with_precision
from card.notes import Notes
from grokray.engine.engine import Engine
from grokray.tasks.resolve import resolve

Curve = list[dict[str, float]]
PROBE = "probe"


def measure(notes: Notes) -> None:
    for precision in precisions(notes):
        _probe(notes, "eager", precision)
    if notes.plan.device != "cpu":
        notes.attempt("against a CPU", lambda: _against_cpu(notes), needs_s=4 * notes.plan.build_s)
    if "compiled" in modes(notes):  # last, as it is compiled for every bucket
        _probe(notes, "compiled", "float32")


def _probe(notes: Notes, mode: str, precision: str) -> None:
    what, buckets = f"{mode} {precision}", notes.plan.probe_buckets
    needs_s = (notes.plan.compile_s if mode == "compiled" else notes.plan.build_s) * len(buckets)
    curves = notes.attempt(f"probe, {what}", lambda: _curves(notes, mode, precision), needs_s=needs_s)
    if curves is None:
        return
    full, part = curves[buckets[-1], 0], curves[buckets[-1], 1]
    between = max(difference(curves[a, 0], curves[b, 0]) for a, b in itertools.combinations(buckets, 2))
    value = {"identical_in_bucket": full == part, "in_bucket": difference(full, part), "between_buckets": between}
    notes.put(["exactness", what], {**value, "steps": notes.plan.probe_steps})
    notes.say(f"  {what}: {value}")


def _curves(notes: Notes, mode: str, precision: str) -> dict[tuple[int, int], Curve]:
    """By bucket, and whether in the largest one others sit there, in other slots, and fewer of them."""
    compile_, buckets = "on" if mode == "compiled" else "off", notes.plan.probe_buckets
    found: dict[tuple[int, int], Curve] = {}
    for bucket in buckets:
        found[bucket, 0] = curve(notes, notes.plan.device, compile_, precision, before=0, after=bucket - 1)
    before = buckets[-1] // 2
    found[buckets[-1], 1] = curve(
        notes, notes.plan.device, compile_, precision, before=before, after=max(buckets[-1] // 4 - 1, 0), first=1000
    )
    return found


def curve(
    notes: Notes,
    device: str,
    compile_: Any,
    precision: str,
    *,
    before: int,
    after: int,
    steps: int | None = None,
    first: int = 1,
) -> Curve:
    """The probe's metrics at each tenth of the steps, with so many others seated before and after it."""
    steps = steps or notes.plan.probe_steps
    parameters = with_precision(notes.case.parameters, precision)
    engine, seeds = Engine(device=device, compile=compile_), itertools.count(first)
    others = {**parameters, "eval_interval": NEVER, "num_steps": NEVER, "learning_rate": 2e-3}
    for _ in range(before):
        engine.join(f"other {(seed := next(seeds))}", resolve({**others, "seed": seed}))
    lasting = {"eval_interval": steps // 10, "num_steps": steps, "continue_training": True}
    engine.join(PROBE, resolve({**parameters, "seed": 0, **lasting}))
    for _ in range(after):
        engine.join(f"other {(seed := next(seeds))}", resolve({**others, "seed": seed}))
    found: Curve = []
    while PROBE in engine.trials:
        found += [m.metrics for m in engine.next() if m.trial == PROBE]
    return found


def _against_cpu(notes: Notes) -> None:
    steps = notes.plan.probe_cpu_steps
    here, there = (
        curve(notes, device, "off", "float32", before=0, after=0, steps=steps) for device in (notes.plan.device, "cpu")
    )
    notes.put(["exactness", "against a CPU"], {"difference": difference(here, there), "steps": steps})


def difference(a: Curve, b: Curve) -> float:
    """The largest one of any loss, over all measurements."""
    values = [
        abs(x[name] - y[name]) for x, y in zip(a, b, strict=True) for name in x if name.endswith("_loss") and name in y
    ]
    return max(v if math.isfinite(v) else math.inf for v in values)
