"""grokray's engine: compiled and eager, in each precision, with few and many trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import turns
from harness import Contestant
from peers.case import waiting_for

from card.heats import Entrant, heat
from card.notes import Notes
from card.plan import PRECISIONS
from card.products import yardstick
from grokray.engine.engine import TURN_STEPS, Engine
from grokray.trial import TrialConfig

TURN_TRIAL_STEPS = 8192  # about, of one call: many trials take fewer steps on end, so that rounds stay short


def measure(notes: Notes) -> None:
    """What matters most: `main` trials in every precision, then compiled and eager where one or a few train."""
    main, known = notes.case.main, precisions(notes)
    for precision in PRECISIONS[len(known) :]:
        notes.left_out(f"engines, {precision}", "trials of this version have no such precision")
    entrants = [engine(notes, m, "float32", main) for m in modes(notes)]
    heat(notes, ["engines", "float32"], [yardstick(notes, "float32"), *entrants])
    for precision in known[1:]:
        entrants = [engine(notes, modes(notes)[0], precision, main)]
        heat(notes, ["engines", precision], [yardstick(notes, precision), *entrants])
    fewer = [slots for slots in notes.case.slots if slots < main]
    heat(notes, ["engines", "fewer trials"], [engine(notes, "eager", "float32", slots) for slots in fewer])


def measure_more(notes: Notes) -> None:
    """The rest: compiled with fewer trials, then more trials than `main`, then eager in the other precisions."""
    main, known = notes.case.main, precisions(notes)
    if notes.plan.compiled:
        fewer = [slots for slots in reversed(notes.case.slots) if slots < main]
        heat(notes, ["engines", "fewer compiled"], [engine(notes, "compiled", "float32", slots) for slots in fewer])
    for slots in (slots for slots in notes.case.slots if slots > main):
        for precision in known:  # one at a time: it fills the card
            heat(notes, ["engines", f"{slots}, {precision}"], [engine(notes, modes(notes)[0], precision, slots)])
    if notes.plan.compiled:
        others = [engine(notes, "eager", precision, main) for precision in known[1:]]
        heat(notes, ["engines", "others eager"], others)


def modes(notes: Notes) -> Sequence[str]:
    """The best one first."""
    return ("compiled", "eager") if notes.plan.compiled else ("eager",)


def precisions(notes: Notes) -> Sequence[str]:
    """Those that a trial can have."""
    return PRECISIONS if "precision" in TrialConfig.model_fields else PRECISIONS[:1]


def engine(notes: Notes, mode: str, precision: str, slots: int) -> Entrant:
    """Named as in "compiled float32 256". Trials are never evaluated, and never end."""

    def make() -> Contestant:
        made = new_engine(notes, mode)
        made.turn_steps = max(8, min(TURN_STEPS, TURN_TRIAL_STEPS // slots))
        call = turns(made, with_precision(notes.case.parameters, precision), slots)
        return contestant(notes, made, call)

    # Compiled anew only in the first process that meets it; the others find it in the compiler's cache.
    needs_s = notes.plan.compile_s if mode == "compiled" else notes.plan.build_s
    return Entrant(name=f"{mode} {precision} {slots}", make=make, needs_s=needs_s + slots / 100)


def best_engine(notes: Notes, precision: str = "float32") -> Entrant:
    return engine(notes, modes(notes)[0], precision, notes.case.main)


def contestant(notes: Notes, engine: Engine, call: Callable[[], float]) -> Contestant:
    wait = waiting_for(notes.plan.device)
    return Contestant(name="engine", call=call, wait=wait, ready=lambda: not engine.building)


def new_engine(notes: Notes, mode: str) -> Engine:
    return Engine(device=notes.plan.device, compile="on" if mode == "compiled" else "off")


def with_precision(parameters: dict[str, Any], precision: str) -> dict[str, Any]:
    return parameters if precision == "float32" else {**parameters, "precision": precision}
