"""`grokray progress`: Nanda et al. 2023's progress measures along the checkpoints of one trial."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.cli.plot import place_of, write_figure
from grokray.cli.usage import number, whole_number
from grokray.errors import ConfigError, Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grokray.sweep.progress_measures import ProgressMeasures

FEW = 2  # checkpoints, as last and best are
FIGURES = {"step": "{:,.0f}", "key_share": "{:.1%}"}  # how columns are shown, others as losses


def progress(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder of sweep or train, or its URI.")],
    trial: Annotated[
        str | None, typer.Argument(metavar="TRIAL_ID", help="A trial's id, or its start. Needed if there are several.")
    ] = None,
    frequencies: Annotated[
        str | None, typer.Option(metavar="LIST", help="Key frequencies, such as 14,35; else found by --share.")
    ] = None,
    share: Annotated[
        str, typer.Option(metavar="NUMBER", help="The fewest that explain so much at the last checkpoint are key.")
    ] = "0.95",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Draw them too. Ends in .png, .svg or .pdf; else both .png and .svg; or a folder."
        ),
    ] = None,
    threads: Annotated[str, typer.Option(metavar="INT", help="CPU threads.")] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Restricted and excluded loss at each checkpoint that was kept: how far a circuit of few frequencies has come."""
    part, threads_wanted = number("--share", share), whole_number("--threads", threads, at_least=1)
    wanted = None if frequencies is None else _numbers(frequencies)
    place, name = place_of(out)  # a wrong ending is said before anything is read
    import torch

    from grokray.sweep.progress_measures import progress_measures

    torch.set_num_threads(threads_wanted)
    found = progress_measures(folder, trial=trial, frequencies=wanted, share=part)
    if as_json:
        print(json.dumps(_as_plain(found)))
    else:
        _show(found)
    if out is not None:
        for path in write_figure(_draw(folder, found), place, name or f"{found.trial_id}-progress"):
            print(path, file=sys.stderr if as_json else sys.stdout)
    return 0


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        message = f"--frequencies is {text!r}, but must be whole numbers parted by commas, such as 14,35"
        raise ConfigError([Problem(message=message)])
    return [int(word) for word in words]


def _as_plain(found: ProgressMeasures) -> dict[str, Any]:
    rows: list[dict[str, Any]] = found.table.to_dict("records")
    return {
        "trial_id": found.trial_id,
        "frequencies": list(found.frequencies),
        "order": found.order,
        "checkpoints": [{name: v if math.isfinite(v) else None for name, v in row.items()} for row in rows],
    }


def _show(found: ProgressMeasures) -> None:
    from grokray.cli.screen import screen
    from grokray.cli.tables import Column, fitted

    table = found.table
    columns = [
        Column(
            name=str(name).replace("_", " "), cells=[FIGURES.get(str(name), "{:.4g}").format(v) for v in table[name]]
        )
        for name in table.columns
    ]
    console = screen()
    console.print(f"trial: {found.trial_id}")
    console.print(f"key frequencies: {', '.join(map(str, found.frequencies))}, of 1 to {found.order // 2}")
    console.print(fitted(columns, console.width))
    if len(table) <= FEW:
        console.print("with keep_checkpoints: all there is one every checkpoint_interval steps")


def _draw(folder: str, found: ProgressMeasures) -> Figure:
    from grokray.analysis.progress_figure import draw_progress
    from grokray.analysis.trial_curve import trial_curve
    from grokray.records.folder import SweepFolder

    curve = trial_curve(SweepFolder.open(folder), found.trial_id)
    return draw_progress(curve, {str(name): found.table[name].tolist() for name in found.table.columns})
