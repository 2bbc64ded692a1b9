"""Runs assigned trials on one engine and writes down what happens to them. Knows neither Ray nor Tune.

The same trainer serves an engine actor with many trials, a worker process with one, and `grokray train`. Measurements,
checkpoints and finishes go to its own part of the journal, where the engine is; only what somebody must decide about
(a rung, the end) is handed back as a `Report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.engine import Engine, Measurement
from grokray.engine.payoff import Planned
from grokray.records.journal import EVENT_FIELDS, JournalWriter
from grokray.records.store import Store
from grokray.sweep.assignment import Assignment, Report
from grokray.sweep.background import WRITERS, Background
from grokray.sweep.checkpoints import Kind, TrialCheckpoints, is_checkpoint_step
from grokray.sweep.initial import first_checkpoint
from grokray.sweep.inputs import at_hand
from grokray.sweep.keepsakes import Keepsakes
from grokray.sweep.measure_file import MeasureFile
from grokray.sweep.own_measures import OwnMeasures
from grokray.trial import TrialConfig

TOGETHER = 16  # trials are copied off a GPU at once: the host is to hold no copy of all that is there


@dataclass(kw_only=True)
class _Running:
    assignment: Assignment
    config: TrialConfig
    rungs: list[int]
    keepsakes: Keepsakes
    own: OwnMeasures | None = None
    measured: Measurement | None = None

    @property
    def needs_last_state(self) -> bool:
        """Whether the state in which the trial ends is asked for, when it has left the engine."""
        return self.own is not None or self.keepsakes.need_last_state


class Trainer:
    def __init__(
        self,
        store: Store,
        *,
        role: str,
        device: str = "cpu",
        compile: Literal["auto", "on", "off"] = "auto",
        share: float = 1.0,
        company: float = 1.0,
        slots: int | None = None,
        measures: MeasureFile | None = None,
        on_measurement: Callable[[Measurement], None] = lambda m: None,
        on_fault: Callable[[str, str], None] = lambda measure, error: None,
        writers: int | None = None,
    ) -> None:
        """`share` is the part of the planned steps that falls to this engine, which trains about as many trials of one
        shape at once as `company` says; `slots` is how many trials it is to hold. `measures` are the user's own, and
        `on_fault` is told of those that raised something, and what.
        `writers` are threads that write checkpoints beside the training, by default none where that would only take
        the core from it: on a CPU with a disk of its own."""
        self.store, self.role, self.measures = store, role, measures
        self.on_measurement, self.on_fault = on_measurement, on_fault
        self.share, self.company = share, company
        self.engine = Engine(device=device, compile=compile, capacity=slots, before_leaving=self._take_last_look)
        self.journal = JournalWriter(store, role)
        if writers is None:
            writers = 0 if store.is_local and self.engine.device.type == "cpu" else WRITERS
        self._background = Background(writers)
        self._due: list[_Running] = []  # at a checkpoint
        self._finished: dict[str, TrialCheckpoints] = {}  # its files, until somebody has heard of it
        self._undelivered: list[Report] = []
        self._running: dict[str, _Running] = {}
        self._last_states: dict[str, Checkpoint] = {}

    def start(self, assignment: Assignment) -> int:
        """Seat the trial, from its latest sound checkpoint if it has one; the step it starts from."""
        config = TrialConfig.model_validate(at_hand(self.store, assignment.config))
        checkpoint = self._begin(assignment)
        step = 0 if checkpoint is None else checkpoint.step
        keepsakes = Keepsakes(
            self.store,
            assignment.trial_id,
            config,
            keep=assignment.keep_checkpoints,
            examples=assignment.examples,
            from_step=step,
            is_due=lambda at: is_checkpoint_step(at, assignment.checkpoint_interval, config.eval_interval),
        )
        own = None if self.measures is None else OwnMeasures(self.measures, config, self.engine.device)
        self._seat(assignment, config, checkpoint)
        # The measurement before; nobody was to be asked about rungs up to it, or it would have waited there.
        passed = max(assignment.decided, (step - 1) // config.eval_interval * config.eval_interval)
        rungs = sorted(r for r in assignment.rungs if passed < r < config.num_steps)
        running = _Running(assignment=assignment, config=config, rungs=rungs, keepsakes=keepsakes, own=own)
        self._running[assignment.trial_id] = running
        if checkpoint is not None and checkpoint.metrics:
            self._report_again(running, checkpoint)
        return step

    def _begin(self, assignment: Assignment) -> Checkpoint | None:
        """What the trial goes on from. The journal has its start before anything is read: should reading it, or seating
        the trial, kill this process, it says who was to be seated."""
        files = TrialCheckpoints(self.store, assignment.trial_id, assignment.keep_checkpoints)
        newest = 0 if assignment.fresh else files.newest_step()
        self._write_start(assignment, newest)
        checkpoint = None if assignment.fresh else files.latest()
        step = 0 if checkpoint is None else checkpoint.step
        if step != newest:  # a damaged one was passed over
            self._write_start(assignment, step)
        return checkpoint

    def _write_start(self, assignment: Assignment, step: int) -> None:
        self.journal.write(
            "start",
            trial_id=assignment.trial_id,
            attempt=assignment.attempt,
            step=step,
            engine=self.role,
            **({"session": assignment.session} if assignment.session else {}),
        )
        self.journal.flush()

    def _report_again(self, running: _Running, checkpoint: Checkpoint) -> None:
        """A checkpoint may lie at a rung that nobody has decided about: a driver died. It is reported once more there,
        and not a measurement later, where it could not be compared with those that were asked in time."""
        trial_id, step = running.assignment.trial_id, checkpoint.step
        running.measured = measured = Measurement(
            trial=trial_id,
            step=step,
            metrics=checkpoint.metrics,
            events=self.engine.events(trial_id),
            wall_time_s=checkpoint.wall_time_s,
        )
        rung = self._reached_rung(running, step)
        if rung is not None:
            self.engine.park(trial_id)
            self._undelivered.append(_report(measured, rung))

    def _seat(self, assignment: Assignment, config: TrialConfig, checkpoint: Checkpoint | None) -> None:
        trial_id, steps = assignment.trial_id, assignment.planned_steps
        planned = None if steps is None else Planned(steps=steps * self.share, company=self.company)
        kernels = {"planned": planned, "compiled": assignment.compiled}
        if checkpoint is None and config.initial_checkpoint is not None:
            checkpoint = first_checkpoint(config)
        if checkpoint is None:
            self.engine.join(trial_id, config, **kernels)
        else:
            self.engine.restore(trial_id, config, checkpoint, **kernels)
        try:
            self.journal.write("kernels", trial_id=trial_id, compiled=self.engine.is_compiled(trial_id))
        except BaseException:
            self.engine.leave(trial_id)  # or it would train on, and nobody would know of it
            raise

    def turn(self, should_yield: Callable[[], bool] = lambda: False) -> list[Report]:
        """Train until something is measured or `should_yield` says so. A trial that is reported at a rung waits."""
        reports, self._undelivered = self._undelivered, []
        if reports:
            return reports
        for m in self.engine.next(should_yield):
            report = self._take(m)
            if report is not None:
                reports.append(report)
        self._save_due()
        names = [report.trial_id for report in reports]
        self._background.finish(names)
        if reports:
            self.journal.flush()  # what somebody acts on must outlive this process
        return reports

    def proceed(self, trial_id: str) -> None:
        """Let a trial that waits at a rung train on."""
        self.engine.unpark(trial_id)

    def stop(self, trial_id: str, *, save: bool) -> Future[None] | None:
        """Take the trial off the engine, with a checkpoint at the step where it is if `save`; idempotent. Of one that
        has finished the end was heard, unless `save`: only now do those of its files go that are not kept, which may
        be waited for."""
        running, finished = self._running.pop(trial_id, None), self._finished.pop(trial_id, None)
        if running is None:
            return None if finished is None or save else self._background.do(trial_id, finished.settle)
        self._undelivered = [report for report in self._undelivered if report.trial_id != trial_id]
        if save:
            self._save_many([running])
        else:  # stopped for good: this is how it ends
            self._write_best(running)
            if running.keepsakes.files.last:
                self._write_checkpoint(running, self._state(running), "last")
        self._background.finish([trial_id])
        self.engine.leave(trial_id)
        return None

    def save_all(self) -> int:
        """Checkpoint every trial where it is; how many."""
        self._save_many(list(self._running.values()))
        self._background.finish()
        return len(self._running)

    @property
    def trials(self) -> tuple[str, ...]:
        return tuple(self._running)

    @property
    def training(self) -> int:
        """How many trials train, rather than wait."""
        return self.engine.training

    @property
    def seated_steps(self) -> int:
        """Updates of the trials that are here; another thread may ask."""
        return self.engine.seated_steps

    @property
    def busy(self) -> bool:
        return self.training > 0 or bool(self._undelivered)

    def close(self) -> None:
        self._background.close()
        self.journal.close()

    def _take(self, m: Measurement) -> Report | None:
        running = self._running[m.trial]
        running.measured = m
        state, faults = cache(lambda: self._state(running)), {}
        if running.own is not None:
            found = running.own.of(state())
            running.measured = m = replace(m, metrics={**m.metrics, **found.values})
            state, faults = partial(self._state, running, state()), found.faults
        self._write_measurement(running, m, faults)
        self.on_measurement(m)
        if m.step == 0:  # for the curve alone
            return None
        rung = None
        running.keepsakes.measured(m.metrics, state, self.engine.device)
        if m.outcome:
            self._finish(running, m, state)
        else:
            rung = self._reached_rung(running, m.step)
            if rung is not None:
                self.engine.park(m.trial)
            if running.keepsakes.files.is_due(m.step):
                self._due.append(running)
        if rung is None and m.outcome is None:
            return None
        return _report(m, rung)

    def _reached_rung(self, running: _Running, step: int) -> int | None:
        """The highest rung that this evaluation is the first to reach."""
        reached = [r for r in running.rungs if r <= step]
        running.rungs = [r for r in running.rungs if r > step]
        return reached[-1] if reached else None

    def _write_measurement(self, running: _Running, m: Measurement, faults: Mapping[str, str]) -> None:
        for measure, error in faults.items():
            self.on_fault(measure, error)
        by_task = {task: _seen(events) for task, events in m.task_events.items()}
        self.journal.write(
            "measurement",
            trial_id=m.trial,
            attempt=running.assignment.attempt,
            step=m.step,
            metrics=m.metrics,
            events=_seen(m.events),
            wall_time_s=round(m.wall_time_s, 3),
            **({"tasks": m.tasks, "task_events": by_task} if m.tasks else {}),
            **({"faults": faults} if faults else {}),
        )

    def _finish(self, running: _Running, m: Measurement, state: Callable[[], Checkpoint]) -> None:
        # Before the journal says that it has finished: nobody comes back for what is missing then.
        self._write_best(running)
        if running.keepsakes.files.last:
            self._write_checkpoint(running, state(), "last")
        self._background.finish([m.trial])
        self.journal.write(
            "finish", trial_id=m.trial, attempt=running.assignment.attempt, step=m.step, outcome=m.outcome
        )
        del self._running[m.trial]
        self._last_states.pop(m.trial, None)
        # Where the driver was killed, the next one's books may lack this end: it has the trial go on from its files.
        self._finished[m.trial] = running.keepsakes.files

    def _save_due(self) -> None:
        """Once for all trials that came to a checkpoint in a turn."""
        due, self._due = self._due, []
        self._save_many(due)
        self._background.look()

    def _save_many(self, those: Sequence[_Running]) -> None:
        """Several at once, as a copy off a GPU is waited for."""
        if those:
            self.journal.flush()  # nobody measures again what lies before a checkpoint
        for start in range(0, len(those), TOGETHER):
            some = {running.assignment.trial_id: running for running in those[start : start + TOGETHER]}
            states = self.engine.save_many([trial_id for trial_id in some if trial_id not in self._last_states])
            for trial_id, running in some.items():
                self._save(running, states.get(trial_id))

    def _save(self, running: _Running, saved: Checkpoint | None = None) -> None:
        self._write_best(running)
        self._write_checkpoint(running, self._state(running, saved), "step")

    def _write_best(self, running: _Running) -> None:
        best = running.keepsakes.take_best()
        if best is not None:
            self._write_checkpoint(running, best, "best")

    def _write_checkpoint(self, running: _Running, checkpoint: Checkpoint, kind: Kind) -> None:
        job = partial(self._write_now, running, checkpoint, kind)
        self._background.do(running.assignment.trial_id, job, checkpoint.size)

    def _write_now(self, running: _Running, checkpoint: Checkpoint, kind: Kind) -> None:
        file, size = running.keepsakes.files.write(checkpoint, kind)
        self.journal.write(
            "checkpoint",
            trial_id=running.assignment.trial_id,
            attempt=running.assignment.attempt,
            step=file.step,
            name=file.name,
            sha256=file.sha256,
            bytes=size,
        )

    def _state(self, running: _Running, saved: Checkpoint | None = None) -> Checkpoint:
        """The trial where it is, which may be `saved` already, with the metrics if they were measured there."""
        trial_id, m = running.assignment.trial_id, running.measured
        saved = saved or self._last_states.get(trial_id) or self.engine.save(trial_id)
        return replace(saved, metrics=m.metrics) if m is not None and m.step == saved.step else saved

    def _take_last_look(self, trial_id: str) -> None:
        running = self._running.get(trial_id)
        if running is not None and running.needs_last_state:
            self._last_states[trial_id] = self.engine.save(trial_id)


def _report(m: Measurement, rung: int | None) -> Report:
    return Report(
        trial_id=m.trial,
        step=m.step,
        metrics=m.metrics,
        events=m.events,
        wall_time_s=m.wall_time_s,
        rung=rung,
        outcome=m.outcome,
    )


def _seen(events: dict[str, Any]) -> dict[str, Any]:
    """Those that happened."""
    return {name: events[name] for name in EVENT_FIELDS if events[name] is not None}
