"""The rows of the tables: a trial's final row, and its measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from grokray.events import EventTracker
from grokray.records.batch import batch_of
from grokray.records.schema import CONFIG_FIELDS, METRICS, TASKS_SCHEMA, TRIALS_SCHEMA
from grokray.records.state import SweepState
from grokray.records.trial_state import Session, TrialState
from grokray.trial import TrialConfig

_BATCH_ROWS = 4_096
# A field that an older version did not know had its default then, by the definition of a trial's id.
_DEFAULTS = {name: info.get_default() for name, info in TrialConfig.model_fields.items()}


def trials_table(state: SweepState) -> pa.Table:
    """TRIALS_SCHEMA, one row a trial, by rising index."""
    return pa.Table.from_batches(_batches(state), schema=TRIALS_SCHEMA)


def trial_row(trial: TrialState, session: Session | None) -> dict[str, Any]:
    """A trial's row; its config's fields, its outcome, its events, its final and best metrics.

    A trial that was pruned at step 900 without grokking has duration_steps 900, event_observed False and
    censor_reason `pruned`.
    """
    versions = session.versions if session else {}
    return {
        "trial_id": trial.trial_id,
        "trial_index": trial.index,
        "configuration": trial.configuration,
        "seed": trial.seed,
        "state": trial.state,
        "outcome": trial.outcome,
        "phase": trial.phase,
        **_event_columns(trial, trial.tracker, trial.events),
        **_stop_columns(trial),
        "steps_trained": trial.steps_trained,
        "wall_time_s": trial.wall_time_s,
        "compiled": trial.compiled,
        **_config_columns(trial.config),
        **{f"final_{name}": number(trial.last_metrics.get(name)) for name in METRICS},
        "best_heldout_exact_match": trial.best.get("heldout_exact_match"),
        "best_heldout_exact_match_step": trial.best.get("heldout_exact_match_step"),
        "best_heldout_loss": trial.best.get("heldout_loss"),
        "error": trial.error,
        **{f"{package}_version": versions.get(package) for package in ("grokray", "torch", "ray")},
    }


def _config_columns(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: config.get(name, _DEFAULTS[name]) for name in CONFIG_FIELDS}
    # Of no checkpoint nothing is taken: trials that draw their weights are not to be counted with those that take all.
    return found if found["initial_checkpoint"] is not None else {**found, "initial_parts": None}


def tasks_table(state: SweepState) -> pa.Table:
    """TASKS_SCHEMA, one row for each task of each multitask trial."""
    trials = (trial for trial in state.trials.values() if trial.task_metrics)
    return pa.Table.from_batches([batch_of([row for trial in trials for row in _task_rows(trial)], TASKS_SCHEMA)])


def _task_rows(trial: TrialState) -> Iterator[dict[str, Any]]:
    for task, metrics in trial.task_metrics.items():
        tracker = trial.task_tracker(task)
        yield {
            "trial_id": trial.trial_id,
            "trial_index": trial.index,
            "task": task,
            "phase": tracker.phase,
            **_event_columns(trial, tracker, trial.task_events.get(task, {})),
            **{f"final_{name}": number(metrics.get(name)) for name in METRICS},
        }


def _event_columns(trial: TrialState, tracker: EventTracker, events: Mapping[str, int]) -> dict[str, Any]:
    grok_step = events.get("grok_step")
    return {
        **events,
        "grok_delay": tracker.grok_delay,
        "duration_steps": trial.last_step if grok_step is None else grok_step,
        "event_observed": grok_step is not None,
        "censor_reason": _censor_reason(trial) if grok_step is None else None,
    }


def _stop_columns(trial: TrialState) -> dict[str, Any]:
    """A trial that was pruned before there were audits had no chance of one: its probability is 0."""
    stop = trial.stop
    return {
        "stop_step": None if stop is None else stop.step,
        "audited": trial.audited,
        "audit_probability": None if stop is None else stop.audit_probability or 0.0,
    }


def number(value: Any) -> float | None:
    """A metric's value as a column holds it; what is no number is null."""
    return float(value) if isinstance(value, int | float) else None


def _censor_reason(trial: TrialState) -> str:
    if trial.outcome is None:
        return "running"
    # "grokked" without a grok_step: the line that had it was damaged, so observation stopped before it; or, of one
    # task among several, that it lost what it had while the others got there.
    return "stopped" if trial.outcome == "grokked" else trial.outcome


def _batches(state: SweepState) -> Iterator[pa.RecordBatch]:
    sessions, trials = state.sessions, list(state.trials.values())
    for start in range(0, len(trials), _BATCH_ROWS):
        rows = [trial_row(trial, state.session_of(trial, sessions)) for trial in trials[start : start + _BATCH_ROWS]]
        yield batch_of(rows, TRIALS_SCHEMA)
