"""`grokray train`: one trial, on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer

from grokray.cli.run_options import (
    CheckpointInterval,
    Compile,
    Device,
    Examples,
    FromTrial,
    KeepCheckpoints,
    MeasuresOfOwn,
    Out,
    Quiet,
    Resume,
    Tensorboard,
    Threads,
    WandbTracking,
    run_of,
)
from grokray.cli.train_options import with_trial_options
from grokray.errors import INTERRUPTED


def make_train() -> Callable[..., int]:
    return with_trial_options(_train)


def _train(
    ctx: typer.Context,
    parameters: Mapping[str, Any],
    out: Out = None,
    device: Device = "auto",
    compile: Compile = "auto",
    threads: Threads = "1",
    checkpoint_interval: CheckpointInterval = None,
    keep_checkpoints: KeepCheckpoints = None,
    examples: Examples = None,
    measure_file: MeasuresOfOwn = None,
    resume: Resume = None,
    from_trial: FromTrial = None,
    wandb_tracking: WandbTracking = None,
    tensorboard: Tensorboard = False,
    quiet: Quiet = False,
) -> int:
    """Train one trial, without Ray. Options are named as in the original; - and _ mean the same."""
    from grokray.cli.train_source import source_of

    source = source_of(parameters, resume=resume, from_trial=from_trial, out=out)
    run = run_of(
        source,
        ctx.obj.resume_command,
        device=device,
        compile=compile,
        threads=threads,
        checkpoint_interval=checkpoint_interval,
        keep_checkpoints=keep_checkpoints,
        examples=examples,
        measure_file=measure_file,
        wandb_tracking=wandb_tracking,
        tensorboard=tensorboard,
    )
    from grokray.cli.train_lines import TrainLines
    from grokray.cli.train_run import train_in
    from grokray.tasks.resolve import left_out

    lines = TrainLines(run.config, quiet=quiet)
    lines.notes(unused=left_out(parameters, run.config))
    ctx.obj.resumable = True
    trial = train_in(run, lines)
    if not trial.done:
        lines.interrupted(trial)
        return INTERRUPTED
    lines.result(trial, run.out, kept=run.keep_checkpoints != "none")
    return 0 if source.repeated is None else lines.comparison(source.repeated, run.out)
