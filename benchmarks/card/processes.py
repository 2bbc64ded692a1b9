"""A process for each trial: n processes, each training one plain model, on the one card at the same time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from workers import Worker, rate_together

from card.notes import Notes

SECONDS = 4.0  # of one round, in slices of the plan: long enough for all to be at work together
ROUNDS = 3


def measure(notes: Notes) -> None:
    _measure(notes, "plain")


def measure_compiled(notes: Notes) -> None:
    if notes.plan.compiled:
        _measure(notes, "plain_compiled")


def _measure(notes: Notes, peer: str) -> None:
    """Trial-steps per second of all together, by the number of processes. All are started at once, and those that are
    not told to train hold memory, but no time of the card."""
    counts, workers = notes.plan.processes, [_start(notes, peer) for _ in range(max(notes.plan.processes))]
    try:
        ready = [w for w in workers if notes.attempt(f"{peer} process", w.answer) is not None]
        notes.say(f"  {len(ready)} processes of {peer} are ready")
        for count in (count for count in counts if count <= len(ready)):
            what = f"processes, {peer}: {count}"
            seconds = SECONDS * notes.plan.slice_s
            rates = notes.attempt(what, lambda n=count, s=seconds: _rates(ready[:n], s), needs_s=ROUNDS * seconds)
            if rates is not None:
                rate = statistics.median(rates)
                notes.put(["processes", peer, str(count)], {"per_s": rate, "rounds_per_s": rates})
                notes.say(f"  {peer}, {count} processes: {rate:,.0f} trial-steps/s")
    finally:
        for worker in workers:
            worker.end()


def _start(notes: Notes, peer: str) -> Worker:
    return Worker(peer, notes.case.parameters, 1, device=notes.plan.device)


def _rates(workers: Sequence[Worker], seconds: float) -> list[float]:
    return [rate_together(workers, seconds) for _ in range(ROUNDS)]
