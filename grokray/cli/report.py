"""`grokray report`: the whole analysis as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokray.cli.analyze import output_folder


def report(
    folders: Annotated[list[str], typer.Argument(metavar="DIR…", help="Folders of sweeps, or their URIs.")],
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Default: DIR/report.html.")] = None,
    level: Annotated[float, typer.Option(help="Of all intervals.")] = 0.95,
) -> int:
    """Write the report: one HTML file with figures, that needs nothing beside it; several sweeps as one."""
    from grokray.analysis.analysis import load
    from grokray.analysis.report.page import write_report

    path = output_folder(folders, out, "report.html")
    path = path / "report.html" if path.is_dir() else path
    write_report(load(folders, level=level), Path(path))
    print(path)
    return 0
