"""A checkpoint by its file, or by a folder and which of its checkpoints; and the trained model in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokray.arguments import a_path, start_of_id
from grokray.errors import CheckpointError, ConfigError, Problem
from grokray.records.folder import CHECKPOINTS, SweepFolder
from grokray.records.store import Store
from grokray.records.uri import split_last
from grokray.sweep.checkpoints import CheckpointFile, TrialCheckpoints, trials_with_checkpoints
from grokray.wording import show

if TYPE_CHECKING:
    from grokray.engine.checkpoint import Checkpoint
    from grokray.engine.restored import Restored

HINT = "grokray train keeps the last and the best checkpoint; a sweep with trial.keep_checkpoints: last+best"
SHOWN = 3
MOST_DIGITS = 18  # of a step; Python reads no number of thousands


def load_model(
    path: str | Path, *, trial: str | None = None, which: str | int = "last", device: str = "cpu"
) -> Restored:
    """A trained model and what it was trained on, see docs/checkpoints.md.

    `path` is a checkpoint's file, or the folder or URI of a sweep or of one trial. In a folder `trial` is the id, or
    how it begins, and `which` is "last", "best", the step of a checkpoint that was kept, or 0, before training: that
    can be had of every trial of which any was kept. `device` is cpu, cuda,
    such as cuda:1, or auto: cuda where there is a GPU. Raises CheckpointError where there is none, or a damaged one;
    FolderError for a folder that is no sweep's; ConfigError where it is not clear which trial is meant, or the device
    is not there.
    """
    from grokray.engine.device import choose_device
    from grokray.engine.restored import restored

    chosen = choose_device(str(device))
    return restored(load_checkpoint(path, trial=trial, which=str(which)), chosen)


def load_models(path: str | Path, *, trial: str | None = None, device: str = "cpu") -> Iterator[Restored]:
    """A trial's models along its training: before the first step, and at each step of which a checkpoint was kept.

    For measures of your own: `[(m.step, measure(m.model)) for m in grokray.load_models("out", trial="4e4c")]`. `path`
    is a folder or URI; `keep_checkpoints: all` keeps one every `checkpoint_interval` steps. Each is loaded when it is
    asked for. Raises as load_model does.
    """
    from grokray.engine.device import choose_device

    chosen, loads = choose_device(str(device)), kept_checkpoints(path, trial=trial)
    return _models(loads, chosen)


def _models(loads: Sequence[Callable[[], Checkpoint | None]], device: str) -> Iterator[Restored]:
    from grokray.engine.restored import config_of, restored
    from grokray.sweep.initial import first_checkpoint

    seen = False
    for load in loads:
        if (checkpoint := load()) is None:
            continue
        if not seen and checkpoint.step > 0:
            yield restored(first_checkpoint(config_of(checkpoint)), device)
        seen = True
        yield restored(checkpoint, device)


def load_checkpoint(path: str | Path, *, trial: str | None = None, which: str = "last") -> Checkpoint:
    """Raises CheckpointError where there is none, or a damaged one; FolderError for a folder that is no sweep's."""
    if which not in ("last", "best") and not (which.isdecimal() and len(which) <= MOST_DIGITS):
        raise ConfigError([Problem(message=f"which is {show(which)}, but must be last, best, or a step")])
    path = _plain_file_or_folder(path)
    folder, name = split_last(_absolute(path))
    store, found = Store.from_uri(folder or "/"), None
    if not name or not store.exists(name):
        found = _in_folder(path, trial)
        store, name = found.store, _chosen(found, which)
    elif trial is not None:
        raise ConfigError([Problem(message=f"trial is {trial}, but {path} is a checkpoint, not a folder of trials")])
    loaded = _load(store, name)
    if which.isdecimal() and int(which) == 0 < loaded.step and found is not None:
        from grokray.engine.restored import config_of
        from grokray.sweep.initial import first_checkpoint

        return first_checkpoint(config_of(loaded))
    return loaded


