"""`grokray fetch`: a sweep's folder, copied to this machine."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY_S = 10.0


def fetch(
    source: Annotated[str, typer.Argument(metavar="URI", help="A sweep's folder, or its URI.")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A new folder of this machine, or an earlier copy.")],
    tables: Annotated[
        bool, typer.Option("--tables", help="Only what analyze, report and plot need: no journal, no checkpoints.")
    ] = False,
) -> int:
    """Copy a sweep's folder here, also while it runs. Again: only what is new."""
    from grokray.cli.screen import screen
    from grokray.cli.wording import memory
    from grokray.records.fetch import fetch as copy
    from grokray.records.parts import parts_of
    from grokray.records.uri import join, split_last
    from grokray.wording import count

    has_tables = True
    for part in parts_of(source):
        target = folder if part == source else join(folder, split_last(part)[1])
        with _progress(screen()) as tell:
            fetched = copy(part, target, tables_only=tables, progress=tell)
        whole = f", {fetched.whole:,} were there already" if fetched.whole else ""
        print(f"{count(fetched.files, 'file')} copied ({memory(fetched.bytes)}){whole}")
        has_tables = has_tables and fetched.tables
    print(f"look at it: grokray {'analyze' if has_tables else 'status'} {shlex.quote(folder)}")
    return 0


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar in a terminal, a line every 10 s elsewhere."""
    if console.is_terminal and not console.is_dumb_terminal:
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    yield _lines()


def _lines() -> Callable[[int, int], None]:
    from grokray.cli.wording import memory

    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            print(f"{memory(done)} of {memory(total)}", flush=True)

    return tell
