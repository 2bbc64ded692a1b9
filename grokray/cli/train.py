"""`grokray train`: one trial, on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from grokray.cli.train_options import with_trial_options
from grokray.cli.usage import one_of, threads_of, whole_number
from grokray.errors import INTERRUPTED

RUN = "How it runs"


def make_train() -> Callable[..., int]:
    return with_trial_options(_train)


def _train(
    ctx: typer.Context,
    parameters: Mapping[str, Any],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", rich_help_panel=RUN, help="The trial's folder, or its URI. Default: results/train/<id>."
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=RUN,
            show_default=False,
            help="Where it is trained: auto, cpu, cuda, or such as cuda:1. Default: auto.",
        ),
    ] = "auto",
    compile: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=RUN,
            show_default=False,
            help="Whether the model is compiled: auto (where that pays), on, off. Default: auto.",
        ),
    ] = "auto",
    threads: Annotated[
        str, typer.Option(metavar="INT", rich_help_panel=RUN, help="CPU threads; for small models one is best.")
    ] = "1",
    checkpoint_interval: Annotated[
        str | None,
        typer.Option(
            "--checkpoint_interval",
            metavar="INT",
            rich_help_panel=RUN,
            help="Training steps between two checkpoints. Default: 1000.",
        ),
    ] = None,
    keep_checkpoints: Annotated[
        str | None,
        typer.Option(
            "--keep_checkpoints",
            metavar="TEXT",
            rich_help_panel=RUN,
            help="Kept once it has ended: none, last, best, last+best, all. Default: last+best.",
        ),
    ] = None,
    examples: Annotated[
        str | None,
        typer.Option(
            metavar="N", rich_help_panel=RUN, help="Write so many examples of each part at every measurement."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="DIR", rich_help_panel=RUN, help="Go on with the trial of this folder, as it is."),
    ] = None,
    from_trial: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--from-trial",
            metavar="DIR ID",
            rich_help_panel=RUN,
            help="Repeat a trial of this sweep, and compare the curves; an id may be cut short.",
        ),
    ] = None,
    wandb_tracking: Annotated[
        str,
        typer.Option(
            "--wandb_tracking", metavar="TEXT", rich_help_panel=RUN, help="What W&B gets: disabled, minimal, maximal."
        ),
    ] = "disabled",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", rich_help_panel=RUN, help="Write scalars for TensorBoard, in the folder.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", rich_help_panel=RUN, help="Print the result alone, no measurements.")
    ] = False,
) -> int:
    """Train one trial, without Ray. Options are named as in the original; - and _ mean the same."""
    from grokray.cli.train_source import source_of

    source = source_of(parameters, resume=resume, from_trial=from_trial, out=out)
    config = source.config
    from grokray.cli.train_lines import TrainLines
    from grokray.cli.train_run import Run, train_in
    from grokray.engine.device import choose_device
    from grokray.sweep.sections import KEEP, MAX_EXAMPLES, Tracking
    from grokray.tasks.resolve import left_out
    from grokray.trial import LARGEST_COUNT

    run = Run(
        config=config,
        out=source.out,
        device=choose_device(source.device if device == "auto" else device, called="--device"),
        compile=one_of("--compile", source.compile if compile == "auto" else compile, ("auto", "on", "off")),
        threads=threads_of(threads),
        checkpoint_interval=(
            source.checkpoint_interval
            if checkpoint_interval is None
            else whole_number("--checkpoint_interval", checkpoint_interval, at_least=1, at_most=LARGEST_COUNT)
        ),
        keep_checkpoints=(
            source.keep_checkpoints
            if keep_checkpoints is None
            else one_of("--keep_checkpoints", keep_checkpoints, KEEP)
        ),
        examples=(
            source.examples
            if examples is None
            else whole_number("--examples", examples, at_least=0, at_most=MAX_EXAMPLES)
        ),
        command=ctx.obj.resume_command,
        tracking=Tracking(
            wandb=one_of("--wandb_tracking", wandb_tracking, ("disabled", "minimal", "maximal", "min", "max")),
            tensorboard=tensorboard,
        ),
    )
    lines = TrainLines(config, quiet=quiet)
    lines.notes(unused=left_out(parameters, config))
    ctx.obj.resumable = True
    trial = train_in(run, lines)
    if not trial.done:
        lines.interrupted(trial)
        return INTERRUPTED
    lines.result(trial, run.out, kept=run.keep_checkpoints != "none")
    return 0 if source.repeated is None else lines.comparison(source.repeated, run.out)
