from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from grokray.sweep.tracked import TrialFold
from grokray.tracking.logged import NO_ROUNDS, Logged
from grokray.tracking.trials import TrialTracker


@pytest.fixture
def tracker_on(tmp_path: Path) -> Iterator[Callable[..., TrialTracker]]:
    """Makes trackers; those of one test share what was logged, as the sessions of one folder do."""
    made = []

    def make(backend, rounds: Mapping[str, int] = NO_ROUNDS, **options) -> TrialTracker:
        made.append(TrialTracker(backend, Logged(tmp_path / "logged.txt", rounds), TrialFold, **options))
        return made[-1]

    yield make
    for tracker in made:
        tracker.logged.close()


@pytest.fixture
def wandb_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """W&B's client without this machine's settings, keys and caches: its home is a folder of its own."""
    import wandb

    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(home))
    # What the tracker sets if nobody has: so that it is unset again.
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    wandb.teardown()  # it remembers the settings that it has read
    yield home
    wandb.teardown()
