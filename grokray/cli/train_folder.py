"""Which folders are those of `grokray train`: a search space of one trial, called by that trial's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokray.errors import ConfigError, FolderError
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    from grokray.records.folder import SweepFolder
    from grokray.sweep.config import SweepConfig


def space_of(folder: SweepFolder) -> SweepConfig:
    from grokray.records.folder import SWEEP_YAML
    from grokray.sweep.load import load_text

    return load_text(folder.sweep_yaml, folder.store.shown(SWEEP_YAML), "sweep", try_out=False)


def trial_of_train(space: SweepConfig) -> TrialConfig | None:
    """The trial of a search space that `grokray train`, of whatever version, has written; None where something else
    has."""
    if space.method != "grid" or space.num_configurations() != 1 or len(space.seeds) != 1:
        return None
    config = space.trial_config(next(space.grid()), space.seeds[0])
    return config if space.name == config.id else None


def fingerprint_in(out: str, sweep: SweepConfig, config: TrialConfig) -> dict[str, str]:
    """That of the search space of this trial alone; in a folder that already holds the trial, the folder's own, as an
    older version knew fewer parameters, and wrote fewer down."""
    from grokray.records.folder import SweepFolder

    try:
        folder = SweepFolder.open(out)
        there = trial_of_train(space_of(folder))
    except (FolderError, ConfigError):  # there is none yet, or whoever opens it to work there says what is wrong
        return sweep.fingerprint()
    return folder.fingerprint if there is not None and there.id == config.id else sweep.fingerprint()
