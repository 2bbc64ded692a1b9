"""Which trial `grokray train` trains: that of the options, that of a folder to go on with, or one of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grokray.cli.train_folder import space_of, trial_of_train
from grokray.cli.train_options import trial_from
from grokray.errors import ConfigError, FolderError, Problem
from grokray.sweep.sections import Tracking
from grokray.tasks.problems import names_in
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    from grokray.records.folder import SweepFolder
    from grokray.records.trial_state import TrialState


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A trial of a sweep. `outcome` is None while it is unfinished."""

    folder: str
    trial_id: str
    outcome: str | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """The trial and its folder, and what is taken where no option says otherwise."""

    config: TrialConfig
    out: str
    device: str = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    checkpoint_interval: int = 1000
    keep_checkpoints: str = "last+best"
    examples: int = 0
    measure_file: str | None = None
    tracking: Tracking = Tracking()
    repeated: Repeated | None = None


def source_of(
    parameters: Mapping[str, Any], *, resume: str | None, from_trial: tuple[str, str] | None, out: str | None
) -> Source:
    """Raises ConfigError for options that do not go together, FolderError for a folder without such a trial."""
    if resume is None and from_trial is None:
        config = trial_from(parameters)
        return Source(config=config, out=default_folder(config) if out is None else out)
    option = "--resume" if resume is not None else "--from-trial"
    beside = [f"--{name}" for name in parameters]
    beside += ["--from-trial"] if resume is not None and from_trial is not None else []
    beside += ["--out"] if resume is not None and out is not None else []
    if beside:
        verb = "goes on with" if resume is not None else "repeats"
        message = f"{option} {verb} a trial as it is, so {', '.join(beside)} must be left out"
        raise ConfigError([Problem(message=message)])
    return _resumed(resume) if resume is not None else _of_sweep(*(from_trial or ("", "")), out)


def default_folder(config: TrialConfig) -> str:
    return f"results/train/{config.id}"


def _resumed(uri: str) -> Source:
    from grokray.records.folder import SweepFolder
    from grokray.sweep.inputs import copy_of_measures

    folder = SweepFolder.open(uri)
    space = space_of(folder)
    config = trial_of_train(space)
    if config is None:
        text = f"{uri} holds a sweep, but must be a folder of grokray train"
        raise FolderError(text, hint="grokray sweep FILE --out DIR goes on with a sweep")
    known = folder.state().trials.get(config.id)
    if known is not None and known.done:
        raise FolderError(f"the trial in {uri} has ended: {known.outcome}, at step {known.last_step:,}")
    trial = space.trial
    return Source(
        config=config,
        out=uri,
        checkpoint_interval=trial.checkpoint_interval,
        keep_checkpoints=trial.keep_checkpoints,
        examples=trial.examples,
        measure_file=copy_of_measures(folder.store),
        tracking=space.tracking,
    )


def _config_of(trial: TrialState, folder: SweepFolder, uri: str) -> TrialConfig:
    from pydantic import ValidationError

    from grokray.sweep.inputs import at_hand

    text = f"trial {trial.trial_id} of {uri} is of another version"
    try:
        config = TrialConfig.model_validate(at_hand(folder.store, trial.config))
    except ValidationError as error:
        raise FolderError(f"{text}: this one cannot read {names_in(error.errors())}") from error
    if config.id != trial.trial_id:
        raise FolderError(f"{text}: here its config means {config.id}")
    return config


def _of_sweep(uri: str, prefix: str, out: str | None) -> Source:
    from grokray.records.folder import SweepFolder
    from grokray.records.tables import require_journal
    from grokray.sweep.kept import full_id

    folder = SweepFolder.open(uri)
    require_journal(folder, "how a trial was trained")
    state = folder.state()
    trial = state.trials[full_id(prefix, state.trials, f"trial in {uri}")]
    if not trial.measurements:
        raise FolderError(
            f"trial {trial.trial_id} of {uri} has not been measured yet: there is nothing to compare with"
        )
    config = _config_of(trial, folder, uri)
    target = default_folder(config) if out is None else out
    if folder.store == type(folder.store).from_uri(target):
        raise FolderError(f"{target} holds the trial that is to be repeated", hint="--out DIR names another folder")
    space = space_of(folder)
    # In a sweep a trial is on a GPU only if it asks for a share of one.
    on_cpu = space.device == "cpu" or (space.device == "auto" and not space.resources.gpu)
    return Source(
        config=config,
        out=target,
        device="cpu" if on_cpu and trial_of_train(space) is None else "auto",
        compile=space.compile if trial.compiled is None else "on" if trial.compiled else "off",
        repeated=Repeated(folder=uri, trial_id=trial.trial_id, outcome=trial.outcome),
    )
