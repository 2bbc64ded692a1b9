"""`grokray report`: the whole analysis as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokray.cli.outputs import is_folder, output_place, require_place, writing
from grokray.cli.part import Columns, Where, named_by, part_of
from grokray.cli.plot import need_matplotlib
from grokray.cli.usage import number
from grokray.errors import ConfigError, Problem

REPORT = "report.html"


def report(
    folders: Annotated[list[str], typer.Argument(metavar="DIR…", help="Folders of sweeps, or their URIs.")],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Ends in .html; or a folder. Default: DIR/report.html, with --where DIR/report-CONDITION.html.",
        ),
    ] = None,
    where: Where = None,
    column: Columns = None,
    level: Annotated[str, typer.Option(metavar="NUMBER", help="Of all intervals.")] = "0.95",
) -> int:
    """Write the report: one HTML file with figures, that needs nothing beside it; several sweeps as one."""
    from grokray.analysis.analysis import load
    from grokray.analysis.report.page import write_report
    from grokray.records.uri import hide_secrets, split_last

    need_matplotlib()
    name = named_by(where, REPORT)
    place = report_file(output_place(folders, out, name), name)  # a wrong ending is said before anything is read
    if not Path(place).is_file():  # one that is there may be written where no other can
        require_place(split_last(place)[0])
    analysis = part_of(load(folders, level=number("--level", level)), column, where)
    with writing(place) as path:
        write_report(analysis, path)
    print(hide_secrets(place))
    return 0


def report_file(out: str, name: str) -> str:
    """page.html → itself; a folder → `name` in it; ConfigError for page.yaml, which may be anything of value."""
    from grokray.records.uri import join

    bare = out.partition("?")[0] if "://" in out else out
    if is_folder(out) or ("://" in out and not bare.endswith(".html")):
        return join(out, name)
    if Path(bare).suffix != ".html":
        raise ConfigError([Problem(message=f"--out is {out}, but must end in .html, or be a folder")])
    return out
