"""`--where`: which of the trials `grokray analyze` and `grokray report` are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

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


def part_of(analysis: Analysis, where: list[str] | None) -> Analysis:
    """ConfigError with all that is wrong with the conditions, and where no trial fulfils them."""
    return analysis.where(*where) if where else analysis
