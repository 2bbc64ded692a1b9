"""The ledger as Tune's searcher and callback: Tune asks it for trials, and tells it what became of them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from grokray.errors import FolderError
from grokray.sweep.ledger import Ledger
from grokray.sweep.messages import Cleared, WorkerOptions, report_of, tune_config
from grokray.sweep.processes import Processes
from grokray.sweep.unsaved import Unsaved
from grokray.wording import first_line

GIVEN_UP = "given_up"
OCCASION_S = 30.0
OF_THE_FOLDER = f"{FolderError.__name__}: "
ONCE_IT_CAN = "Run the same command again once the folder can be used: trials go on from their last checkpoints."
# In Ray's messages. Of engines with trials the pool kills those alone to which the contact was lost.
OF_A_LOST_NODE = ("node has died", "NodeDiedError", "killed by `ray.kill`")


class LedgerSearcher(Unsaved, Searcher):
    """Proposes the ledger's next trial. What a trial was worth reaches the ledger through `LedgerCallback`."""

    def __init__(self, ledger: Ledger, options: WorkerOptions, *, max_trials: int) -> None:
        super().__init__(metric="step", mode="max")
        self._ledger, self._left = ledger, max_trials
        self._options = json.dumps(asdict(options))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        assignment = self._ledger.next_assignment() if self._left > 0 else None
        if assignment is None:
            return Searcher.FINISHED
        self._left -= 1
        # A seat needs no options, and Tune writes what it is given where everybody can read it.
        process = self._ledger.config.execution == "process"
        return tune_config(assignment) | ({"options": self._options} if process else {})

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        """Tune's snapshots are not used to resume."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune's snapshots are not used to resume."""


class LedgerCallback(Unsaved, Callback):
    """`on_tick` is called at every round of Tune's loop. `error` is what kept the books, or the sweep's folder, from
    being written: Tune would take it for a fault of the trial, and run the trial again for ever. `on_error` is told.

    So often in a row, `folder_faults`, may the folder be unusable before a trial ends: on a cluster it may be the fault
    of one node, or of a store that comes back, and others take over. One machine has one way to the folder.
    `processes` are those of trials that have one each.
    """

    def __init__(
        self,
        ledger: Ledger,
        on_tick: Callable[[], None],
        on_error: Callable[[], None] = lambda: None,
        *,
        folder_faults: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self._processes = processes
        self._ledger, self._on_tick, self._on_error = ledger, on_tick, on_error
        self._folder_faults, self._occasions, self._last_fault = folder_faults, 0, -math.inf
        self.error: Exception | None = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._act(self._on_tick)
        if self._processes is not None:
            self._act(self._processes.tend)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if self._processes is not None:
            self._act(self._processes.heard, trial.config["grokray_trial"], result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._act(self._complete, trial)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """An attempt failed, and Tune will start the trial again with the config that we leave here."""
        self._act(self._recover, trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune itself gave up on the trial."""
        self._act(lambda: self._ledger.end(trial.config["grokray_trial"], "failed", error=self._fault(trial)[1]))

    def _act(self, act: Callable[..., None], *args: Any) -> None:
        if self.error is None:
            try:
                act(*args)
            except Exception as error:
                self.error = error
                self._on_error()

    def _complete(self, trial: Trial) -> None:
        trial_id = trial.config["grokray_trial"]
        if self._processes is not None:
            self._processes.gone(trial_id)
        if GIVEN_UP in trial.config:
            self._ledger.end(trial_id, "failed", error=trial.config[GIVEN_UP])
            return
        self._occasions = 0
        report = report_of(trial.last_result)
        outcome = report.outcome if report is not None and report.outcome else "pruned"
        self._ledger.end(trial_id, outcome, report)

    def _recover(self, trial: Trial) -> None:
        trial_id, was_alone = trial.config["grokray_trial"], trial.config.pop("alone", None) is not None
        if isinstance(getattr(_last_error(trial), "cause", None), Cleared):
            self._ledger.clear(trial_id)
        else:
            self._count_failure(trial, alone=was_alone)
        if trial_id in self._ledger.ended:
            trial.config[GIVEN_UP] = "it had finished"  # so Tune is done with it, and the books do not change
            return
        ledger = self._ledger
        again = tune_config(
            ledger.assignment(trial_id),
            given_up=ledger.failures.given_up(trial_id),
            alone_until=ledger.failures.alone_until(trial_id, ledger.config.trial.checkpoint_interval),
        )
        trial.config.update(again)

    def _count_failure(self, trial: Trial, *, alone: bool) -> None:
        fault, error = self._fault(trial)
        self._ledger.fail(trial.config["grokray_trial"], error, fault=fault, alone=alone)
        if fault == "folder":
            self.count_folder_fault(error, time.monotonic())

    def _fault(self, trial: Trial) -> tuple[str, str]:
        """As `_fault`; of a process that was ended, why."""
        fault, error = _fault(trial)
        why = None if self._processes is None else self._processes.gone(trial.config["grokray_trial"])
        return ("engine", why) if why is not None else (fault, error)

    def count_folder_fault(self, error: str, now: float) -> None:
        """All trials of an engine meet it at once: that is one occasion."""
        if now - self._last_fault > OCCASION_S:
            self._occasions += 1
        self._last_fault = now
        if self._occasions > self._folder_faults:
            raise FolderError(error.removeprefix(OF_THE_FOLDER), hint=ONCE_IT_CAN)


class StopWhen(Unsaved, Stopper):
    """Ends the whole run as soon as `condition` holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._condition()


def _fault(trial: Trial) -> tuple[str, str]:
    """Whose fault a failure was, and its text in one line or few."""
    error = _last_error(trial)
    if (lost := _lost_node(error)) is not None:
        return "node", lost
    if isinstance(error, RayTaskError):
        text = f"{type(error.cause).__name__}: {error.cause}" if error.cause else _lines(error)[-1]
        return _of_the_folder(text) or "trial", text
    if isinstance(error, RayActorError):
        lines = _lines(error)
        # A process of its own that fails while it is set up: the last line says why.
        text, whose = (lines[-1], "trial") if "creation task" in lines[0] else (lines[0], "engine")
        return _of_the_folder(text) or whose, text
    path = trial.error_file
    return "engine", Path(path).read_text().strip()[-500:] if path and Path(path).exists() else "unknown"


def _of_the_folder(text: str) -> str | None:
    return "folder" if text.startswith(OF_THE_FOLDER) else None


def _lost_node(error: Exception | None) -> str | None:
    """What Ray says if a node died, or the contact to it was lost: of a mere process' death it would know."""
    if isinstance(error, ActorUnavailableError):
        return first_line(error)
    lines = _lines(error) if isinstance(error, RayActorError) else []
    return next((line for line in lines if any(words in line for words in OF_A_LOST_NODE)), None)


def _last_error(trial: Trial) -> Exception | None:
    """Tune's own `get_pickled_error` looks into its storage, where the file never arrives: no trial of ours syncs."""
    path = trial.pickled_error_file
    return cloudpickle.loads(Path(path).read_bytes()) if path and Path(path).exists() else None


def _lines(error: Exception) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]
