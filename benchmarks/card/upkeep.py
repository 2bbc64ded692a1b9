"""What a sweep does besides training steps: evaluations, trials that join and leave, checkpoints."""

from __future__ import annotations

import statistics
import time
from typing import Any

import churn
from engine import NEVER, turns
from harness import Contestant

from card.device import tidy
from card.engines import contestant, modes, new_engine
from card.heats import Entrant, heat
from card.notes import Notes
from grokray.engine import tiles
from grokray.engine.checkpoint import Checkpoint, to_bytes
from grokray.engine.engine import Engine
from grokray.tasks.resolve import resolve

MORE = 4


def measure(notes: Notes) -> None:
    _churn(notes)
    _evaluation(notes)
    notes.attempt("checkpoints", lambda: _checkpoints(notes), needs_s=_needs_s(notes))
    tidy(notes.plan.device)


def _evaluation(notes: Notes) -> None:
    """`share` is how much of the time goes into evaluations, `ms` what one of one trial takes."""
    interval = notes.plan.interval
    entrants = [
        Entrant(name=name, make=make, needs_s=_needs_s(notes))
        for name, make in (
            ("never", lambda: _evaluating(notes, NEVER)),
            ("evaluating", lambda: _evaluating(notes, interval)),
            ("evaluating more at once", lambda: _evaluating_more(notes, interval)),
        )
    ]
    found = heat(notes, ["upkeep", "evaluation heat"], entrants) or {}
    for name, what in (("evaluating", "evaluation"), ("evaluating more at once", f"evaluation, {MORE} × as many")):
        if {"never", name} <= {*found}:
            never, evaluating = found["never"]["per_s"], found[name]["per_s"]
            value = {"share": 1 - _ratio(found, name, "never"), "interval": interval, "trials": _evaluated(notes)}
            notes.put(["upkeep", what], {**value, "ms": 1000 * interval * (1 / evaluating - 1 / never)})


def _evaluating_more(notes: Notes, interval: int) -> Contestant:
    """The same with `MORE` times as many slots evaluated at once as an engine does by itself."""
    made = _evaluating(notes, interval)
    usual = made.call

    def call() -> float:
        tiles.EVALUATED_ELEMENTS *= MORE
        try:
            return usual()
        finally:
            tiles.EVALUATED_ELEMENTS //= MORE

    made.call = call
    return made


def _evaluating(notes: Notes, interval: int) -> Contestant:
    """A call is as many steps as lie between two evaluations, and the evaluations of all trials where there are any."""
    engine = new_engine(notes, modes(notes)[0])
    engine.turn_steps = notes.plan.interval
    if interval == NEVER:
        return contestant(notes, engine, turns(engine, notes.case.parameters, _evaluated(notes)))
    for seed in range(_evaluated(notes)):
        lasting = {"num_steps": NEVER, "continue_training": True, "eval_interval": interval}
        engine.join(str(seed), resolve({**notes.case.parameters, "seed": seed, **lasting}))

    def call() -> float:
        before = engine.trial_steps
        engine.next(should_yield=lambda: engine.building)
        return engine.trial_steps - before

    return contestant(notes, engine, call)


def _evaluated(notes: Notes) -> int:
    """Trials of a bucket that is compiled already: with all of them every slice would take seconds."""
    return min(notes.case.main, max(notes.plan.probe_buckets))


def _churn(notes: Notes) -> None:
    entrants = [
        Entrant(name=name, make=lambda n=name: _churning(notes, anew=n == "churn"), needs_s=_needs_s(notes))
        for name in ("steady", "churn")
    ]
    found = heat(notes, ["upkeep", "churn heat"], entrants)
    if found and len(found) == 2:
        steady, changing = found["steady"]["per_s"], found["churn"]["per_s"]
        turn = notes.case.main * notes.plan.every
        change_ms = 1000 * turn * (1 / changing - 1 / steady)
        value = {"ratio": _ratio(found, "churn", "steady"), "every": notes.plan.every, "change_ms": change_ms}
        notes.put(["upkeep", "churn"], value)


def _churning(notes: Notes, *, anew: bool) -> Contestant:
    engine = new_engine(notes, modes(notes)[0])
    engine.turn_steps = notes.plan.every
    operation = resolve(notes.case.parameters).operation
    trials = churn.trials_of(notes.case.parameters, [operation])
    return contestant(notes, engine, churn.turns(engine, trials, notes.case.main, churn=anew))


def _checkpoints(notes: Notes) -> None:
    """Every trial of a full engine: milliseconds for each to be read from the card, and to become a file's bytes."""
    engine = new_engine(notes, "eager")
    turns(engine, notes.case.parameters, notes.case.main)
    _save(engine)  # warm-up
    start = time.monotonic()
    checkpoints = _save(engine)
    read_s = time.monotonic() - start
    start = time.monotonic()
    sizes = [len(to_bytes(checkpoint)[0]) for checkpoint in checkpoints]
    bytes_s, number = time.monotonic() - start, len(checkpoints)
    value: dict[str, Any] = {"trials": number, "read_ms": 1000 * read_s / number, "bytes_ms": 1000 * bytes_s / number}
    notes.put(["upkeep", "checkpoints"], {**value, "size_mib": statistics.mean(sizes) / 2**20})


def _save(engine: Engine) -> list[Checkpoint]:
    """At once, where the engine can."""
    at_once = getattr(engine, "save_many", None)
    if at_once is not None:
        return list(at_once(engine.trials).values())
    return [engine.save(trial) for trial in engine.trials]


def _ratio(found: dict[str, Any], above: str, below: str) -> float:
    """Of each round's pair: what the card does differently from round to round falls out."""
    pairs = zip(found[above]["rounds_per_s"], found[below]["rounds_per_s"], strict=True)
    return statistics.median(a / b for a, b in pairs)


def _needs_s(notes: Notes) -> float:
    return notes.plan.build_s + notes.case.main / 100
