"""What the trackers need of a sweep: its journal, its folder, and what a trial's events come to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from grokray.records.folder import EXAMPLES, SweepFolder
from grokray.records.rows import trial_row
from grokray.records.state import SweepState
from grokray.records.store import Store
from grokray.records.trial_state import TrialState
from grokray.sweep.sections import Tracking
from grokray.tracking.base import Event, Settings


def check_tracking(tracking: Tracking, say: Callable[[str], None]) -> None:
    """ConfigError if a tracker that is asked for cannot work here; call it before anything is written."""
    settings = Settings(**tracking.model_dump())
    if settings.wanted:
        from grokray.tracking.make import check

        if remark := check(settings):
            say(remark)


@contextmanager
def tracked(
    folder: SweepFolder,
    tracking: Tracking,
    say: Callable[[str], None],
    *,
    group: str | None,
    rounds: Callable[[], Mapping[str, int]] = dict,
) -> Iterator[None]:
    """Show the trackers the folder's journal while the block runs, and what is left of it afterwards. `rounds()` says
    how often trials that had failed were to be run again.

    The journal is read from its start: trackers know what they have written, so that whatever an earlier session left
    unwritten, by a crash or because there was no network, is made up for.
    """
    settings = Settings(**tracking.model_dump())
    if not settings.wanted:
        yield
        return
    from grokray.tracking.feeder import Feeder
    from grokray.tracking.make import make_trackers

    make_fold = partial(TrialFold, folder.store)
    here = _local_folder(folder)
    if not folder.store.is_local:
        say(f"trackers keep their files in {here} of this machine")
    trackers = make_trackers(settings, here, make_fold, group=group, say=say, rounds=rounds())
    reader = folder.reader()
    feeder = Feeder(reader.chunks, trackers, say, due=lambda: reader.due)
    feeder.start()
    try:
        yield
    finally:
        feeder.close()


class TrialFold:
    """One trial's events, folded as the whole journal is: a state that holds this trial alone."""

    def __init__(self, store: Store | None = None) -> None:
        self._state, self._store = SweepState(), store
        self.trial_id: str | None = None
        self.end_step = 0

    def apply(self, event: Event) -> None:
        self._state.apply(event)
        self.trial_id = event.get("trial_id") or self.trial_id
        if event["event"] in ("end", "finish"):
            self.end_step = max(self.end_step, event.get("step") or 0)

    @property
    def _trial(self) -> TrialState | None:
        return next(iter(self._state.trials.values()), None)

    @property
    def config(self) -> dict[str, Any] | None:
        return dict(self._trial.config) if self._trial else None

    @property
    def index(self) -> int | None:
        return self._trial.index if self._trial else None

    @property
    def ended(self) -> bool:
        return self._trial is not None and self._trial.done

    @property
    def run_again(self) -> bool:
        return self._trial is not None and self._trial.round > 0

    @property
    def last_step(self) -> int:
        return self._trial.last_step if self._trial else 0

    def row(self) -> dict[str, Any]:
        assert self._trial is not None
        return trial_row(self._trial, self._state.session_of(self._trial))

    def examples(self) -> list[dict[str, Any]]:
        name = f"{EXAMPLES}/{self.trial_id}.jsonl"
        if self._store is None or not self._store.exists(name):
            return []
        return [json.loads(line) for line in self._store.read_bytes(name).splitlines()]


def _local_folder(folder: SweepFolder) -> Path:
    """Trackers write files as they go, which no object store can: those of s3://bucket/sweep lie on the driver's own
    disk, in results/tracking/bucket/sweep."""
    if folder.store.is_local:
        return folder.store.local_path()
    return Path("results", "tracking", *str(folder.store).partition("://")[2].strip("/").split("/"))
