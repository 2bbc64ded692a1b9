"""Engines that die before they are up: how many in a row end a sweep, and when the next one is started."""

from __future__ import annotations

import math
import time

from grokray.errors import ExecutionError
from grokray.sweep.engine_handle import EngineHandle
from grokray.sweep.messages import Say

MAX_DEAD_STARTS = 5
REST_S = 30.0  # memory that other programs took may come back
STARVED = "Ray ends engines, as a machine's memory is nearly full"
HINT = "Their output is in Ray's session folder, logs/worker-*.err."
FREE_MEMORY = (
    "Close what else takes memory, or let RAY_memory_usage_threshold, a share of it, be above 0.95. Then run the same "
    "command again: nothing is lost."
)


class DeadStarts:
    """`say` tells a person that memory is short."""

    def __init__(self, say: Say) -> None:
        self._say, self._number, self._rests_until = say, 0, -math.inf

    @property
    def rests(self) -> bool:
        """Whether no engine is to be started now, as one would soon be ended again."""
        return time.monotonic() < self._rests_until

    def count(self, engine: EngineHandle) -> None:
        """An engine is dead. ExecutionError where it makes too many; those that die for want of memory at about the
        same time are one."""
        if engine.starved and self.rests:
            return
        if engine.starved:
            self._rests_until = time.monotonic() + REST_S
            self._say(f"{STARVED}: their trials go on from their last checkpoints in {REST_S:.0f} s")
        self._number = 0 if engine.up else self._number + 1
        if self._number >= MAX_DEAD_STARTS:
            why = STARVED if engine.starved else engine.last_words
            raise ExecutionError(
                f"{self._number} engines in a row died before they were up{f': {why}' if why else ''}",
                hint=FREE_MEMORY if engine.starved else HINT,
            )
