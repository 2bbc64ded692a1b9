"""Which folders are those of `grokray train`: a search space of one trial, called by that trial's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grokray.errors import ConfigError, OtherSearchSpace
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    from grokray.records.folder import SweepFolder
    from grokray.sweep.config import SweepConfig


def space_of(folder: SweepFolder) -> SweepConfig:
    from grokray.records.folder import SWEEP_YAML
    from grokray.sweep.inputs import with_copies
    from grokray.sweep.load import load_text

    space = load_text(folder.sweep_yaml, folder.store.shown(SWEEP_YAML), "sweep", try_out=False)
    return with_copies(folder.store, space)


def trial_of_train(space: SweepConfig) -> TrialConfig | None:
    """The trial of a search space that `grokray train`, of whatever version, has written; None where something else
    has."""
    if space.method != "grid" or space.num_configurations() != 1 or len(space.seeds) != 1:
        return None
    config = space.trial_config(next(space.grid()), space.seeds[0])
    return config if space.name == config.id else None


def folder_of_train(out: str, sweep: SweepConfig, config: TrialConfig, meta: Mapping[str, Any]) -> SweepFolder:
    """The folder of this trial alone, made anew or gone on with. To an older version, which knew fewer parameters and
    wrote fewer down, this is another search space: what it made goes by its own."""
    from grokray.records.folder import SweepFolder

    try:
        return SweepFolder.create_or_open(out, sweep.to_yaml(), sweep.fingerprint(), meta)
    except OtherSearchSpace:
        old = SweepFolder.open(out)
        if not _holds(old, config):
            raise
        return SweepFolder.create_or_open(out, sweep.to_yaml(), old.fingerprint, meta)


def _holds(folder: SweepFolder, config: TrialConfig) -> bool:
    try:
        there = trial_of_train(space_of(folder))
    except ConfigError:  # whatever it is
        return False
    return there is not None and there.id == config.id
