"""Training any number of trials at once, on one device.

Five verbs: `join` seats a trial, `next` trains until something is measured, `save` and `restore` carry a trial from
one engine to another, `leave` frees its slot. Beside them `park` and `unpark` hold a trial still while somebody
decides about it. Trials of different shapes sit in different stacks, which take turns.

    engine = Engine()
    engine.join("a", config)
    while engine.trials:
        for m in engine.next():
            print(m.trial, m.step, m.metrics["heldout_exact_match"])

A finished trial (`m.outcome` is set) has left already. No trial can feel its neighbours: the same config and seeds
give the same measurements alone or in company.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.stack import Seat, Stack
from grokray.errors import CheckpointError
from grokray.events import EventTracker
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig

Outcome = Literal["grokked", "budget", "diverged"]
TURN_STEPS = 50  # a stack's turn: long enough to hide the turn's overhead, short enough to let trials join soon


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Metrics of one trial after `step` updates, all finite unless it diverged.

    `events` are the EventTracker's fields so far; `outcome` is set on the last measurement: `grokked`, `budget`
    (num_steps reached), or `diverged`.
    """

    trial: str
    step: int
    metrics: dict[str, float]
    events: dict[str, Any]
    wall_time_s: float
    outcome: Outcome | None = None


class Engine:
    """`device` is a torch device name. `compile`: `on`, `off`, or `auto`, which compiles on a GPU only, where many
    small kernels cost most; on a CPU a short sweep would wait longer for the compiler than it saves."""

    def __init__(self, *, device: str = "cpu", compile: Literal["auto", "on", "off"] = "auto") -> None:
        self.device = torch.device(device)
        self.compiled = compile == "on" or (compile == "auto" and self.device.type == "cuda")
        self._stacks: dict[ShapeKey, Stack] = {}
        self._where: dict[str, Stack] = {}
        self.trial_steps = 0  # updates done so far, over all trials

    @property
    def trials(self) -> tuple[str, ...]:
        """Names of the seated trials."""
        return tuple(self._where)

    @property
    def training(self) -> int:
        """How many of them are not parked."""
        return sum(stack.training for stack in self._stacks.values())

    def join(self, trial: str, config: TrialConfig) -> None:
        """Seat a new trial at step 0."""
        self._seat(trial, config, EventTracker(threshold=config.threshold, sustain=config.sustain), 0, 0.0)

    def restore(self, trial: str, config: TrialConfig, checkpoint: Checkpoint) -> None:
        """Seat a trial where its checkpoint left it. CheckpointError if it is another trial's."""
        if checkpoint.trial_id != config.id:
            raise CheckpointError(
                f"the checkpoint belongs to trial {checkpoint.trial_id}, but the config is of {config.id}"
            )
        tracker = EventTracker(**checkpoint.events)
        stack = self._seat(trial, config, tracker, checkpoint.step, checkpoint.wall_time_s)
        stack.write(trial, checkpoint.tensors)

    def next(self, should_yield: Callable[[], bool] = lambda: False) -> list[Measurement]:
        """Give every stack a turn, and so on until something is measured, `should_yield` says so, or none trains."""
        while self.training:
            measured = [m for stack in list(self._stacks.values()) for m in self._turn(stack)]
            if measured or should_yield():
                return measured
        return []

    def save(self, trial: str) -> Checkpoint:
        """Everything needed to go on with the trial elsewhere."""
        stack = self._where[trial]
        seat = stack.seats[stack.slot(trial)]
        return Checkpoint(
            config=seat.dataset.config.model_dump(),
            trial_id=seat.dataset.config.id,
            step=seat.step,
            wall_time_s=_wall_time(seat),
            events=seat.tracker.state(),
            tensors=stack.read(trial),
        )

    def leave(self, trial: str) -> None:
        """Free the trial's slot, finished or not."""
        stack = self._where.pop(trial)
        stack.leave(trial)
        if not stack.seats:
            del self._stacks[stack.shape]

    def park(self, trial: str) -> None:
        """Stop training the trial, but let it keep its slot."""
        self._where[trial].park(trial)

    def unpark(self, trial: str) -> None:
        self._where[trial].unpark(trial)

    def _seat(self, trial: str, config: TrialConfig, tracker: EventTracker, step: int, wall_time_s: float) -> Stack:
        if trial in self._where:
            raise ValueError(f"trial {trial} is seated already")
        dataset = build_dataset(config)
        shape = shape_of(dataset)
        if shape not in self._stacks:
            self._stacks[shape] = Stack(shape, device=self.device, compiled=self.compiled)
        stack = self._where[trial] = self._stacks[shape]
        stack.join(Seat(trial=trial, dataset=dataset, tracker=tracker, step=step, wall_time_s=wall_time_s))
        return stack

    def _turn(self, stack: Stack) -> list[Measurement]:
        before = sum(seat.step for seat in stack.seats)
        due = stack.advance(TURN_STEPS)
        self.trial_steps += sum(seat.step for seat in stack.seats) - before
        if not due:
            return []
        measured = [self._measure(stack, seat, metrics) for seat, metrics in zip(due, stack.evaluate(due), strict=True)]
        for m in measured:
            if m.outcome:
                self.leave(m.trial)
        return measured

    def _measure(self, stack: Stack, seat: Seat, metrics: dict[str, float]) -> Measurement:
        finite = all(math.isfinite(value) for value in metrics.values())
        if finite and stack.first_bad(seat.trial) is None:
            seat.tracker.observe(seat.step, metrics["train_exact_match"], metrics["heldout_exact_match"])
        else:
            seat.tracker.diverged = True
        return Measurement(
            trial=seat.trial,
            step=seat.step,
            metrics=metrics,
            events=seat.tracker.state(),
            wall_time_s=_wall_time(seat),
            outcome=_outcome(seat),
        )


def _outcome(seat: Seat) -> Outcome | None:
    config, tracker = seat.dataset.config, seat.tracker
    if tracker.diverged:
        return "diverged"
    if tracker.grokked and (not config.continue_training or seat.step >= config.num_steps):
        return "grokked"
    return "budget" if seat.step >= config.num_steps else None


def _wall_time(seat: Seat) -> float:
    """Seconds that the trial has trained, shared time counted in full."""
    return seat.wall_time_s + (0.0 if seat.parked else time.monotonic() - seat.since)
