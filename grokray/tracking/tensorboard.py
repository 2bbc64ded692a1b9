"""Trials as runs of TensorBoard: scalars in `<folder>/tensorboard/<trial id>`, tags such as `loss/heldout`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grokray.errors import ConfigError, Problem
from grokray.tracking.base import NOTHING_YET, Fold, Point
from grokray.trial import MEASURES, PARTS

FLUSH_S = 30
WHOLE = "whole"


def writer_class() -> Any:
    """The SummaryWriter of what is installed. ConfigError if nothing is."""
    if find_spec("tensorboardX"):
        return import_module("tensorboardX").SummaryWriter
    if find_spec("tensorboard") and find_spec("torch"):
        return import_module("torch.utils.tensorboard").SummaryWriter
    text = "tracking.tensorboard is true, but neither tensorboardX nor tensorboard is installed"
    raise ConfigError(
        [Problem(message=text, field="tracking.tensorboard")], hint='Run `pip install "grokray[tensorboard]"`.'
    )


class TensorBoardBackend:
    """A `Backend`. A resumed trial gets another file in its folder, which TensorBoard reads as one run."""

    name = "TensorBoard"
    remembers = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer_class = writer_class()

    def open(self, fold: Fold) -> tuple[_Run, int]:
        folder = self.folder / str(fold.trial_id)
        _discard_torn(folder)
        # Files are named after the second of their making: a session that follows at once would overwrite the last.
        suffix = f".{secrets.token_hex(4)}"
        writer = self.writer_class(str(folder), filename_suffix=suffix, flush_secs=FLUSH_S)
        return _Run(writer=writer, mark=folder / f"{WHOLE}{suffix}"), NOTHING_YET

    def log(self, run: _Run, points: Sequence[Point]) -> None:
        for point in points:
            for name, value in point.values.items():
                run.writer.add_scalar(tag_of(name), value, point.step, walltime=point.time)

    def finish(self, run: _Run, fold: Fold) -> None:
        self.leave(run)

    def leave(self, run: _Run) -> None:
        run.writer.close()
        run.mark.touch()

    def close(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class _Run:
    """`mark` says that the file with the same suffix was closed."""

    writer: Any
    mark: Path


def _discard_torn(folder: Path) -> None:
    """Remove the files that a killed session has not closed: it is unknown what is in them. They are written anew."""
    for path in folder.glob("*tfevents*"):
        if not (folder / f"{WHOLE}{path.suffix}").exists():
            path.unlink()


def tag_of(name: str) -> str:
    """train_loss → loss/train, so that what is compared stands together; x+y/train_loss → loss/train/x+y."""
    task, _, metric = name.rpartition("/")
    for part in PARTS:
        if metric.startswith(f"{part}_"):
            return "/".join(filter(None, (metric.removeprefix(f"{part}_"), part, task)))
    if metric not in MEASURES:  # it is one of the user's own, which may have a / of its own
        return name
    return "/".join(filter(None, (metric, task)))
