"""The trainable that Tune sees, in both ways of execution: a report of the trainer becomes Tune's result."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ray import tune

from grokray.records.store import Store
from grokray.sweep.trainer import Assignment, Report, Trainer

HEARTBEAT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What every process that trains needs to know."""

    store_uri: str
    device: str = "cpu"
    compile: Literal["auto", "on", "off"] = "auto"
    threads: int = 1
    share: float = 1.0  # of the sweep's planned steps that falls to one engine

    def make_trainer(self, role: str) -> Trainer:
        import torch

        # Threads that wait for each other make a tiny step many times slower: one thread per engine.
        torch.set_num_threads(self.threads)
        return Trainer(
            Store.from_uri(self.store_uri), role=role, device=self.device, compile=self.compile, share=self.share
        )


def tune_config(assignment: Assignment, *, given_up: str | None = None, alone: bool = False) -> dict[str, str]:
    """A trial's Tune config: texts, so that Tune neither flattens nor searches them.

    `given_up` is why the trial shall end as failed at once; `alone` asks for an engine without neighbours.
    """
    config = {"grokray_trial": assignment.trial_id, "assignment": json.dumps(asdict(assignment))}
    return config | ({"given_up": given_up} if given_up else {}) | ({"alone": "yes"} if alone else {})


def assignment_of(config: dict[str, Any]) -> Assignment:
    fields = json.loads(config["assignment"])
    return Assignment(**(fields | {"rungs": tuple(fields["rungs"])}))


def as_result(report: Report) -> dict[str, Any]:
    """Tune's result: the metrics at the top level, where schedulers look for them, and the events so far."""
    return {
        **report.metrics,
        "events": report.events,
        "grokray_trial": report.trial_id,
        "step": report.step,
        "rung": report.rung,
        "report": json.dumps(asdict(report)),
        "done": report.outcome is not None,
    }


def report_of(result: dict[str, Any]) -> Report | None:
    return Report(**json.loads(result["report"])) if result and "report" in result else None


def failed_result(trial_id: str) -> dict[str, Any]:
    return {"grokray_trial": trial_id, "step": 0, "rung": None, "done": True}


class SeatedTrial(tune.Trainable):
    """A trial in an engine actor. The actor puts the next report into `pending`, then calls `train`."""

    pending: Report | None = None

    def setup(self, config: dict[str, Any]) -> None:
        self.assignment = assignment_of(config)

    def step(self) -> dict[str, Any]:
        report, self.pending = self.pending, None
        return failed_result(self.assignment.trial_id) if report is None else as_result(report)


class ProcessTrial(tune.Trainable):
    """A trial in a worker process of its own, with an engine of one slot."""

    trainer: Trainer | None = None

    def setup(self, config: dict[str, Any]) -> None:
        self.assignment = assignment_of(config)
        self.given_up = config.get("given_up")
        if not self.given_up:
            self.trainer = WorkerOptions(**json.loads(config["options"])).make_trainer("worker")
            self.trainer.start(self.assignment)

    def step(self) -> dict[str, Any]:
        """The next report; a heartbeat if there is none for a while, so that the driver can stop the trial."""
        if self.trainer is None:
            return failed_result(self.assignment.trial_id)
        self.trainer.proceed(self.assignment.trial_id)
        deadline = time.monotonic() + HEARTBEAT_S
        while time.monotonic() < deadline:
            for report in self.trainer.turn(lambda: time.monotonic() >= deadline):
                return as_result(report)
        return {"grokray_trial": self.assignment.trial_id, "rung": None}

    def cleanup(self) -> None:
        """Pruned or interrupted: the driver knows, and deletes the checkpoints of a trial that has ended."""
        if self.trainer is not None:
            self.trainer.stop(self.assignment.trial_id, save=True)
            self.trainer.close()
