"""Whether a process that trains still answers. That one has died is heard at once; of one that hangs, or was stopped,
nothing is heard at all.

An engine answers from a thread of its own, however long its steps take. But a compiled step of a CPU keeps Python's
lock, so that thread may have to wait where a model is large. Hence a silent engine is given up only if its process
computes nothing, as its node tells. Time counts as far as this process ran itself: a laptop that was shut, or a driver
that was stopped, misses nobody. `processes.py` does the same for trials that have processes of their own.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from grokray.records.holder import process_stat
from grokray.sweep.messages import State, Whereabouts

ASK_S, ASK_EACH_S = 10.0, 0.02  # between two questions, and more for each engine: an answer takes 0.3 ms of the driver
MISSED_S, MISSED_AT_START_S = 60.0, 180.0  # to import PyTorch from a cold or a distant disk takes a minute
GIVEN_UP_S = 600.0
STILL_S = 1800.0  # longer than an evaluation, a compiler or an outage takes
COMPUTES = 0.03  # of a core; an engine without work takes 0.008


class Pulse(ABC):
    """One process', which is `where` as soon as it has told. `silent_s` has it not answered; it `hangs` once nothing
    more is to be expected, after `given_up_s`."""

    def __init__(self, given_up_s: float = GIVEN_UP_S) -> None:
        self.where: Whereabouts | None = None
        self._given_up_s = given_up_s
        self._look: Any = None  # at its process
        self._first_look: tuple[float, float] | None = None  # silent_s then, and the process' CPU-seconds
        self.silent_s = 0.0
        self.hangs = False

    @abstractmethod
    def _answer(self) -> Whereabouts | None:
        """Where it is, if anything was heard of it since this was called last."""

    @property
    def missed(self) -> bool:
        """Whether it has not answered for so long that it should be said."""
        return self.silent_s >= (MISSED_AT_START_S if self.where is None else MISSED_S)

    @property
    def stands(self) -> bool:
        """Whether it answers, but has trained nothing for so long that it should be said. Whether it ever will, nobody
        can tell: a thread that waits for a GPU computes as one that steps does."""
        return self.where is not None and self.where.still_s >= STILL_S

    @property
    def absent(self) -> bool:
        return self.missed or self.stands

    def feel(self, elapsed_s: float) -> None:
        """Call it from time to time, with the seconds that have passed since."""
        where = self._answer()
        if where is not None:
            self.where = where
            self.silent_s, self._look, self._first_look = 0.0, None, None
            return
        self.silent_s += elapsed_s
        if self.missed:
            self._look_at_process()

    def _look_at_process(self) -> None:
        """Once when it is missed, and once when it is to be given up: has it computed in between?"""
        if self.where is None:  # it does not get up: nothing that takes so long is done before
            self.hangs = self.silent_s >= self._given_up_s
            return
        if self._look is None:
            if self._first_look is None or self.silent_s - self._first_look[0] >= self._given_up_s - MISSED_S:
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


class EnginePulse(Pulse):
    """An engine's: it is asked again and again."""

    def __init__(self, actor: Any) -> None:
        super().__init__()
        self._actor = actor
        self._question = actor.alive.remote()  # answered before it trains anything

    def _answer(self) -> Whereabouts | None:
        if not _has_come(self._question):
            return None
        try:
            answer: Any = ray.get(self._question)
        except RayError:
            return self.where  # it is dead, which is noticed elsewhere
        self._question = self._actor.alive.remote()
        return answer


def cpu_seconds(pid: int) -> float:
    """That a process of this machine has computed so far."""
    stat = process_stat(pid)
    return (int(stat[14]) + int(stat[15])) / os.sysconf("SC_CLK_TCK")


def change(pulse: Pulse, elapsed_s: float) -> State | None:
    """Feel it; what should be said of it since."""
    was_absent = pulse.absent
    pulse.feel(elapsed_s)
    if pulse.hangs:
        return "ended"
    return None if pulse.absent == was_absent else "silent" if pulse.absent else "answers"


def what_then(who_goes: str, given_up_s: float = GIVEN_UP_S) -> str:
    """`if it is silent for 10 min and computes nothing, it is ended, and its trials go on from …`."""
    minutes = f"{given_up_s / 60:.0f} min"
    return (
        f"if it is silent for {minutes} and computes nothing, it is ended, and {who_goes} on from the last checkpoint"
    )


def end(where: Whereabouts) -> None:
    """Kill the process, on its node; it may have been stopped."""
    _there(where, _kill)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _look_at(where: Whereabouts) -> Any:
    return _there(where, cpu_seconds)


def _there(where: Whereabouts, function: Callable[[int], Any]) -> Any:
    """What Ray answers once the function was called on the process' node, with its id."""
    there = NodeAffinitySchedulingStrategy(where.node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=there).remote(where.pid)


def _has_come(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])
