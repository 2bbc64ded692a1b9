"""What a part sees: the plan, what was found before, the time that is left; and where it writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from workers.pipes import one_line

from card.device import tidy
from card.plan import CasePlan, Plan

T = TypeVar("T")


class Notes:
    """`emit` takes one message at a time, a dictionary with `put` and `value`, `left_out` and `why`, or `say`."""

    def __init__(
        self,
        plan: Plan,
        case: str,
        *,
        emit: Callable[[dict[str, Any]], None],
        seconds: float,
        found: dict[str, Any] | None = None,
    ) -> None:
        self.plan, self.case_name, self._emit = plan, case, emit
        self.found = found or {}
        self._end = time.monotonic() + seconds

    @property
    def case(self) -> CasePlan:
        return self.plan.cases[self.case_name]

    @property
    def seconds_left(self) -> float:
        return self._end - time.monotonic()

    def say(self, text: str) -> None:
        self._emit({"say": text})

    def put(self, path: Sequence[str], value: Any) -> None:
        """Keep what was found, at once: nobody knows what comes next."""
        self._emit({"put": list(path), "value": value})

    def left_out(self, what: str, why: str) -> None:
        self._emit({"left_out": what, "why": why})

    def attempt(self, what: str, function: Callable[[], T], *, needs_s: float = 0.0) -> T | None:
        """The function's result, or None where it fails, or is not begun as too little time is left: either is noted,
        and the memory that it held is given back."""
        left = self.seconds_left
        if left < needs_s:
            self.left_out(what, f"it takes about {needs_s:.0f} s, and {max(left, 0):.0f} s were left")
            return None
        try:
            return function()
        except Exception as error:
            why = one_line(error)
        tidy(self.plan.device)  # only now: the error held all the frames, and they the tensors
        self.left_out(what, why)
        return None
