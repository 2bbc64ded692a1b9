"""Whether an engine still answers. That one has died is heard at once (`engine_handle.py`); of one that hangs, or whose
process was stopped, nothing is heard at all.

An engine answers from a thread of its own, however long its steps take. But a compiled step of a CPU keeps Python's
lock, so that thread may have to wait where a model is large. Hence a silent engine is given up only if its process
computes nothing, as its node tells. Time counts as far as this process ran itself: a laptop that was shut, or a driver
that was stopped, misses nobody.
"""

from __future__ import annotations

import os
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from grokray.records.holder import process_stat
from grokray.sweep.messages import Whereabouts

ASK_S, ASK_EACH_S = 10.0, 0.02  # between two questions, and more for each engine: an answer takes 0.3 ms of the driver
MISSED_S, MISSED_AT_START_S = 60.0, 180.0  # to import PyTorch from a cold or a distant disk takes a minute
GIVEN_UP_S = 600.0
COMPUTES = 0.03  # of a core; an engine without work takes 0.008


class Pulse:
    """One engine's, whose process is `where` as soon as it has told. `silent_s` has it not answered; it `hangs` once
    nothing more is to be expected."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._question = actor.alive.remote()  # answered before it trains anything
        self.where: Whereabouts | None = None
        self._look: Any = None  # at its process
        self._first_look: tuple[float, float] | None = None  # silent_s then, and the process' CPU-seconds
        self.silent_s = 0.0
        self.hangs = False

    @property
    def missed(self) -> bool:
        """Whether it has not answered for so long that it should be said."""
        return self.silent_s >= (MISSED_AT_START_S if self.where is None else MISSED_S)

    def feel(self, elapsed_s: float) -> None:
        """Call it from time to time, with the seconds that have passed since."""
        if _has_come(self._question):
            self._hear()
            return
        self.silent_s += elapsed_s
        if self.missed:
            self._look_at_process()

    def _hear(self) -> None:
        try:
            answer: Any = ray.get(self._question)
        except RayError:
            return  # it is dead, which is noticed elsewhere
        self.where = answer
        self.silent_s, self._look, self._first_look = 0.0, None, None
        self._question = self._actor.alive.remote()

    def _look_at_process(self) -> None:
        """Once when it is missed, and once when it is to be given up: has it computed in between?"""
        if self.where is None:  # it does not get up: nothing that takes so long is done before
            self.hangs = self.silent_s >= GIVEN_UP_S
            return
        if self._look is None:
            if self._first_look is None or self.silent_s - self._first_look[0] >= GIVEN_UP_S - MISSED_S:
                self._look = _look_at(self.where)
            return
        if not _has_come(self._look):
            return
        look, self._look = self._look, None
        try:
            seconds: Any = ray.get(look)
        except RayError:
            return  # the node does not tell
        if self._first_look is None:
            self._first_look = self.silent_s, seconds
            return
        at, before = self._first_look
        self.hangs = seconds - before < COMPUTES * (self.silent_s - at)
        if not self.hangs:  # a long step: from here on anew
            self.silent_s, self._first_look = MISSED_S, (MISSED_S, seconds)


def cpu_seconds(pid: int) -> float:
    """That a process of this machine has computed so far."""
    stat = process_stat(pid)
    return (int(stat[14]) + int(stat[15])) / os.sysconf("SC_CLK_TCK")


def _look_at(where: Whereabouts) -> Any:
    there = NodeAffinitySchedulingStrategy(where.node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(cpu_seconds).options(scheduling_strategy=there).remote(where.pid)


def _has_come(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])
