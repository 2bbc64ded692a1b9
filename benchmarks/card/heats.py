"""A heat: contestants that are ready at the same time and take turns, so that they meet the card in the same state."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import harness
from harness import Contestant

from card.device import Peak, tidy
from card.notes import Notes


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """Who is to take part. `make` may fail; `needs_s` is about what it and its warm-up take."""

    name: str
    make: Callable[[], Contestant]
    needs_s: float


@dataclass(kw_only=True)
class _Ready:
    contestant: Contestant
    build_s: float
    peak_gib: float | None

    def result(self) -> dict[str, Any]:
        c = self.contestant
        return {
            **{"per_s": c.wall_rate, "rounds_per_s": c.per_wall_s, "build_s": self.build_s},
            **{"warm_up_s": c.warm_up_s, "peak_gib": self.peak_gib},
        }


def heat(
    notes: Notes, path: Sequence[str], entrants: Sequence[Entrant], *, slice_s: float | None = None
) -> dict[str, Any] | None:
    """Measures those that can be made ready; their results by name are noted under `path`. None where nobody could.

    `per_s` is the median of `rounds_per_s`, work per second of wall time. `warm_up_s` is the first call, with all
    compiling and capturing; `build_s` what was done before. `peak_gib` is the memory that both needed.
    """
    what, ready = " ".join(path), []
    try:
        for entrant in entrants:
            made = notes.attempt(f"{what}: {entrant.name}", lambda e=entrant: _build(notes, e), needs_s=entrant.needs_s)
            if made is not None:
                ready.append(made)
        if not ready:
            return None
        return notes.attempt(what, lambda: _measure(notes, path, ready, slice_s or notes.plan.slice_s))
    finally:
        for one in ready:
            one.contestant.close()
        ready.clear()
        tidy(notes.plan.device)


def _build(notes: Notes, entrant: Entrant) -> _Ready:
    peak, start = Peak(notes.plan.device), time.monotonic()
    contestant = entrant.make()
    contestant.name, build_s = entrant.name, time.monotonic() - start
    try:
        harness.warm_up(contestant)
    except BaseException:
        contestant.close()
        raise
    memory = "" if peak.gib is None else f", {peak.gib:.1f} GiB"
    notes.say(f"  {entrant.name}: built in {build_s:.1f} s, warm after {contestant.warm_up_s:.1f} s{memory}")
    return _Ready(contestant=contestant, build_s=build_s, peak_gib=peak.gib)


def _measure(notes: Notes, path: Sequence[str], ready: Sequence[_Ready], slice_s: float) -> dict[str, Any]:
    harness.measure_wall([one.contestant for one in ready], rounds=notes.plan.rounds, slice_s=slice_s)
    results = {one.contestant.name: one.result() for one in ready}
    notes.put(path, results)
    return results
