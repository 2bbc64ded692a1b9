"""One trial in a folder of its own, without Ray.

The folder is that of a sweep with a single configuration: `grokray status` and `grokray collect` work on it, and its
sweep.yaml is a search space that `grokray sweep` runs to the same curves.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from grokray.arguments import check_switches
from grokray.cli.train_folder import folder_of_train
from grokray.engine.engine import Measurement
from grokray.records.collect import collect, require_all
from grokray.records.folder import SweepFolder
from grokray.records.journal import JournalWriter
from grokray.records.state import SweepState
from grokray.records.trial_state import TrialState
from grokray.sweep import inputs
from grokray.sweep.assignment import COMPILING, Assignment, Report
from grokray.sweep.config import SweepConfig
from grokray.sweep.interruption import interruptible
from grokray.sweep.measure_file import MeasureFile
from grokray.sweep.sections import DEFINING, Tracking
from grokray.sweep.tracked import check_tracking, tracked
from grokray.sweep.trainer import Trainer
from grokray.sweep.versions import made_with
from grokray.trial import SEEDS, TrialConfig

KEPT = ("checkpoint_interval", "keep_checkpoints", "examples")  # of a Run, and keys of `trial` in a search space


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a trial is to be trained; `command` is what its folder remembers."""

    config: TrialConfig
    out: str
    device: str
    compile: Literal["auto", "on", "off"]
    threads: int
    checkpoint_interval: int
    command: str
    tracking: Tracking = Tracking()
    keep_checkpoints: str = "last+best"
    examples: int = 0
    measures: MeasureFile | None = None


class Watcher(Protocol):
    def started(self, step: int, folder: str) -> None: ...
    def measured(self, m: Measurement) -> None: ...
    def fault(self, measure: str, error: str) -> None: ...


def train_in(run: Run, watcher: Watcher) -> TrialState:
    """Train to the end, or from the last checkpoint to the end, or until interrupted; what is known then.

    A trial that has ended before is not trained again. Raises FolderError if the folder holds something else,
    FolderBusy if another process works there.
    """
    import torch

    check_switches()
    check_tracking(run.tracking, _say)
    torch.set_num_threads(run.threads)
    own = {"measure_file": None if run.measures is None else run.measures.name}
    sweep = as_sweep(run.config, run.tracking, {name: getattr(run, name) for name in KEPT} | own)
    meta = {"versions": made_with(), "command": run.command}
    folder = folder_of_train(run.out, sweep, run.config, meta)
    with folder.lock():
        state, damaged = folder.folded()
        require_all(folder, state, damaged)
        inputs.keep(folder.store, sweep)
        known = state.trials.get(run.config.id)
        with tracked(folder, run.tracking, _say, group=None):
            if known is None or not known.done:
                with folder.writer("driver") as journal:
                    session = _announce(journal, run, sweep, state, meta | {"fingerprint": folder.fingerprint})
                    if not _train(run, folder, journal, known, watcher, session):
                        journal.write("interrupt", session=session)
                state = folder.state()
        collect(folder, state)
    return state.trials[run.config.id]


def as_sweep(
    config: TrialConfig, tracking: Tracking | None = None, kept: Mapping[str, Any] | None = None
) -> SweepConfig:
    """The search space that holds this trial alone. `kept` are keys of `trial` that do not define it."""
    fields = {name: value for name, value in config.model_dump().items() if value is not None}
    seeds = {fields[name] for name in SEEDS}
    if len(seeds) == 1:
        fields = {name: value for name, value in fields.items() if name not in SEEDS}
    return SweepConfig.model_validate(
        {
            "name": config.id,
            "method": "grid",
            "seeds": [seeds.pop()] if len(seeds) == 1 else [0],
            "parameters": {n: {"value": v} for n, v in fields.items() if n not in DEFINING},
            "trial": {**{name: fields[name] for name in DEFINING if name in fields}, **(kept or {})},
            "tracking": tracking or Tracking(),
        }
    )


def _announce(journal: JournalWriter, run: Run, sweep: SweepConfig, state: SweepState, meta: dict[str, Any]) -> str:
    """What the driver of a sweep would write before its trials start; the session's name."""
    session = f"{time.time_ns():x}"
    events: list[dict[str, Any]] = [{"event": "sweep", "session": session, "number": len(state.sessions) + 1, **meta}]
    if run.config.id not in state.trials:
        choice = next(sweep.grid())
        trial = {"trial_id": run.config.id, "index": 0, "configuration": 0, "config": run.config.model_dump()}
        events.append({"event": "suggest", "configuration": 0, "parameters": choice})
        events.append({"event": "trial", "seed": sweep.seeds[0], **trial})
    journal.write_many(events)
    return session


def _train(
    run: Run, folder: SweepFolder, journal: JournalWriter, known: TrialState | None, watcher: Watcher, session: str
) -> bool:
    """Whether the trial has ended, rather than been interrupted."""
    trial_id = run.config.id
    assignment = Assignment(
        trial_id=trial_id,
        config=run.config.model_dump(),
        attempt=known.attempt + 1 if known and known.started is not None else 0,
        compiled=known.compiled if known else None,
        session=session,
        **{name: getattr(run, name) for name in KEPT},
    )
    trainer = Trainer(
        folder.store,
        role="train",
        device=run.device,
        compile=run.compile,
        measures=run.measures,
        on_measurement=watcher.measured,
        on_fault=watcher.fault,
    )
    try:
        interrupted = threading.Event()
        with interruptible(interrupted.set):
            watcher.started(trainer.start(assignment), run.out)
            if trainer.engine.building:
                _say(COMPILING)
            reports: list[Report] = []
            while trainer.trials and not interrupted.is_set():
                reports = trainer.turn(interrupted.is_set)
            trainer.stop(trial_id, save=not reports)
        for report in reports:
            journal.write("end", trial_id=trial_id, outcome=report.outcome, step=report.step)
        return bool(reports)
    finally:
        trainer.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
