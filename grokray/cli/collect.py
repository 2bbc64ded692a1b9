"""`grokray collect`: the Parquet files, made anew from the journal."""

from __future__ import annotations

from typing import Annotated

import typer


def collect(folder: Annotated[str, typer.Argument(metavar="DIR", help="A sweep's folder, or its URI.")]) -> int:
    """Write a sweep's Parquet files anew from its journal; also while it runs."""
    from grokray.records.parts import parts_of

    for part in parts_of(folder):
        _collect(part)
    return 0


def _collect(folder: str) -> None:
    from grokray.records.collect import collect as make_tables
    from grokray.records.folder import CURVES, TRIALS, SweepFolder
    from grokray.wording import count

    opened = SweepFolder.open(folder)
    collected = make_tables(opened)
    print(f"trials: {opened.store.shown(TRIALS)} ({count(collected.trials_rows, 'row')})")
    files = count(len(collected.curve_paths), "file")
    print(f"curves: {opened.store.shown(CURVES)}/ ({count(collected.curve_rows, 'row')} in {files})")
    if collected.damaged_lines:
        print(f"{count(collected.damaged_lines, 'line')} of the journal could not be read, and were passed over")
    if collected.cut_short:
        print(f"{count(collected.cut_short, 'trial')} without the last measurements: a part of the journal is lost")
