"""What lower precision does to grokking: half of the trials with weight decay 1, half without, in each precision.

Softmax collapse: logits so far apart that a token's loss, and with it its gradient, is exactly zero in the trial's
arithmetic (Prieto et al. 2025); weight decay keeps logits small. See `grokray.engine.measures` where it is measured.
"""

from __future__ import annotations

import statistics
from typing import Any

from card.engines import modes, new_engine, precisions, with_precision
from card.notes import Notes
from grokray.engine.engine import Engine, Measurement
from grokray.tasks.resolve import resolve
from grokray.trial import MEASURES

COLLAPSE = "softmax_collapse"
DECAYS = (1.0, 0.0)


def measure(notes: Notes) -> None:
    if COLLAPSE not in MEASURES:
        notes.left_out("softmax collapse", "this version does not measure it")
    for precision in precisions(notes):
        what = f"stability, {precision}"
        needs_s = notes.plan.build_s + notes.plan.collapse_trials * notes.plan.collapse_steps / 8000
        notes.attempt(what, lambda p=precision: _of_precision(notes, p), needs_s=needs_s)


def _of_precision(notes: Notes, precision: str) -> None:
    engine = new_engine(notes, modes(notes)[0])
    decays = _seat(notes, engine, precision)
    last: dict[str, Measurement] = {}
    collapsed: dict[str, float] = {}
    while engine.trials and notes.seconds_left > 1:
        for m in engine.next():
            last[m.trial] = m
            collapsed[m.trial] = max(collapsed.get(m.trial, 0.0), m.metrics.get(COLLAPSE, 0.0))
    for decay in DECAYS:
        mine = [m for trial, m in last.items() if decays[trial] == decay]
        value = _summary(mine, [collapsed[m.trial] for m in mine])
        notes.put(["stability", f"{precision}, weight decay {decay:g}"], value)
        notes.say(f"  {precision}, weight decay {decay:g}: {value}")


def _seat(notes: Notes, engine: Engine, precision: str) -> dict[str, float]:
    """Trials and their weight decay. All train to the end, so that the bucket, and what is compiled, stays the same."""
    plan, decays = notes.plan, {}
    extra: dict[str, Any] = {"measure": COLLAPSE} if COLLAPSE in MEASURES else {}
    extra |= {"num_steps": plan.collapse_steps, "eval_interval": plan.interval, "continue_training": True}
    for number in range(plan.collapse_trials):
        trial, decay = str(number), DECAYS[number % len(DECAYS)]
        decays[trial] = decay
        parameters = with_precision(notes.case.parameters, precision)
        engine.join(trial, resolve({**parameters, **extra, "weight_decay": decay, "seed": number // 2}))
    return decays


def _summary(measurements: list[Measurement], collapsed: list[float]) -> dict[str, Any]:
    """`collapse` is the median of the trials' last shares, `collapse_most` that of their largest ones."""
    steps = [m.events["grok_step"] for m in measurements if m.events["grok_step"] is not None]
    last = [m.metrics[COLLAPSE] for m in measurements if COLLAPSE in m.metrics]
    return {
        "trials": len(measurements),
        "steps": max((m.step for m in measurements), default=0),
        "grokked": len(steps),
        "grok_step": statistics.median(steps) if steps else None,
        "diverged": sum(m.outcome == "diverged" for m in measurements),
        "collapse": statistics.median(last) if last else None,
        "collapse_most": statistics.median(collapsed) if last else None,
    }
