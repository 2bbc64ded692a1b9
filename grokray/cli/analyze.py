"""`grokray analyze`: the tables of the analysis, printed and written to files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.cli.outputs import output_place, require_place, writing
from grokray.cli.usage import number
from grokray.errors import FolderError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from grokray.analysis.findings.finding import Finding


def analyze(
    folders: Annotated[list[str], typer.Argument(metavar="DIR…", help="Folders of sweeps, or their URIs.")],
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where the tables go. Default: DIR/analysis.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Time to grok and critical fraction by this column.")
    ] = None,
    level: Annotated[str, typer.Option(metavar="NUMBER", help="Of all intervals.")] = "0.95",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Say how robust grokking is, and against what; several sweeps as one."""
    from grokray.analysis.analysis import FINDINGS, load
    from grokray.records.uri import hide_secrets

    share = number("--level", level)
    place = output_place(folders, out, "analysis")
    require_place(place)
    analysis = load(folders, level=share)
    grouped = {}
    if by is not None:
        grouped = {"survival": analysis.survival(by), "critical_fraction": analysis.critical_fraction(by)}
    found = {name: grouped.get(name) or getattr(analysis, name)() for name in FINDINGS}
    with writing(place) as path:
        written = write_findings(path, list(found.values()))
    if as_json:
        plain = {name: as_plain(finding) for name, finding in found.items()}
        print(json.dumps({"sweeps": analysis.sweeps.names, "level": share, **plain}, indent=2, ensure_ascii=False))
        return 0
    from grokray.cli.screen import screen

    console = screen()
    for finding in found.values():
        show(console, finding)
    console.print(f"tables: {hide_secrets(place)} ({written} as Parquet and CSV)", soft_wrap=True)
    return 0


def write_findings(place: Path, findings: list[Finding]) -> int:
    """Each table as finding.parquet or finding-table.parquet, and as CSV; how many."""
    written = 0
    try:
        place.mkdir(parents=True, exist_ok=True)
        for finding in findings:
            for index, (name, table) in enumerate(finding.tables.items()):
                path = place / (finding.name if not index else f"{finding.name}-{name.replace('_', '-')}")
                table.to_parquet(f"{path}.parquet", index=False)
                table.to_csv(f"{path}.csv", index=False)
                written += 1
    except OSError as error:
        raise FolderError(f"cannot write {error.filename or place}: {error.strerror or error}") from None
    return written


def show(console: Console, finding: Finding) -> None:
    from rich.text import Text

    from grokray.analysis.findings.words import shown
    from grokray.cli.tables import Column, fitted

    console.print(Text(finding.title, style="bold"))
    for text in filter(None, (finding.missing, finding.summary)):
        console.print(Text(text), soft_wrap=not console.is_terminal)
    for table in finding.tables.values():
        texts = shown(table)
        if len(texts.headings) == 1:  # sentences, which no table shall cut
            for (line,) in texts.rows:
                console.print(Text(f"- {line}"), soft_wrap=not console.is_terminal)
            continue
        columns = [
            Column(
                name=n, cells=[row[at] for row in texts.rows], optional=at >= texts.essential, number=texts.numeric[at]
            )
            for at, n in enumerate(texts.headings)
        ]
        console.print(fitted(columns, console.width))
    for note in finding.notes:
        console.print(Text(f"note: {note}", style="dim"), soft_wrap=not console.is_terminal)
    console.print()


def as_plain(finding: Finding) -> dict[str, Any]:
    """For `--json`: what is unknown or unbounded is null."""
    tables = {name: _records(table) for name, table in finding.tables.items()}
    texts = {"summary": finding.summary, "missing": finding.missing, "notes": list(finding.notes)}
    return {"title": finding.title, **texts, "tables": tables}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = json.loads(table.to_json(orient="records") or "[]")
    return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows]