def kept_checkpoints(path: str | Path, *, trial: str | None = None) -> list[Callable[[], Checkpoint | None]]:
    """What loads each of a trial's checkpoints in a folder, one of each step, by step. None is loaded where it has gone
    since, as a trial that runs replaces its best one. Raises as load_checkpoint does."""
    path = _plain_file_or_folder(path)
    if "://" not in path and os.path.isfile(os.path.expanduser(path)):
        raise ConfigError([Problem(message=f"{path} is one checkpoint, but must be a folder of a trial's checkpoints")])
    found = _in_folder(path, trial, hint="keep_checkpoints: all keeps one every checkpoint_interval steps")
    of_steps: dict[int, list[str]] = {}
    for file in found.files():
        of_steps.setdefault(file.step, []).append(file.name)
    return [partial(_first_sound, found.store, names) for names in of_steps.values()]


def _first_sound(store: Store, names: Sequence[str]) -> Checkpoint | None:
    damage = None
    for name in names:
        if store.exists(name):
            try:
                return _load(store, name)
            except CheckpointError as error:
                damage = error
    if damage is not None:
        raise damage
    return None


def full_id(prefix: str, ids: Collection[str], what: str) -> str:
    """The one id that begins so. `what` says where was looked, as in "trial in results/robust"."""
    start_of_id(prefix)
    found = sorted(i for i in ids if i.startswith(prefix))
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if not found:
        raise ConfigError([Problem(message=f"there is no {what} whose id begins with {prefix!r}{_some(ids)}")])
    raise ConfigError([Problem(message=f"{prefix!r} begins the id of {len(found)} trials: {_listed(found)}")])


def _plain_file_or_folder(path: str | Path) -> str:
    """The path as a text. A device or a pipe may have no end."""
    path = a_path(path)
    local = os.path.expanduser(path)
    if "://" not in path and os.path.exists(local) and not (os.path.isfile(local) or os.path.isdir(local)):
        raise CheckpointError(f"{path} is no plain file")
    return path


def _load(store: Store, name: str) -> Checkpoint:
    """With paths to what its trial was made of that lead there."""
    from grokray.engine.checkpoint import from_bytes
    from grokray.sweep.inputs import at_hand

    known = CheckpointFile.of(name)
    found = from_bytes(store.read_bytes(name), known.sha256 if known else None, name=store.shown(name))
    return replace(found, config=at_hand(_whole_folder(store, name), found.config))


def _whole_folder(store: Store, name: str) -> Store:
    """The sweep's that a checkpoint lies in, if it lies in one; else where it lies."""
    folder, trial = split_last(store.uri)
    root, checkpoints = split_last(folder)
    return Store.from_uri(root) if root and trial and checkpoints == CHECKPOINTS and "/" not in name else store


def _chosen(found: TrialCheckpoints, which: str) -> str:
    """The file's name of the checkpoint asked for."""
    files = found.files()
    kinds = ("last", "step") if which == "last" else ("best",)
    fitting = [f for kind in kinds for f in reversed(files) if f.kind == kind]
    if which.isdecimal():
        fitting = [f for f in files if f.step == int(which)] or (files if int(which) == 0 else [])
    if not fitting:
        there = ", ".join(f"{f.step:,}" if f.kind == "step" else f"{f.kind} ({f.step:,})" for f in files) or "none"
        text = f"of trial {found.trial_id} there is no checkpoint {which}; there is: {there}"
        raise CheckpointError(text, hint=HINT)
    return fitting[0].name


def _in_folder(path: str, trial: str | None, hint: str = HINT) -> TrialCheckpoints:
    """Those of the trial that is named, or of the only one that has any."""
    if "://" not in path and not os.path.exists(os.path.expanduser(path)):
        raise CheckpointError(f"{path} is missing: there is neither a file nor a folder")
    store = SweepFolder.open(path).store
    ids = trials_with_checkpoints(store)
    if not ids:
        raise CheckpointError(f"{path} holds no checkpoints", hint=hint)
    if trial is None and len(ids) > 1:
        message = f"{path} holds checkpoints of {len(ids)} trials: {_listed(sorted(ids))}"
        raise ConfigError([Problem(message=message)], hint="name one of them; its first letters are enough")
    trial_id = next(iter(ids)) if trial is None else full_id(trial, ids, f"checkpoint in {path} of a trial")
    return TrialCheckpoints(store, trial_id, "none")


def _absolute(path: str) -> str:
    return path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))


def _some(ids: Collection[Any]) -> str:
    return f"; there {'is' if len(ids) == 1 else 'are'} {_listed(sorted(ids))}" if ids else ""


def _listed(ids: list[str]) -> str:
    more = len(ids) - SHOWN
    return ", ".join(ids[:SHOWN]) + (f" and {more} more" if more > 0 else "")
