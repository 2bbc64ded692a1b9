"""The options of `grokray train` that say how a trial runs, and the Run that they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from grokray.cli.usage import one_of, threads_of, whole_number

if TYPE_CHECKING:
    from grokray.cli.train_run import Run
    from grokray.cli.train_source import Source
    from grokray.sweep.measure_file import MeasureFile
    from grokray.trial import TrialConfig

RUN = "How it runs"
Value = TypeVar("Value")

Out = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", rich_help_panel=RUN, help="The trial's folder, or its URI. Default: results/train/<id>."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        rich_help_panel=RUN,
        show_default=False,
        help="Where it is trained: auto, cpu, cuda, or such as cuda:1. Default: auto.",
    ),
]
Compile = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        rich_help_panel=RUN,
        show_default=False,
        help="Whether the model is compiled: auto (where that pays), on, off. Default: auto.",
    ),
]
Threads = Annotated[
    str, typer.Option(metavar="INT", rich_help_panel=RUN, help="CPU threads; for small models one is best.")
]
CheckpointInterval = Annotated[
    str | None,
    typer.Option(
        "--checkpoint_interval",
        metavar="INT",
        rich_help_panel=RUN,
        help="Training steps between two checkpoints. Default: 1000.",
    ),
]
KeepCheckpoints = Annotated[
    str | None,
    typer.Option(
        "--keep_checkpoints",
        metavar="TEXT",
        rich_help_panel=RUN,
        help="Kept once it has ended: none, last, best, last+best, all. Default: last+best.",
    ),
]
Examples = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=RUN, help="Write so many examples of each part at every measurement."),
]
MeasuresOfOwn = Annotated[
    str | None,
    typer.Option(
        "--measure_file", metavar="FILE", rich_help_panel=RUN, help="Python file of measures of your own, taken too."
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(metavar="DIR", rich_help_panel=RUN, help="Go on with the trial of this folder, as it is."),
]
FromTrial = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--from-trial",
        metavar="DIR ID",
        rich_help_panel=RUN,
        help="Repeat a trial of this sweep, and compare the curves; an id may be cut short.",
    ),
]
WandbTracking = Annotated[
    str | None,
    typer.Option(
        "--wandb_tracking", metavar="TEXT", rich_help_panel=RUN, help="What W&B gets: disabled, minimal, maximal."
    ),
]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", rich_help_panel=RUN, help="Write scalars for TensorBoard, in the folder.")
]
Quiet = Annotated[bool, typer.Option("--quiet", rich_help_panel=RUN, help="Print the result alone, no measurements.")]


def run_of(
    source: Source,
    command: str,
    *,
    device: str,
    compile: str,
    threads: str,
    checkpoint_interval: str | None,
    keep_checkpoints: str | None,
    examples: str | None,
    measure_file: str | None,
    wandb_tracking: str | None,
    tensorboard: bool,
) -> Run:
    """What the options leave open is as `source` has it. ConfigError for the first that cannot be."""
    from grokray.cli.train_run import Run
    from grokray.engine.device import choose_device
    from grokray.sweep.sections import KEEP, MAX_EXAMPLES, Tracking, rule_of_keeping
    from grokray.trial import LARGEST_COUNT

    return Run(
        config=source.config,
        out=source.out,
        device=choose_device(source.device if device == "auto" else device, called="--device"),
        compile=one_of("--compile", source.compile if compile == "auto" else compile, ("auto", "on", "off")),
        threads=threads_of(threads),
        checkpoint_interval=_read(
            checkpoint_interval,
            source.checkpoint_interval,
            lambda text: whole_number("--checkpoint_interval", text, at_least=1, at_most=LARGEST_COUNT),
        ),
        keep_checkpoints=_read(
            keep_checkpoints,
            source.keep_checkpoints,
            lambda text: one_of("--keep_checkpoints", rule_of_keeping(text), KEEP),
        ),
        examples=_read(
            examples,
            source.examples,
            lambda text: whole_number("--examples", text, at_least=0, at_most=MAX_EXAMPLES),
        ),
        measures=_measures(source.measure_file if measure_file is None else measure_file, source.config),
        command=command,
        tracking=Tracking.model_validate(
            {
                **source.tracking.model_dump(),
                "wandb": _read(
                    wandb_tracking,
                    source.tracking.wandb,
                    lambda text: one_of("--wandb_tracking", text, ("disabled", "minimal", "maximal", "min", "max")),
                ),
                "tensorboard": tensorboard or source.tracking.tensorboard,
            }
        ),
    )


def _measures(path: str | None, config: TrialConfig) -> MeasureFile | None:
    """ConfigError where they cannot be taken of the trial."""
    if path is None:
        return None
    from grokray.errors import ConfigError, Problem
    from grokray.sweep.check import tried_measures
    from grokray.tasks.malformed import Malformed

    try:
        return tried_measures(os.path.abspath(os.path.expanduser(path)), [config])
    except Malformed as error:
        raise ConfigError([Problem(message=f"--measure_file is {path}, {error.rule}")]) from error


def _read(text: str | None, otherwise: Value, read: Callable[[str], Value]) -> Value:
    return otherwise if text is None else read(text)
