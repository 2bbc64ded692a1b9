"""`--column` and `--where`: what trials of `analyze` and `report` also have, and which of them these are about."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath
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

# How a sign stands in a file's name: < and > mean something else to a shell.
SIGNS = {"=": "", "!=": "not-", "<": "below-", "<=": "at-most-", ">": "above-", ">=": "at-least-"}
LONGEST = 80  # characters of conditions in a name
_UNFIT = re.compile(r"[^A-Za-z0-9_.+]+")


def named_by(where: list[str] | None, name: str) -> str:
    """report.html → report-base-10.html: results of a part of the trials take the place neither of those of all, nor of
    another part's. What is no condition is left for `part_of` to refuse."""
    if not where:
        return name
    from grokray.analysis.conditions import condition

    try:
        conditions = sorted({condition(text) for text in where}, key=str)
    except ValueError:
        return name
    said = "-and-".join(f"{one.column}-{SIGNS[one.sign]}{one.value}" for one in conditions)
    fit = _UNFIT.sub("-", said)[:LONGEST]
    if fit != said or any("-" in one.value for one in conditions):  # others might be called so, too
        fit += f"-{hashlib.sha256(' and '.join(map(str, conditions)).encode()).hexdigest()[:8]}"
    path = PurePath(name)
    return f"{path.stem}-{fit}{path.suffix}"


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
