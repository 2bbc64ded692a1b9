"""Everything that the engine compiles for the other parts, at the same time: the parts then find it in the cache.

Only the engine: its compiler tries nothing out on the card, so the company does not show in what it makes. Whatever
chooses its kernels by their times, as others do, is compiled alone in the part that measures it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from workers import Worker

from card.engines import precisions, with_precision
from card.notes import Notes

MOST_AT_ONCE = 8  # each holds a step's memory
PEER = "grokray_compiled"


class Build(NamedTuple):
    """`evaluated`: what evaluates such trials is compiled too."""

    name: str
    parameters: dict[str, Any]
    trials: int
    evaluated: bool


def measure(notes: Notes) -> None:
    """Seconds until each has done its first steps, beside the others."""
    if notes.plan.compiled:
        build(notes, PEER)


def build(notes: Notes, peer: str) -> None:
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")  # of each: their number is that of all cores
    at_once = max(1, min(MOST_AT_ONCE, (os.cpu_count() or 1) // 2))
    with ThreadPoolExecutor(at_once) as pool:
        waiting = {pool.submit(_warm_up_s, notes, peer, made): made.name for made in _builds(notes)}
        for done in as_completed(waiting):
            name = waiting[done]
            seconds = notes.attempt(f"building {name}", done.result)
            if seconds is not None:
                notes.put(["builds", name], {"warm_up_s": seconds, "at_once": at_once})
                notes.say(f"  {name}: {seconds:.1f} s")


def _warm_up_s(notes: Notes, peer: str, build: Build) -> float:
    worker = Worker(peer, build.parameters, build.trials, device=notes.plan.device, evaluated=build.evaluated)
    try:
        return worker.answer()["warm_up_s"]
    finally:
        worker.end()


def _builds(notes: Notes) -> Iterator[Build]:
    """What the case needs for its targets; and the first one, of which there are more parts, for the others. Few
    trials are evaluated later, the fewest and the most of them by kernels of their own."""
    plan, main = notes.plan, notes.case.main
    first = notes.case_name == next(iter(plan.cases))
    few = sorted({*plan.probe_buckets, plan.collapse_trials}) if first else []
    evaluated = {*few[:1], *few[-1:]}
    yield from (_of(notes, precision, main, main in evaluated) for precision in precisions(notes))
    for trials in reversed(few):
        if trials != main:
            yield _of(notes, "float32", trials, trials in evaluated)
    if first and plan.collapse_trials != main:
        yield from (_of(notes, precision, plan.collapse_trials, True) for precision in precisions(notes)[1:])


def _of(notes: Notes, precision: str, trials: int, evaluated: bool) -> Build:
    parameters = with_precision(notes.case.parameters, precision)
    return Build(f"{precision} {trials}", parameters, trials, evaluated)
