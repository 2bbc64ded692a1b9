"""What Tune and the processes that train tell each other: options, a trial's config, results. Knows neither of them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from grokray.errors import ExecutionError
from grokray.records.store import Store
from grokray.sweep.assignment import Assignment, Report

if TYPE_CHECKING:
    from grokray.sweep.measure_file import MeasureFile
    from grokray.sweep.trainer import Trainer


State = Literal["silent", "answers", "ended"]


class Say(Protocol):
    """Takes a text for a person; one of a process that trains with its name, and whether it does not answer, answers
    again, or has ended."""

    def __call__(self, text: str, name: str = "", state: State | None = None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What every process that trains needs to know."""

    store_uri: str
    device: str = "cpu"
    compile: Literal["auto", "on", "off"] = "auto"
    threads: int = 1
    share: float = 1.0  # of the sweep's planned steps that falls to one engine
    company: float = 1.0  # how many trials of one shape an engine trains at once
    measures: Sequence[str] | None = None  # of the user's own: what their file holds, and its name

    def make_trainer(self, role: str, slots: int | None = None) -> Trainer:
        """`slots` is how many trials it is to hold, where that is known."""
        import torch

        from grokray.sweep.trainer import Trainer

        # Threads that wait for each other make a tiny step many times slower: one thread per engine.
        torch.set_num_threads(self.threads)
        return Trainer(
            Store.from_uri(self.store_uri),
            role=role,
            device=self.device,
            compile=self.compile,
            share=self.share,
            company=self.company,
            slots=slots,
            measures=self._own_measures(),
        )

    def _own_measures(self) -> MeasureFile | None:
        """ExecutionError where this machine lacks what they need."""
        from grokray.sweep.measure_file import FIELD, measures_in
        from grokray.tasks.malformed import Malformed

        if self.measures is None:
            return None
        text, name = self.measures
        try:
            return measures_in(text, name)
        except Malformed as error:
            raise ExecutionError(f"{FIELD} is {name}, {error.rule}, on {socket.gethostname()}") from error


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Of a process that trains: the node's id in Ray, and its name. For `still_s` it has trained nothing, though it
    should; its thread is at `place`."""

    node: str
    host: str
    pid: int
    still_s: float = 0.0
    place: str = ""

    @classmethod
    def of_this_process(cls) -> Whereabouts:
        import ray

        return cls(node=ray.get_runtime_context().get_node_id(), host=socket.gethostname(), pid=os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Cleared(Exception):
    """No fault: a suspect has trained alone for so long that it may have company again. It is checkpointed."""


def tune_config(
    assignment: Assignment, *, given_up: str | None = None, alone_until: int | None = None
) -> dict[str, str]:
    """A trial's Tune config: texts, so that Tune neither flattens nor searches them.

    `given_up` is why the trial shall end as failed at once; up to step `alone_until` it shall have no neighbours.
    """
    config = {"grokray_trial": assignment.trial_id, "assignment": json.dumps(asdict(assignment))}
    alone = {} if alone_until is None else {"alone": str(alone_until)}
    return config | ({"given_up": given_up} if given_up else {}) | alone


def assignment_of(config: dict[str, Any]) -> Assignment:
    """What `tune_config` was made of, from the trial's Tune config. KeyError if there is no assignment in it."""
    fields = json.loads(config["assignment"])
    return Assignment(**(fields | {"rungs": tuple(fields["rungs"])}))


def as_result(report: Report) -> dict[str, Any]:
    """Tune's result, as few numbers as it can do with: of each it keeps statistics, trial by trial, as long as it
    runs. Our schedulers read the metrics off the report."""
    return {
        "grokray_trial": report.trial_id,
        "step": report.step,
        "rung": report.rung,
        "report": json.dumps(asdict(report)),
        "done": report.outcome is not None,
    }


def report_of(result: dict[str, Any]) -> Report | None:
    """What `as_result` was made of; None of a result without a report, such as `failed_result`, or of none yet."""
    return Report(**json.loads(result["report"])) if result and "report" in result else None


def failed_result(trial_id: str) -> dict[str, Any]:
    """The result of a trial that ends as failed at once: at step 0, without a report."""
    return {"grokray_trial": trial_id, "step": 0, "rung": None, "done": True}
