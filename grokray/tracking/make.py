"""The trackers that the settings ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from grokray.tracking.base import MakeFold, Settings, Tracker
from grokray.tracking.logged import NO_ROUNDS, Logged
from grokray.tracking.tensorboard import TensorBoardBackend, writer_class
from grokray.tracking.trials import TrialTracker
from grokray.tracking.wandb_tracker import WandbBackend, resolve_mode


def check(settings: Settings) -> str | None:
    """ConfigError for what cannot work: no key, no library. A remark for the user, if there is one to make."""
    if settings.tensorboard:
        writer_class()
    mode = resolve_mode(settings)
    if mode == "offline" and settings.mode == "auto" and "WANDB_MODE" not in os.environ:
        sends = "`wandb sync DIR/wandb/offline-run-*` sends them"
        return f"W&B: no API key is configured, so runs are kept in the folder's wandb/; {sends}"
    return None


def make_trackers(
    settings: Settings,
    folder: Path,
    make_fold: MakeFold,
    *,
    group: str | None,
    say: Callable[[str], None],
    rounds: Mapping[str, int] = NO_ROUNDS,
) -> list[Tracker]:
    """Trackers that write below `folder`, after `check`. W&B's client is not imported before it has to write. For
    `rounds` see `Logged`."""
    trackers: list[Tracker] = []
    mode = resolve_mode(settings)
    if mode != "disabled":
        place = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, (mode, settings.entity, settings.project))))
        logged = Logged(folder / "wandb" / f"logged-{place}.txt", rounds)
        trackers.append(TrialTracker(WandbBackend(settings, mode, folder, group, say), logged, make_fold))
    if settings.tensorboard:
        logged = Logged(folder / "tensorboard" / "logged.txt", rounds)
        trackers.append(TrialTracker(TensorBoardBackend(folder / "tensorboard"), logged, make_fold, max_live=50))
    return trackers
