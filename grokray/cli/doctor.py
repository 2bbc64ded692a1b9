"""`grokray doctor`: what is wrong with a machine or a cluster, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from grokray.sweep.doctor import Finding

STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red"}
NAMED = 3  # more machines than that are counted


def doctor(
    address: Annotated[
        str | None, typer.Option(metavar="A", help="Of a running Ray cluster: host:port, or auto. Default: none.")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="A folder for sweeps, or its URI.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="CLUSTER", help="The file of a cluster, for `ray up`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Look for faults of this machine, a folder, a cluster and its file. Exit code 1 if there is one."""
    from grokray.cli.screen import screen
    from grokray.sweep.examine import examine

    findings = [*examine(address, out, cluster)]
    faults = sum(finding.level == "fault" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        told = {"faults": faults, "warnings": warnings, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(screen(), findings, faults, warnings)
    return 1 if faults else 0


def _show(console: Console, findings: Sequence[Finding], faults: int, warnings: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from grokray.wording import count

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding, places in _merged(findings):
        text = Text(f"{finding.text} ({places})" if places else finding.text)
        if finding.cure:
            text.append(f"\n→ {finding.cure}", style="bold")
        table.add_row(Text(finding.level, style=STYLES[finding.level]), finding.check, text)
    console.print(table)
    console.print(Text(f"{count(faults, 'fault')}, {count(warnings, 'warning')}"))


def _merged(findings: Sequence[Finding]) -> list[tuple[Finding, str]]:
    """What is equal on several machines once, with where that is; nothing where it is this machine alone."""
    from grokray.sweep.doctor import HERE
    from grokray.wording import count

    places: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        places.setdefault((finding.check, finding.level, finding.text), []).append(finding)
    merged = []
    for group in places.values():
        where = [finding.where for finding in group]
        shown = ", ".join(where) if len(where) <= NAMED else count(len(where), "machine")
        merged.append((group[0], "" if where == [HERE] else shown))
    return merged
