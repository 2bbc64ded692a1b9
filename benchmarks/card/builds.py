"""Everything that the engine compiles for the other parts, at the same time: the parts then find it in the cache.

Only the engine: its compiler tries nothing out on the card, so the company does not show in what it makes. Whatever
chooses its kernels by their times, as others do, is compiled alone in the part that measures it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from workers import Worker

from card.engines import precisions, with_precision
from card.notes import Notes

MOST_AT_ONCE = 8  # each holds a step's memory
PEER = "grokray_compiled"
Build = tuple[str, dict[str, Any], int]  # name, parameters, trials


def measure(notes: Notes) -> None:
    """Seconds until each has done its first steps, beside the others."""
    if notes.plan.compiled:
        build(notes, PEER)


def build(notes: Notes, peer: str) -> None:
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")  # of each: their number is that of all cores
    at_once = max(1, min(MOST_AT_ONCE, (os.cpu_count() or 1) // 2))
    with ThreadPoolExecutor(at_once) as pool:
        waiting = {pool.submit(_warm_up_s, notes, peer, made): made[0] for made in _builds(notes)}
        for done in as_completed(waiting):
            name = waiting[done]
            seconds = notes.attempt(f"building {name}", done.result)
            if seconds is not None:
                notes.put(["builds", name], {"warm_up_s": seconds, "at_once": at_once})
                notes.say(f"  {name}: {seconds:.1f} s")


def _warm_up_s(notes: Notes, peer: str, build: Build) -> float:
    _, parameters, trials = build
    worker = Worker(peer, parameters, trials, device=notes.plan.device)
    try:
        return worker.answer()["warm_up_s"]
    finally:
        worker.end()


def _builds(notes: Notes) -> Iterator[Build]:
    """What the case needs for its targets; and the first one, of which there are more parts, for the others."""
    plan, main = notes.plan, notes.case.main
    yield from (_of(notes, precision, main) for precision in precisions(notes))
    if notes.case_name == next(iter(plan.cases)):
        lone = {*plan.probe_buckets, plan.collapse_trials} - {main}
        yield from (_of(notes, "float32", trials) for trials in sorted(lone, reverse=True))
        if plan.collapse_trials != main:
            yield from (_of(notes, precision, plan.collapse_trials) for precision in precisions(notes)[1:])


def _of(notes: Notes, precision: str, trials: int) -> Build:
    return f"{precision} {trials}", with_precision(notes.case.parameters, precision), trials
