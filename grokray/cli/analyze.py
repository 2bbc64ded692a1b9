"""`grokray analyze`: the tables of the analysis, printed and written to files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.cli.outputs import output_place, remove, require_place, writing
from grokray.cli.part import Columns, Where, named_by, part_of
from grokray.cli.usage import number
from grokray.wording import NOTHING, listed

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from grokray.analysis.findings.finding import Finding
    from grokray.cli.tables import Column

# Tables that a finding may have beside its main one.
FURTHER = {
    "overview": ("parameters",),
    "robustness": ("profiles", "seeds"),
    "survival": ("groups", "tests", "pairs"),
    "effects": ("whether", "when", "if_all_grok", "hazard_ratios"),  # any of them may be the first
    "critical": ("differences",),
    "delay": ("ungrokking",),
    "audit": ("counts",),
}
REMARKS = ("reason", "note")  # columns that say why there is no number, or what to mind
MOST_ROWS = 6  # named before a remark
DIGITS = 15  # of numbers in JSON: all that a float is sure of


def analyze(
    folders: Annotated[list[str], typer.Argument(metavar="DIR…", help="Folders of sweeps, or their URIs.")],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Where the tables go. Default: DIR/analysis, with --where DIR/analysis-CONDITION."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Time to grok and critical fraction by this column, or by several with commas."
        ),
    ] = None,
    where: Where = None,
    column: Columns = None,
    level: Annotated[str, typer.Option(metavar="NUMBER", help="Of all intervals.")] = "0.95",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Say how robust grokking is, and against what; several sweeps as one."""
    from grokray.analysis.analysis import FINDINGS, load
    from grokray.analysis.made_columns import made_of
    from grokray.records.uri import hide_secrets

    share = number("--level", level)
    place = output_place(folders, out, named_by(where, "analysis"))
    require_place(place)
    analysis = part_of(load(folders, level=share), column, where)
    grouped = {}
    if by is not None:
        columns = [name.strip() for name in by.split(",")]
        grouped = {"survival": analysis.survival(columns), "critical_fraction": analysis.critical_fraction(columns)}
    found = {name: grouped.get(name) or getattr(analysis, name)() for name in FINDINGS}
    with writing(place) as path:
        written = write_findings(path, list(found.values()))
    remove(place, files_of(list(found.values())) - written)
    if as_json:
        plain = {name: as_plain(finding) for name, finding in found.items()}
        sweeps = analysis.sweeps
        known = {"sweeps": sweeps.names, "where": sweeps.chosen, "columns": made_of(sweeps.trials), "level": share}
        print(json.dumps({**known, **plain}, indent=2, ensure_ascii=False))
        return 0
    from grokray.cli.screen import screen

    console = screen()
    if choice := analysis.sweeps.choice:
        console.print(f"{choice}\n", soft_wrap=True, markup=False)
    for finding in found.values():
        show(console, finding)
    console.print(f"tables: {hide_secrets(place)} ({len(written) // 2} as Parquet and CSV)", soft_wrap=True)
    return 0


def write_findings(place: Path, findings: list[Finding]) -> set[str]:
    """Each table as finding.parquet or finding-table.parquet, and as CSV; the names of the files."""
    from grokray.records.store import as_folder_error
    from grokray.records.store_local import in_place_of

    written: set[str] = set()
    with as_folder_error("write", str(place)):
        place.mkdir(parents=True, exist_ok=True)
        for finding in findings:
            for name, table in finding.tables.items():
                parquet, csv = _files(finding.name, name if name in FURTHER.get(finding.name, ()) else None)
                with in_place_of(place / parquet) as file:
                    table.to_parquet(file, index=False)
                with in_place_of(place / csv) as file:
                    table.to_csv(file, index=False)
                written |= {parquet, csv}
    return written


def files_of(findings: list[Finding]) -> set[str]:
    """Names of all files that these findings may be written to, whatever is missing from them now: what an earlier run
    wrote and this one did not would be taken for this one's."""
    return {file for one in findings for name in (None, *FURTHER.get(one.name, ())) for file in _files(one.name, name)}


def _files(finding: str, table: str | None) -> tuple[str, str]:
    name = finding if table is None else f"{finding}-{table.replace('_', '-')}"
    return f"{name}.parquet", f"{name}.csv"


def show(console: Console, finding: Finding) -> None:
    from rich.text import Text

    from grokray.analysis.findings.words import shown
    from grokray.cli.tables import Column, fits_whole, fitted

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
        remarks: list[str] = []
        if not fits_whole(columns, console.width):  # a number is not shown without what must be known of it
            columns, remarks = _remarks_apart(columns)
        console.print(fitted(columns, console.width))
        for remark in remarks:
            console.print(Text(f"- {remark}"), soft_wrap=not console.is_terminal)
    for note in finding.notes:
        console.print(Text(f"note: {note}", style="dim"), soft_wrap=not console.is_terminal)
    console.print()


def _remarks_apart(columns: list[Column]) -> tuple[list[Column], list[str]]:
    """The columns without those of remarks, and `base 4, base 10: the share grokked does not rise`."""
    labels = [column.cells for column in columns if not (column.number or column.optional)]
    rows_of: dict[str, list[str]] = {}
    for column in columns:
        for row, remark in enumerate(column.cells if column.name in REMARKS else ()):
            if remark.strip() and remark != NOTHING:
                rows_of.setdefault(remark, []).append(", ".join(cells[row] for cells in labels))
    remarks = [": ".join(filter(None, (listed(rows, MOST_ROWS), remark))) for remark, rows in rows_of.items()]
    return [column for column in columns if column.name not in REMARKS], remarks


def as_plain(finding: Finding) -> dict[str, Any]:
    """For `--json`: what is unknown or unbounded is null."""
    tables = {name: _records(table) for name, table in finding.tables.items()}
    texts = {"summary": finding.summary, "missing": finding.missing, "notes": list(finding.notes)}
    return {"title": finding.title, **texts, "tables": tables}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """Numbers by their digits, and not by their decimals: p may be 4e-11."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
