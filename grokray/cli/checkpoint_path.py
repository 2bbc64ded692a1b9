"""Checkpoints as they are named on a command line: a file, or a folder and which of its checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from grokray.engine.restored import Restored

CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's file, or the folder of a sweep or of one trial.")
]
TrialOption = Annotated[
    str | None, typer.Option("--trial", metavar="ID", help="In a sweep's folder: the trial, or how its id begins.")
]
WhichOption = Annotated[
    str, typer.Option("--which", metavar="TEXT", help="In a folder: last, best, or the step of one that is kept.")
]


def load_trial(path: str, *, trial: str | None, which: str, device: str) -> Restored:
    from grokray.engine.device import choose_device
    from grokray.engine.restored import restored
    from grokray.sweep.kept import load_checkpoint

    chosen = choose_device(device, called="--device")
    return restored(load_checkpoint(path, trial=trial, which=which), chosen)
