"""`grokray train`: one trial, on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from grokray.cli.invocation import INTERRUPTED
from grokray.cli.train_options import spell_out_flags, trial_from, with_trial_options
from grokray.cli.usage import one_of, whole_number

__all__ = ["make_train", "spell_out_flags"]

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
            help="Whether the model is compiled: auto (on a GPU only), on, off. Default: auto.",
        ),
    ] = "auto",
    threads: Annotated[
        str, typer.Option(metavar="INT", rich_help_panel=RUN, help="CPU threads; for small models one is best.")
    ] = "1",
    checkpoint_interval: Annotated[
        str,
        typer.Option(
            "--checkpoint_interval", metavar="INT", rich_help_panel=RUN, help="Training steps between two checkpoints."
        ),
    ] = "1000",
    quiet: Annotated[
        bool, typer.Option("--quiet", rich_help_panel=RUN, help="Print the result alone, no measurements.")
    ] = False,
) -> int:
    """Train one trial, without Ray. Options are named as in the original; - and _ mean the same."""
    config = trial_from(parameters)
    from grokray.cli.train_lines import TrainLines
    from grokray.cli.train_run import Run, choose_device, train_in

    run = Run(
        config=config,
        out=out or f"results/train/{config.id}",
        device=choose_device(device),
        compile=one_of("--compile", compile, ("auto", "on", "off")),
        threads=whole_number("--threads", threads, at_least=1),
        checkpoint_interval=whole_number("--checkpoint_interval", checkpoint_interval, at_least=1),
        command=ctx.obj.resume_command,
    )
    lines = TrainLines(config, quiet=quiet)
    ctx.obj.resumable = True
    trial = train_in(run, lines)
    if not trial.done:
        lines.interrupted(trial)
        return INTERRUPTED
    lines.result(trial, run.out)
    return 0
