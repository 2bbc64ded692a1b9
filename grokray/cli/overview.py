"""A sweep's folder at a glance. Only its journal is read, so it may be running, interrupted or ended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from grokray.cli.holder import holder_of
from grokray.cli.tables import audit, best_table, failures, repeats, tally, unmeasured, varying_parameters
from grokray.cli.wording import duration
from grokray.events import OUTCOMES, PHASES
from grokray.records.collect import lost
from grokray.records.folder import SWEEP_YAML, SweepFolder
from grokray.records.holder import Holder
from grokray.records.state import SweepState
from grokray.records.tables import require_journal
from grokray.records.trial_state import Session, TrialState
from grokray.sweep.config import SweepConfig
from grokray.sweep.load import load_text
from grokray.sweep.progress import Progress, progress_of
from grokray.sweep.space import MAX_FRUITLESS
from grokray.wording import count

AHEAD_S = 60.0  # so far ahead a clock is wrong, rather than this machine's a little behind


@dataclass(frozen=True, kw_only=True)
class Overview:
    """`last_activity` is in unix seconds, None where nothing happened yet; `holder` is who works there now.
    `silent_engines` do not answer, or do not go on, known since (unix seconds).
    `lost_rows` of the tables are not in the journal any more, and of `cut_short` trials it lacks the last measurements.
    """

    folder: str
    config: SweepConfig
    progress: Progress
    phases: dict[str, int]
    sessions: list[Session]
    interrupted: bool
    holder: Holder | None
    last_activity: float | None
    silent_engines: dict[str, float]
    damaged_lines: int
    lost_rows: int
    cut_short: int


def overview(uri: str) -> Overview:
    """FolderError if there is no sweep, or none but its tables, ConfigError if sweep.yaml cannot be read any more."""
    folder = SweepFolder.open(uri)
    require_journal(folder, "how a sweep is doing")
    config = load_text(folder.sweep_yaml, folder.store.shown(SWEEP_YAML), "sweep", try_out=False)
    state, reader, last = SweepState(), folder.reader(), None
    for chunk in reader.chunks():
        state.apply_all(chunk)
        last = max([event["t"] for event in chunk] + ([] if last is None else [last]), default=None)
    sessions, holder = state.sessions, holder_of(folder)
    # What an earlier session left begun waits, where somebody goes on. Journals of before sessions were numbered do not
    # tell which one started a trial.
    last_session = sessions[-1].session if holder and sessions and sessions[-1].number else None
    return Overview(
        folder=str(folder.store),
        config=config,
        progress=progress_of(state, trials_in_all(config, state), metric=config.metrics[0], session=last_session),
        phases=dict(Counter(t.phase for t in state.trials.values() if t.phase)),
        sessions=sessions,
        interrupted=bool(sessions) and sessions[-1].session in state.interrupted,
        holder=holder,
        last_activity=last,
        silent_engines=state.silent_engines if holder else {},
        damaged_lines=reader.damaged,
        lost_rows=max(lost(folder, state) - reader.damaged, 0),
        cut_short=sum(trial.cut_short for trial in state.trials.values()),
    )


def trials_in_all(config: SweepConfig, state: SweepState) -> int:
    """Those known, those still to be proposed, and those of seeds that have come and that no session has begun yet. A
    proposal that is impossible or a repetition makes no trials."""
    own = [index for index, c in state.configurations.items() if c.trial_ids]
    proposed = len(state.configurations)
    given_up = sum(index > max(own, default=-1) for index in state.configurations) >= MAX_FRUITLESS
    at_end = config.method == "grid" and proposed >= config.num_configurations()
    left = 0 if given_up or at_end else config.num_configurations() - len(own)
    begun = state.seeds or {str(trial.seed) for trial in state.trials.values()}
    late = len(own) * len({str(seed) for seed in config.seeds} - begun)
    return len(state.trials) + late + max(left, 0) * len(config.seeds)


def show(console: Console, found: Overview) -> None:
    p = found.progress
    started = "running" if found.holder else "begun"
    console.print(Text(f"{found.config.name} in {found.folder}"), soft_wrap=True)
    console.print(Text(f"{_state(found)}, {_last(found)}"), soft_wrap=True)
    counts = {"ended": p.ended, started: p.running, "waiting": p.waiting}
    console.print(Text(f"{count(p.total, 'trial')}: {tally(counts, counts)}" if p.total else "no trials"))
    for name, since in found.silent_engines.items():
        console.print(Text(f"{name} does not go on since {_clock(since)}: what it trains waits"))
    if p.outcomes:
        console.print(Text(f"outcomes: {tally(p.outcomes, OUTCOMES)}"))
    for line in (*repeats(p), *failures(p), *unmeasured(p), *audit(p)):
        console.print(line)
    if found.phases:
        console.print(Text(f"phases: {tally(found.phases, PHASES)}"))
    console.print(Text(f"steps: {p.steps:,} in {count(len(found.sessions), 'session')}"))
    if found.damaged_lines:
        console.print(Text(f"{count(found.damaged_lines, 'line')} of the journal could not be read"))
    if found.lost_rows:
        console.print(
            Text(f"the tables hold {count(found.lost_rows, 'row')} more than the journal: a part of it is lost")
        )
    if found.cut_short:
        lacking = count(found.cut_short, "trial")
        console.print(Text(f"{lacking} without the last measurements: a part of the journal is lost"))
    if p.best:
        console.print()
        console.print(best_table(p.best, varying_parameters(found.config), console.width))


def as_plain(found: Overview) -> dict[str, Any]:
    """For `--json`: names as in trials.parquet, times in UTC."""
    p = found.progress
    return {
        "folder": found.folder,
        "name": found.config.name,
        "state": _word(found),
        "total": p.total,
        "waiting": p.waiting,
        "running": p.running,
        "ended": p.ended,
        "outcomes": p.outcomes,
        "errors": p.errors,
        "not_measured": {name: asdict(fault) for name, fault in p.faults.items()},
        "audit": asdict(p.audit),
        "phases": found.phases,
        "steps": p.steps,
        "best": [_plain_trial(trial) for trial in p.best],
        "holder": str(found.holder) if found.holder else None,
        "sessions": [{"started": _iso(s.started), "command": s.command} for s in found.sessions],
        "last_activity": None if found.last_activity is None else _iso(found.last_activity),
        "silent_engines": {name: _iso(since) for name, since in found.silent_engines.items()},
        "damaged_lines": found.damaged_lines,
        "lost_rows": found.lost_rows,
        "cut_short": found.cut_short,
    }


def _word(found: Overview) -> str:
    if found.holder:
        return "running"
    if found.progress.ended == found.progress.total:
        return "ended"
    return "interrupted" if found.interrupted else "stopped"


def _state(found: Overview) -> str:
    if found.holder:
        return f"in use by {found.holder}"
    return {"ended": "all trials have ended", "interrupted": "interrupted", "stopped": "nobody works on it"}[
        _word(found)
    ]


def _last(found: Overview) -> str:
    if found.last_activity is None:
        return "nothing has happened yet"
    ahead_s = found.last_activity - time.time()
    ahead = f" by a clock that is {duration(ahead_s)} ahead of this machine's" if ahead_s > AHEAD_S else ""
    return f"last activity {_clock(found.last_activity)}{ahead}"


def _clock(t: float) -> str:
    return f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _plain_trial(trial: TrialState) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "seed": trial.seed,
        "state": trial.state,
        "outcome": trial.outcome,
        "phase": trial.phase,
        "step": trial.last_step,
        "memorization_step": trial.events.get("memorization_step"),
        "grok_step": trial.events.get("grok_step"),
        "best_heldout_exact_match": trial.best.get("heldout_exact_match"),
        "config": dict(trial.config),
    }


def _iso(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="seconds")
