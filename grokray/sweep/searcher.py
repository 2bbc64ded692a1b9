"""The ledger as Tune's searcher and callback: Tune asks it for trials, and tells it what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from grokray.sweep.ledger import Ledger
from grokray.sweep.trainable import WorkerOptions, report_of, tune_config
from grokray.sweep.unsaved import Unsaved

GIVEN_UP = "given_up"


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
        return tune_config(assignment) | {"options": self._options}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        """Tune's snapshots are not used to resume."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune's snapshots are not used to resume."""


class LedgerCallback(Unsaved, Callback):
    """`on_tick` is called at every round of Tune's loop."""

    def __init__(self, ledger: Ledger, on_tick: Callable[[], None]) -> None:
        self._ledger, self._on_tick = ledger, on_tick

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._on_tick()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        trial_id = trial.config["grokray_trial"]
        if GIVEN_UP in trial.config:
            self._ledger.end(trial_id, "failed", error=trial.config[GIVEN_UP])
            return
        report = report_of(trial.last_result)
        outcome = report.outcome if report is not None and report.outcome else "pruned"
        self._ledger.end(trial_id, outcome, report)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """An attempt failed, and Tune will start the trial again with the config that we leave here."""
        trial_id = trial.config["grokray_trial"]
        fault, error = _fault(trial)
        self._ledger.fail(trial_id, error, fault=fault, alone="alone" in trial.config)
        faults = self._ledger.faults
        again = tune_config(
            self._ledger.assignment(trial_id), given_up=faults.given_up(trial_id), alone=faults.suspect(trial_id)
        )
        trial.config.update(again)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune itself gave up on the trial."""
        self._ledger.end(trial.config["grokray_trial"], "failed", error=_fault(trial)[1])


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
    error = trial.get_pickled_error()
    if isinstance(error, RayTaskError):
        cause = error.as_instanceof_cause()
        return "trial", f"{type(cause).__name__}: {str(error.cause)}" if error.cause else str(cause)
    if isinstance(error, RayActorError):
        return "engine", str(error).strip().splitlines()[0]
    return "engine", str(trial.get_error() or "unknown").strip()[-500:]
