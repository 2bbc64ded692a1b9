"""The driver's books: which trials are to run, which have ended, how often each may still fail.

Everything that changes is written to the journal first. The books are opened by replaying it, so a sweep goes on where
it stopped, however it stopped. Knows neither Ray nor Tune.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from grokray.errors import ExecutionError
from grokray.records.compact import Compactor
from grokray.records.folder import SweepFolder
from grokray.records.state import SweepState
from grokray.sweep.assignment import Assignment, Report
from grokray.sweep.background import WRITERS, Background
from grokray.sweep.checkpoints import TrialCheckpoints, names_by_trial
from grokray.sweep.config import SweepConfig
from grokray.sweep.configurations import Configurations, Proposal
from grokray.sweep.failures import Failures


class Ledger:
    """With `retry_failed` those that have failed are to run again. `session` is the name of this run of the driver."""

    def __init__(
        self,
        folder: SweepFolder,
        config: SweepConfig,
        *,
        rungs: tuple[int, ...] = (),
        retry_failed: bool = False,
        session: str = "",
    ) -> None:
        self.folder, self.config, self.rungs, self.retry_failed = folder, config, rungs, retry_failed
        self.session = session
        self.state = SweepState()
        self.reader = folder.reader()
        self.journal = folder.writer("driver")
        self.failures = Failures(retries=config.trial.retries)
        self.configurations = Configurations(config)
        self.ended: dict[str, str] = {}  # trial id -> outcome
        self.rounds: dict[str, int] = {}  # trial id -> how often it was to run again, having failed for good
        self._configs: dict[str, Mapping[str, Any]] = {}  # of those that have not ended; the state has all of them
        self._compact = Compactor()  # for many may wait at once, as after a sweep has grown
        self._attempts: dict[str, int] = {}
        self._queue: deque[str] = deque()
        self._inherited: frozenset[str] = frozenset()  # which engines of an earlier driver may begin yet
        self._replay()

    # -- what is to run

    @property
    def finished(self) -> bool:
        """Whether every trial of the sweep has ended."""
        return self.configurations.complete and len(self.ended) == len(self.configurations.of_trial)

    @property
    def to_run(self) -> int:
        """Trials that have not ended, those not proposed yet included."""
        return len(self.configurations.of_trial) - len(self.ended) + self.configurations.trials_to_come

    @property
    def total(self) -> int:
        """Trials there will be, those that have ended included."""
        return len(self.ended) + self.to_run

    def next_assignment(self) -> Assignment | None:
        """The next trial to start; None if there is none left to start."""
        while not self._queue and not self.configurations.complete:
            self._propose()
        return self.assignment(self._queue.popleft()) if self._queue else None

    def assignment(self, trial_id: str) -> Assignment:
        trial = self.config.trial
        return Assignment(
            trial_id=trial_id,
            config=dict(self._configs[trial_id]),
            attempt=self._attempts.get(trial_id, 0),
            rungs=self.rungs,
            decided=self._decided(trial_id),
            checkpoint_interval=trial.checkpoint_interval,
            keep_checkpoints=trial.keep_checkpoints,
            examples=trial.examples,
            planned_steps=self.config.planned_steps(self._configs[trial_id]["num_steps"]),
            compiled=self._began_compiled(trial_id),
            session=self.session,
            fresh=self._is_fresh(trial_id),
        )

    def _is_fresh(self, trial_id: str) -> bool:
        known = self.state.trials.get(trial_id)
        return trial_id not in self._inherited and (known is None or known.started is None)

    def _began_compiled(self, trial_id: str) -> bool | None:
        """A trial goes on with the kernels that it began with: others round differently."""
        known = self.state.trials.get(trial_id)
        return None if known is None else known.compiled

    def _decided(self, trial_id: str) -> int:
        """The highest rung that let the trial pass. Its checkpoint may lie on a rung that was never asked about."""
        known = self.state.trials.get(trial_id)
        return known.decision.rung or 0 if known is not None and known.decision is not None else 0

    # -- what happened

    def write(self, event: str, **fields: Any) -> None:
        self.journal.write(event, **fields)

    def poll(self) -> SweepState:
        """The state with all that was written since, by any process."""
        for events in self.reader.chunks():
            self.state.apply_all(events)
        return self.state

    def catch_up(self) -> None:
        """End what has finished since the books were opened: the engines of a driver that was killed live some seconds
        longer."""
        self.poll()
        for trial_id in self._queue:
            known = self.state.trials.get(trial_id)
            if trial_id not in self.ended and known is not None and known.outcome is not None:
                self._count_known(trial_id, known.outcome)
        self._queue = deque(t for t in self._queue if t not in self.ended)

    def end(self, trial_id: str, outcome: str, report: Report | None = None, error: str | None = None) -> None:
        """A trial will not run again. `report` is its last one, if it gave any."""
        if trial_id in self.ended:
            return
        self._write_end(trial_id, outcome, report.step if report else 0, error)
        if report is None:
            self.poll()
            known = self.state.trials[trial_id]
            metrics, events = known.last_metrics, known.events
        else:
            metrics, events = report.metrics, report.events
        self._count(trial_id, outcome, metrics, events)
        if report is None or report.outcome is None:  # else who trained it does so, now that its end was heard
            self._checkpoints(trial_id).settle()  # last: should it fail, the books are right

    def fail(self, trial_id: str, error: str, *, fault: str, alone: bool) -> None:
        """An attempt of a trial failed; `failures` says whether it is tried again (see there for the arguments). One
        that had finished before anybody could be told has ended."""
        known = self.poll().trials[trial_id]
        if known.outcome is not None:
            self._count_known(trial_id, known.outcome)
            self._checkpoints(trial_id).settle()
            return
        attempt = self._attempts.get(trial_id, 0)
        seated = known.started is not None and known.attempt == attempt
        self.write("failure", trial_id=trial_id, attempt=attempt, error=error[:2000], fault=fault)
        self._attempts[trial_id] = attempt + 1
        # A process of its own is the trial's alone from its birth; in an engine others may have been before it.
        own_process = self.config.execution == "process"
        self.failures.count(
            trial_id,
            error,
            fault=fault,
            started=own_process or seated,
            alone=alone or own_process,
            progress=known.last_step,
        )

    def clear(self, trial_id: str) -> None:
        """A trial that was suspected of killing engines leaves the one where it was alone, and goes on elsewhere."""
        self.failures.clear(trial_id)
        self._attempts[trial_id] = self._attempts.get(trial_id, 0) + 1

    def tidy(self) -> None:
        """Once nothing trains any more: settle the checkpoints of what has ended, a crash having kept that from it."""
        background = Background(0 if self.folder.store.is_local else WRITERS)
        for trial_id, names in names_by_trial(self.folder.store).items():
            files = self._checkpoints(trial_id)
            if trial_id in self.ended and not files.is_settled(names):  # of 100,000 that are kept few are not
                background.do(trial_id, files.settle)
        background.close()

    def close(self) -> None:
        self.journal.close()

    def _write_end(self, trial_id: str, outcome: str, step: int, error: str | None = None) -> None:
        known = self.state.trials.get(trial_id)
        more = {"error": error, "round": known.round if known is not None and known.round else None}
        self.write("end", trial_id=trial_id, outcome=outcome, step=step, **_given(**more))

    def _checkpoints(self, trial_id: str) -> TrialCheckpoints:
        return TrialCheckpoints(self.folder.store, trial_id, self.config.trial.keep_checkpoints)

    def _propose(self) -> None:
        proposal = self.configurations.propose()
        if proposal is not None:
            self.journal.write_many([proposal.suggested(), *proposal.trial_events()])
            self.configurations.take(proposal)
            self._enqueue(proposal)

    def _enqueue(self, proposal: Proposal) -> None:
        new = {trial.id: self._compact(trial.config.model_dump()) for trial in proposal.numbered}
        self._configs |= new
        self._queue.extend(new)

    def _count(
        self, trial_id: str, outcome: str, metrics: Mapping[str, float | None], events: Mapping[str, Any]
    ) -> None:
        self.ended[trial_id] = outcome
        self._attempts.pop(trial_id, None)
        self._configs.pop(trial_id)
        index = self.configurations.of_trial[trial_id]
        self.configurations.worth.count(
            index,
            outcome,
            trials=len(self.configurations.members[index]),
            metrics=metrics,
            events=events,
        )

    def _count_known(self, trial_id: str, outcome: str) -> None:
        """Count what ended before this driver could be told."""
        known = self.state.trials[trial_id]
        if not known.end_written:
            # The trainer said that it had finished; the driver died before it wrote so.
            self._write_end(trial_id, outcome, known.last_step)
        self._count(trial_id, outcome, known.last_metrics, known.events)

    # -- replay

    def _replay(self) -> None:
        """Open the books with what the journal says. Nothing is written but what a crash kept from being written."""
        self.poll()
        self.configurations.replay_begins(self.state.trials)
        for index, known in self.state.configurations.items():
            proposal = self.configurations.replay(known, self.state.trials)
            if known.suggested is None and proposal.parameters:
                self.journal.write_many([proposal.suggested()])
            if known.value_of is None and known.trial_ids and not proposal.trials:
                raise ExecutionError(
                    f"the trials of configuration {index}, which the journal has, cannot be made any more",
                    hint="Has the data that they learn been moved or changed?",
                )
            self._enqueue(proposal)
            self.journal.write_many(proposal.trial_events(known=self.state.trials))
            for trial in proposal.numbered:
                self._replay_trial(trial.id)
        late = self.configurations.late()
        for proposal in late:
            self.journal.write_many(proposal.trial_events())
            self._enqueue(proposal)
        self.configurations.find_lost(self.state.configurations.keys())
        self.catch_up()
        self._inherited = frozenset(self._queue) - {trial.id for proposal in late for trial in proposal.numbered}

    def _replay_trial(self, trial_id: str) -> None:
        known = self.state.trials.get(trial_id)
        if known is None:
            return
        self._attempts[trial_id] = known.attempt + 1 if known.started is not None else 0
        if known.round:
            self.rounds[trial_id] = known.round
        if known.outcome == "failed" and self.retry_failed:
            self.rounds[trial_id] = known.round + 1
            self.write("again", trial_id=trial_id, round=self.rounds[trial_id])
        elif known.outcome is not None:
            self._count_known(trial_id, known.outcome)
        elif known.stop is not None and not known.audited:
            # The driver died between the decision and its effect; a rung decides only once.
            self._write_end(trial_id, "pruned", known.stop.step)
            self._count(trial_id, "pruned", known.last_metrics, known.events)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
