"""The trainables that Tune sees: a report of the trainer becomes Tune's result."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ray import tune

from grokray.sweep.messages import WorkerOptions, as_result, assignment_of, failed_result
from grokray.sweep.processes import hello

if TYPE_CHECKING:
    from grokray.sweep.trainer import Trainer

HEARTBEAT_S = 2.0


class SeatedTrial(tune.Trainable):
    """A trial in an engine actor. Only named: `executor` has the actor answer in its place."""


class ProcessTrial(tune.Trainable):
    """A trial in a worker process of its own, with an engine of one slot."""

    trainer: Trainer | None = None
    ended = False

    def setup(self, config: dict[str, Any]) -> None:
        self.assignment = assignment_of(config)
        self.given_up = config.get("given_up")
        if not self.given_up:
            self.trainer = WorkerOptions(**json.loads(config["options"])).make_trainer("worker")
            self.trainer.start(self.assignment)
        self._hello = hello()

    def step(self) -> dict[str, Any]:
        """The next report; a heartbeat if there is none for a while, so that the driver can stop the trial, and knows
        that it lives. The first one says where it is."""
        said, self._hello = self._hello, {}
        return self._next() | said

    def _next(self) -> dict[str, Any]:
        if self.trainer is None:
            return failed_result(self.assignment.trial_id)
        self.trainer.proceed(self.assignment.trial_id)
        deadline = time.monotonic() + HEARTBEAT_S
        while time.monotonic() < deadline:
            for report in self.trainer.turn(lambda: time.monotonic() >= deadline):
                self.ended = report.outcome is not None
                return as_result(report)
        return {"grokray_trial": self.assignment.trial_id, "rung": None}

    def cleanup(self) -> None:
        """Its last report was heard. Whether one that has not ended is pruned or interrupted the driver knows, which
        deletes the checkpoints of the former."""
        if self.trainer is not None:
            self.trainer.stop(self.assignment.trial_id, save=not self.ended)
            self.trainer.close()
