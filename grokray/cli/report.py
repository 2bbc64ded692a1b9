"""`grokray report`: the whole analysis as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokray.cli.outputs import output_place, writing

REPORT = "report.html"


def report(
    folders: Annotated[list[str], typer.Argument(metavar="DIR…", help="Folders of sweeps, or their URIs.")],
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Default: DIR/report.html.")] = None,
    level: Annotated[float, typer.Option(help="Of all intervals.")] = 0.95,
) -> int:
    """Write the report: one HTML file with figures, that needs nothing beside it; several sweeps as one."""
    from grokray.analysis.analysis import load
    from grokray.analysis.report.page import write_report
    from grokray.records.uri import hide_secrets, join

    place = output_place(folders, out, REPORT)
    if Path(place).is_dir() or ("://" in place and not place.partition("?")[0].endswith(".html")):
        place = join(place, REPORT)
    analysis = load(folders, level=level)
    with writing(place) as path:
        write_report(analysis, path)
    print(hide_secrets(place))
    return 0
