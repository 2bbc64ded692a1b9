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
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from grokray.arguments import check_switches
from grokray.engine.allocator import keep_freed_memory
from grokray.engine.checkpoint import Checkpoint
from grokray.engine.evaluation import Evaluation
from grokray.engine.payoff import Planned, compiling_pays
from grokray.engine.seat import Seat
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.stack import Stack
from grokray.errors import CheckpointError
from grokray.events import EventTracker
from grokray.tasks.dataset import build_dataset
from grokray.trial import MEASURES, TrialConfig

Outcome = Literal["grokked", "budget", "diverged"]
TURN_STEPS = 50  # a tile's turn: long enough to hide the turn's overhead, short enough to let trials join soon
WAIT_S = 0.05  # between two looks whether the kernels are built


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Metrics of one trial after `step` updates; losses and accuracies are finite unless it diverged, or is at step 0
    (`eval_start`), which makes no event.

    `events` are the EventTracker's fields so far. Where a trial learns several tasks, `tasks` has the same metrics of
    each, `task_events` each one's events, and `events` are as `TrialEvents` has them; else both are empty.
    `outcome` is set on the last measurement: `grokked`, `budget`
    (num_steps reached), or `diverged`.
    """

    trial: str
    step: int
    metrics: dict[str, float]
    events: dict[str, Any]
    wall_time_s: float
    outcome: Outcome | None = None
    tasks: dict[str, dict[str, float]] = field(default_factory=dict)
    task_events: dict[str, dict[str, Any]] = field(default_factory=dict)


class Engine:
    """`device` is a torch device name. `compile`: `on`, `off`, or `auto`, which compiles where that pays (see
    `payoff`). `capacity` trials are expected at most, for which a GPU's stacks make room at once; it is no limit.
    `before_leaving` is called with the name of each trial that is about to leave."""

    def __init__(
        self,
        *,
        device: str = "cpu",
        compile: Literal["auto", "on", "off"] = "auto",
        capacity: int | None = None,
        before_leaving: Callable[[str], None] = lambda trial: None,
    ) -> None:
        check_switches()
        keep_freed_memory()
        self.device, self.compile, self.capacity = torch.device(device), compile, capacity
        self._before_leaving = before_leaving
        self._stacks: dict[tuple[ShapeKey, bool], Stack] = {}
        self._where: dict[str, Stack] = {}
        self.trial_steps = 0  # updates done so far, over all trials
        self.turn_steps = TURN_STEPS

    @property
    def trials(self) -> tuple[str, ...]:
        """Names of the seated trials."""
        return tuple(self._where)

    @property
    def training(self) -> int:
        """How many of them are not parked."""
        return sum(stack.training for stack in self._stacks.values())

    @property
    def seated_steps(self) -> int:
        """Updates of the seated trials, those of the turn that is being done included. Another thread may ask."""
        return sum(seat.step for stack in list(self._stacks.values()) for seat in list(stack.seats))

    @property
    def building(self) -> bool:
        """Whether kernels of the seated trials are being compiled, perhaps beside their training."""
        return any(stack.backend.building for stack in self._stacks.values())

    def join(
        self, trial: str, config: TrialConfig, *, planned: Planned | None = None, compiled: bool | None = None
    ) -> None:
        """Seat a new trial at step 0.

        Whether `auto` compiles goes by what is `planned` of its shape, by default this trial alone. `compiled` says it
        outright, as a trial that is repeated or goes on must have the same kernels.
        """
        if config.initial_checkpoint is not None:
            raise ValueError("a trial that starts from a checkpoint's weights is restored: see `start.before_training`")
        dataset = build_dataset(config)
        names = dataset.tasks_apart
        tracker, *of_tasks = (
            EventTracker(threshold=config.threshold, sustain=config.sustain) for _ in range(1 + len(names))
        )
        self._seat(
            Seat(trial=trial, dataset=dataset, tracker=tracker, task_trackers=dict(zip(names, of_tasks, strict=True))),
            planned,
            compiled,
        )

    def restore(
        self,
        trial: str,
        config: TrialConfig,
        checkpoint: Checkpoint,
        *,
        planned: Planned | None = None,
        compiled: bool | None = None,
    ) -> None:
        """Seat a trial where its checkpoint left it; see `join`. CheckpointError if it is another trial's."""
        if checkpoint.trial_id != config.id:
            raise CheckpointError(
                f"the checkpoint belongs to trial {checkpoint.trial_id}, but the config is of {config.id}"
            )
        seat = Seat(
            trial=trial,
            dataset=build_dataset(config),
            tracker=EventTracker(**checkpoint.events),
            task_trackers={name: EventTracker(**events) for name, events in checkpoint.task_events.items()},
            step=checkpoint.step,
            steps_before=checkpoint.steps_before,
            wall_time_s=checkpoint.wall_time_s,
        )
        stack = self._seat(seat, planned, compiled)
        try:
            stack.write(trial, checkpoint.tensors)
        except BaseException:  # a trial that is half restored must not train, and must not keep its seat
            self.leave(trial)
            raise

    def next(self, should_yield: Callable[[], bool] = lambda: False) -> list[Measurement]:
        """Give every stack a turn, and so on until something is measured, `should_yield` says so, or none trains."""
        while self.training:
            turns = [self._turn(stack) for stack in list(self._stacks.values())]
            measured = [m for turn in turns for m in turn or ()]
            if measured or should_yield():
                return measured
            if all(turn is None for turn in turns):
                time.sleep(WAIT_S)
        return []

    def save(self, trial: str) -> Checkpoint:
        """Everything needed to go on with the trial elsewhere."""
        return self.save_many([trial])[trial]

    def save_many(self, trials: Collection[str]) -> dict[str, Checkpoint]:
        """The same of several trials, by name. Those of one stack are copied off the device at once, so that a GPU is
        not kept waiting slot by slot."""
        by_stack: dict[Stack, list[str]] = {}
        for trial in trials:
            by_stack.setdefault(self._where[trial], []).append(trial)
        return {
            trial: _checkpoint(stack.seats[stack.slot(trial)], tensors)
            for stack, names in by_stack.items()
            for trial, tensors in zip(names, stack.read(names), strict=True)
        }

    def leave(self, trial: str) -> None:
        """Free the trial's slot, finished or not."""
        self._before_leaving(trial)
        stack = self._where.pop(trial)
        stack.leave(trial)
        if not stack.seats:
            del self._stacks[stack.shape, stack.compiled]

    def events(self, trial: str) -> dict[str, Any]:
        """Those of the seated trial so far, as a Measurement has them."""
        stack = self._where[trial]
        return stack.seats[stack.slot(trial)].events.state()

    def is_compiled(self, trial: str) -> bool:
        """Whether the seated trial is trained by compiled kernels."""
        return self._where[trial].compiled

    def park(self, trial: str) -> None:
        """Stop training the trial, but let it keep its slot."""
        self._where[trial].park(trial)

    def unpark(self, trial: str) -> None:
        self._where[trial].unpark(trial)

    def _seat(self, seat: Seat, planned: Planned | None, compiled: bool | None) -> Stack:
        if seat.trial in self._where:
            raise ValueError(f"trial {seat.trial} is seated already")
        shape = shape_of(seat.dataset)
        if compiled is None:
            planned = planned or Planned(steps=seat.dataset.config.num_steps, company=1.0)
            compiled = self.compile == "on"
            compiled |= self.compile == "auto" and compiling_pays(shape, self.device, planned)
        if (shape, compiled) not in self._stacks:
            self._stacks[shape, compiled] = Stack(shape, device=self.device, compiled=compiled, capacity=self.capacity)
        stack = self._stacks[shape, compiled]
        stack.join(seat)
        self._where[seat.trial] = stack
        return stack

    def _turn(self, stack: Stack) -> list[Measurement] | None:
        """What is measured after one tile's steps; None if the stack waits for its kernels."""
        before = sum(seat.step for seat in stack.seats)
        due = stack.advance(self.turn_steps)
        self.trial_steps += sum(seat.step for seat in stack.seats) - before
        if not due:
            return due if due is None else []
        measured = [self._measure(seat, found) for seat, found in zip(due, stack.measure(due), strict=True)]
        for m in measured:
            if m.outcome:
                self.leave(m.trial)
        return measured

    def _measure(self, seat: Seat, found: Evaluation) -> Measurement:
        events = seat.events
        finite = all(math.isfinite(value) for name, value in found.metrics.items() if name not in MEASURES)
        if finite and seat.first_bad is None:
            events.observe(seat.step, found.metrics, found.tasks)
        elif seat.step > 0:  # before, no update was lost: the next measurement will tell
            events.diverge()
        return Measurement(
            trial=seat.trial,
            step=seat.step,
            metrics=found.metrics,
            events=events.state(),
            wall_time_s=_wall_time(seat),
            outcome=_outcome(seat),
            tasks=found.tasks,
            task_events=events.task_states(),
        )


def _checkpoint(seat: Seat, tensors: dict[str, dict[str, torch.Tensor]]) -> Checkpoint:
    return Checkpoint(
        config=seat.dataset.config.model_dump(),
        trial_id=seat.dataset.config.id,
        step=seat.step,
        steps_before=seat.steps_before,
        wall_time_s=_wall_time(seat),
        events=seat.tracker.state(),
        task_events=seat.events.task_states(),
        tensors=tensors,
    )


def _outcome(seat: Seat) -> Outcome | None:
    config, events = seat.dataset.config, seat.events
    if events.overall.diverged:
        return "diverged"
    if events.grokked and (not config.continue_training or seat.step >= config.num_steps):
        return "grokked"
    return "budget" if seat.step >= config.num_steps else None


def _wall_time(seat: Seat) -> float:
    """Seconds that the trial has trained, shared time counted in full."""
    return seat.wall_time_s + (0.0 if seat.parked else time.monotonic() - seat.since)
