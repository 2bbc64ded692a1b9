"""Where each trial has a process of its own: what there is on their nodes, and which of them hang.

Such a process answers every few seconds with a heartbeat or a report, from the thread that trains. So one is silent too
while a step or an evaluation takes long, or the folder cannot be reached: it is ended only if it computes nothing for
longer than that may take.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

from grokray.records.patience import patience_s
from grokray.sweep.introduction import Introduction, here, remarks
from grokray.sweep.messages import Say, Whereabouts
from grokray.sweep.pulse import ASK_S, GIVEN_UP_S, Pulse, change, end, what_then

HELLO = "process"  # in the first result of a process


def hello() -> dict[str, str]:
    """What this process adds to its first result."""
    where = Whereabouts.of_this_process()
    return {HELLO: json.dumps({"where": asdict(where), "said": asdict(here(seats=1))})}


class Processes:
    """`say` tells a person of nodes, and of processes that do not answer. One that hangs is killed, as Tune then starts
    its trial again."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._mine = here(seats=0)
        self._given_up_s = max(GIVEN_UP_S, 2 * patience_s())
        self._pulses: dict[str, _Heartbeats] = {}  # by trial
        self._asked = time.monotonic()

    def heard(self, trial_id: str, result: dict[str, Any]) -> None:
        if HELLO in result:
            self._meet(trial_id, **json.loads(result[HELLO]))
        elif trial_id in self._pulses:
            self._pulses[trial_id].heard = True

    def gone(self, trial_id: str) -> str | None:
        """The process has ended; why, if it was ended here."""
        pulse = self._pulses.pop(trial_id, None)
        if pulse is None or not pulse.missed:
            return None
        if pulse.hangs:
            return f"its process did not answer for {int(pulse.silent_s / 60)} min, and was ended"
        self._say(f"the process of {_name(trial_id)} has ended", _name(trial_id), "ended")
        return None

    def tend(self) -> None:
        """See that all answer, and end those that hang; cheap if often called."""
        now = time.monotonic()
        if now - self._asked >= ASK_S:
            elapsed, self._asked = min(now - self._asked, 2 * ASK_S), now
            for trial_id, pulse in self._pulses.items():
                if not pulse.hangs:
                    self._ask(_name(trial_id), pulse, elapsed)

    def _meet(self, trial_id: str, where: dict[str, Any], said: dict[str, Any]) -> None:
        self._pulses[trial_id] = _Heartbeats(Whereabouts(**where), self._given_up_s)
        for remark in remarks(Introduction(**said), self._mine):
            self._say(remark)

    def _ask(self, name: str, pulse: _Heartbeats, elapsed_s: float) -> None:
        state = change(pulse, elapsed_s)
        if state == "silent":
            text = f"{name} ({pulse.where}) does not answer: {what_then('it goes', self._given_up_s)}"
            self._say(text, name, state)
        elif state == "answers":
            self._say(f"{name} answers again", name, state)
        elif state == "ended":
            text = f"{name} did not answer for {int(pulse.silent_s / 60)} min, and is ended"
            self._say(f"{text}: it goes on from its last checkpoint", name, state)
            end(pulse.where)


class _Heartbeats(Pulse):
    def __init__(self, where: Whereabouts, given_up_s: float) -> None:
        super().__init__(given_up_s)
        self.where: Whereabouts = where
        self.heard = True

    def _answer(self) -> Whereabouts | None:
        heard, self.heard = self.heard, False
        return self.where if heard else None


def _name(trial_id: str) -> str:
    return f"trial {trial_id}"
