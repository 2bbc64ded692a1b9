"""What the host knows of a seated trial."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from grokray.engine.chunks import Chunks
from grokray.engine.trial_events import TrialEvents
from grokray.events import EventTracker
from grokray.tasks.dataset import Dataset
from grokray.tasks.last_batch import epoch_rows


@dataclass(kw_only=True, eq=False)  # equal is only what is the same: thousands are compared
class Seat:
    """A trial's tensors are one row of the stack's; the rest is here."""

    trial: str
    dataset: Dataset
    tracker: EventTracker
    task_trackers: dict[str, EventTracker] = field(default_factory=dict)  # of a trial of several tasks
    step: int = 0
    steps_before: int = 0  # of the optimizer, with another trial, before step 0
    wall_time_s: float = 0.0
    parked: bool = False
    since: float = field(default_factory=time.monotonic)
    first_row: int = 0  # of the trial's table in the stack's concatenated table
    chunks: Chunks = field(init=False)  # of the rows that it is evaluated on, since it joined a stack
    slot: int = -1  # where its tensors are in the stack
    start_measured: bool = False
    normed: int = -1  # the step of which the slot has the norms
    first_bad: int | None = None  # the first update whose loss was not finite, as of the last measurement

    @property
    def epoch_rows(self) -> int:
        """Training rows that an epoch has."""
        return epoch_rows(self.dataset.config, len(self.dataset.split.train))

    @property
    def batches(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return -(-self.epoch_rows // self.dataset.config.batch_size)

    @property
    def events(self) -> TrialEvents:
        return TrialEvents(overall=self.tracker, tasks=self.task_trackers)

    @property
    def next_evaluation(self) -> int:
        config = self.dataset.config
        return min((self.step // config.eval_interval + 1) * config.eval_interval, config.num_steps)

    @property
    def start_due(self) -> bool:
        return self.dataset.config.eval_start and self.step == 0 and not self.start_measured

    @property
    def evaluation_due(self) -> bool:
        config = self.dataset.config
        return self.step > 0 and (self.step % config.eval_interval == 0 or self.step >= config.num_steps)
