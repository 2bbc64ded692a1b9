"""`grokray sweep`: the main job."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from grokray.cli.sweep_options import File, Insecure, NumTrials, Overrides, Part, RetryFailed, sweep_of
from grokray.errors import INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console

    from grokray.sweep.config import SweepConfig
    from grokray.sweep.runner import SweepResult


def sweep(
    ctx: typer.Context,
    file: File,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="The sweep's folder, or its URI. Default: results/<name>.")
    ] = None,
    num_trials: NumTrials = None,
    overrides: Overrides = None,
    part: Part = None,
    address: Annotated[
        str | None, typer.Option(metavar="A", help="Of a running Ray cluster. Default: Ray on this machine alone.")
    ] = None,
    insecure: Insecure = False,
    retry_failed: RetryFailed = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
) -> int:
    """Run a sweep, or go on with one that was interrupted."""
    from grokray.cli.screen import screen
    from grokray.sweep.part import folder_of_part

    def folder_of(config: SweepConfig) -> str:
        folder = f"results/{config.name}" if out is None else out
        return folder if part is None else folder_of_part(folder, config)

    config = sweep_of(file, num_trials, overrides, part, folder_of)
    console, folder = screen(), folder_of(config)
    if dry_run:
        from grokray.cli.dry_run import show_dry_run

        show_dry_run(console, config, folder)
        return 0
    return _run(console, config, folder, address, ctx, insecure=insecure, retry_failed=retry_failed)


def _run(
    console: Console, config: SweepConfig, out: str, address: str | None, ctx: typer.Context, **options: bool
) -> int:
    from grokray.cli.display import observing, show_notes
    from grokray.sweep import runner

    ctx.obj.resumable = True
    show_notes(console, config)
    with observing(console, config, config.max_steps()) as observer:
        result = runner.run_sweep(config, out, address=address, observer=observer, **options)
    _show_result(console, config, out, result)
    if result.interrupted:
        return INTERRUPTED
    progress = result.progress
    return int(0 < progress.ended == progress.outcomes.get("failed", 0))  # of those that ended, every one


def _show_result(console: Console, config: SweepConfig, out: str, result: SweepResult) -> None:
    from rich.text import Text

    from grokray.cli.tables import audit, best_table, failures, repeats, tally, unmeasured, varying_parameters
    from grokray.events import OUTCOMES, PHASES
    from grokray.records.uri import hide_secrets
    from grokray.wording import count

    progress = result.progress
    if progress.best:
        console.print(best_table(progress.best, varying_parameters(config), console.width))
        console.print()
    ended = f"{progress.ended:,} of {count(progress.total, 'trial')} ended"
    console.print(Text(f"{ended}: {tally(progress.outcomes, OUTCOMES)}" if progress.ended else ended))
    for line in (*repeats(progress), *failures(progress), *unmeasured(progress), *audit(progress)):
        console.print(line)
    if progress.outcomes.get("failed"):
        console.print(Text("failed: the same command with --retry-failed tries these again"))
    phases = _phases(out) if progress.known else None
    if phases:
        console.print(Text(f"phases: {tally(phases, PHASES)}"))
    folder = hide_secrets(out).rstrip("/")
    console.print(Text(f"trials: {folder}/trials.parquet"), soft_wrap=True)
    console.print(Text(f"curves: {folder}/curves/"), soft_wrap=True)
    if "://" not in folder:
        if progress.ended:
            console.print(Text(f"figures of it: grokray report {shlex.quote(folder)}"), soft_wrap=True)
        console.print(Text(f"look at it: {_look(folder + '/trials.parquet')}"), soft_wrap=True)
    sys.stdout.flush()


def _phases(out: str) -> Counter[str]:
    from grokray.records.folder import SweepFolder
    from grokray.records.tables import read_trials

    phases = read_trials(SweepFolder.open(out))["phase"].drop_null()
    return Counter(phases.to_pylist())


def _look(path: str) -> str:
    """A command that prints the table, with what is installed."""
    name = json.dumps(path, ensure_ascii=False)
    if find_spec("pandas"):
        code = f"import pandas; print(pandas.read_parquet({name}))"
    else:
        code = f"import pyarrow.parquet as pq; print(pq.read_table({name}))"
    return f"python -c {shlex.quote(code)}"
