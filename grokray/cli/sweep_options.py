"""Arguments that `grokray sweep` and `grokray submit` share, and the sweep that they name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from grokray.cli.usage import whole_number

if TYPE_CHECKING:
    from grokray.sweep.config import SweepConfig

File = Annotated[str, typer.Argument(metavar="FILE", help="The search space, in YAML.")]
NumTrials = Annotated[
    str | None, typer.Option("--num-trials", metavar="N", help="Configurations; each runs once for each seed.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set a key of the file, such as trial.eval_interval=50. May be repeated."
    ),
]
Part = Annotated[
    str | None,
    typer.Option(metavar="K/N", help="Run only the K-th of every N configurations, in a folder below --out."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Use that cluster even if anybody who reaches it can run code there.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try trials again that had failed for good.")]


def sweep_of(
    file: str,
    num_trials: str | None,
    overrides: list[str] | None,
    part: str | None,
    folder_of: Callable[[SweepConfig], str] | None = None,
) -> SweepConfig:
    """Raises ConfigError with every problem of file and options. Copies in the sweep's folder, if it is told which that
    is, stand in for what has gone from the file's paths."""
    from grokray.sweep.load import load_sweep
    from grokray.sweep.sections import MAX_CONFIGURATIONS
    from grokray.sweep.stand_ins import with_stand_ins

    number = None
    if num_trials is not None:
        number = whole_number("--num-trials", num_trials, at_least=1, at_most=MAX_CONFIGURATIONS)
    stand_ins = None if folder_of is None else partial(with_stand_ins, folder_of=folder_of)
    return load_sweep(file, overrides or (), number, part, stand_ins)
