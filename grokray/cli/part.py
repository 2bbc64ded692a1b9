"""`--column` and `--where`: what trials of `analyze` and `report` also have, and which of them these are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from grokray.errors import ConfigError, Problem

if TYPE_CHECKING:
    from grokray.analysis.analysis import Analysis

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Only trials that fulfil it, such as 'weight_decay>=0.1' or operation=x+y_mod. May be repeated: all must "
        "hold.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=EXPRESSION",
        help="One more column, made of parameters, such as 'shrinkage=learning_rate*weight_decay'. May be repeated.",
    ),
]


def part_of(analysis: Analysis, columns: list[str] | None, where: list[str] | None) -> Analysis:
    """With these columns, of the trials that fulfil these conditions. ConfigError with what is wrong with either, and
    where no trial fulfils them."""
    for column in columns or ():
        name, sign, expression = column.partition("=")
        if not sign:
            message = f"--column is {column}, but must be NAME=EXPRESSION, such as shrinkage=learning_rate*weight_decay"
            raise ConfigError([Problem(message=message)])
        analysis = analysis.with_column(name.strip(), expression)
    return analysis.where(*where) if where else analysis
