"""One engine, as the driver sees it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from grokray.sweep.introduction import Introduction
from grokray.sweep.pulse import EnginePulse


class EngineHandle:
    """`slots` are what it was asked to hold, and when it is `up` what it says that it can; `used` are taken, those in
    line before it included. `up` once it ever answered, with what it `said` then; `dead` for good, and why if it could
    say so in its `last_words`; `starved` if Ray ended it for want of memory."""

    def __init__(self, actor: Any, *, number: int, slots: int) -> None:
        self.actor, self.number, self.slots, self.used = actor, number, slots, 0
        self.up = self.dead = self.starved = False
        self.said: Introduction | None = None
        self.last_words: str | None = None
        self.ready = actor.introduce.remote()
        self.death = actor.until_death.remote()
        self.pulse = EnginePulse(actor)
        self._since = time.monotonic()

    @property
    def name(self) -> str:
        return f"engine-{self.number}"

    @property
    def age(self) -> float:
        """Seconds since it was asked for, or came up."""
        return time.monotonic() - self._since

    @property
    def fault(self) -> str | None:
        """Why its node cannot use the folder."""
        return None if self.said is None else self.said.fault

    @property
    def barred(self) -> bool:
        """Whether it is up, but gets no trial."""
        return self.fault is not None

    def close(self) -> None:
        """End its process, or withdraw the request for it."""
        ray.kill(self.actor)

    def give_up(self, words: str) -> None:
        """It hangs: end it. `words` are said in its place."""
        self.dead, self.last_words = True, words
        self.close()

    def heard(self, answer: Any) -> None:
        """One of its two calls has come back: that it is up, or that it is gone."""
        try:
            said: Any = ray.get(answer)
        except RayError as error:
            self.dead, self.starved = True, isinstance(error, OutOfMemoryError)
            return
        if answer == self.death:
            self.dead, self.last_words = True, said
        else:
            self.said = Introduction(**said)
            self.slots, self.up, self._since = min(self.slots, self.said.seats), True, time.monotonic()

    def lost(self) -> None:
        """Another call on it failed: it is dead, whether Ray knows by now or not."""
        if not self.dead:
            look_at([self])
        self.dead = True


def look_at(engines: Sequence[EngineHandle]) -> None:
    """Learn which engines have come up and which have died, without a round trip to any."""
    answers = {engine.ready: engine for engine in engines if not engine.up}
    answers |= {engine.death: engine for engine in engines}
    if answers:
        come, _ = ray.wait(list(answers), num_returns=len(answers), timeout=0)
        for answer in come:
            answers[answer].heard(answer)
