"""`grokray progress`: Nanda et al. 2023's progress measures along the checkpoints of one trial."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.cli.outputs import require_place
from grokray.cli.plot import FolderArgument, TrialArgument, need_matplotlib, place_of, write_figure
from grokray.cli.usage import number, threads_of
from grokray.errors import ConfigError, Problem
from grokray.wording import NOTHING, percent, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grokray.sweep.progress_measures import ProgressMeasures

FEW = 2  # checkpoints, as last and best are
LITTLE = 0.5  # of the logits' variance


def progress(
    folder: FolderArgument,
    trial: TrialArgument = None,
    frequencies: Annotated[
        str | None, typer.Option(metavar="LIST", help="Key frequencies, such as 14,35; else found by --share.")
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="The share that key frequencies explain of what all do at the last checkpoint. Default: 0.95.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Draw them too. Ends in .png, .svg or .pdf; else both .png and .svg; or a folder."
        ),
    ] = None,
    threads: Annotated[str, typer.Option(metavar="INT", help="CPU threads.")] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Nanda et al.'s progress measures of one trial, restricted and excluded loss, at each kept checkpoint."""
    if share is not None and frequencies is not None:
        raise ConfigError([Problem(message="--share finds the frequencies, so no --frequencies may stand beside it")])
    chosen: dict[str, Any] = {} if share is None else {"share": number("--share", share)}
    chosen |= {} if frequencies is None else {"frequencies": _numbers(frequencies)}
    threads_wanted = threads_of(threads)
    place, name = place_of(out)  # a wrong ending is said before anything is read
    if out is not None:
        need_matplotlib()
        require_place(place)
    import torch

    from grokray.sweep.progress_measures import progress_measures

    torch.set_num_threads(threads_wanted)
    found = progress_measures(folder, trial=trial, **chosen)
    drawn = [] if out is None else write_figure(_draw(folder, found), place, name or f"{found.trial_id}-progress")
    if as_json:
        print(json.dumps(_as_plain(found)))
    else:
        _show(found)
    for path in drawn:
        print(path, file=sys.stderr if as_json else sys.stdout)
    return 0


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        message = f"--frequencies is {show(text)}, but must be whole numbers parted by commas, such as 14,35"
        raise ConfigError([Problem(message=message)]) from None


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
        Column(name=str(name).replace("_", " "), cells=[_cell(str(name), value) for value in table[name]])
        for name in table.columns
    ]
    console = screen()
    console.print(f"trial: {found.trial_id}")
    console.print(f"key frequencies: {', '.join(map(str, found.frequencies))}, of 1 to {found.order // 2}")
    console.print(fitted(columns, console.width))
    if note := _no_circuit(table["step"].tolist(), table["key_share"].tolist()):
        console.print(note)
    if len(table) <= FEW:
        console.print("more rows: with keep_checkpoints: all, and a shorter checkpoint_interval")


def _no_circuit(steps: list[int], shares: list[float]) -> str | None:
    """What must be known of key frequencies that explain little in the end. A jump of the training loss, of which there
    are many after memorization, hides a circuit for a while."""
    if not shares[-1] < LITTLE:
        return None
    little = f"key frequencies explain {percent(shares[-1])} of the logits in the end"
    most, step = max(zip(shares, steps, strict=True))
    if most < LITTLE:
        return f"{little}: there is no circuit of them yet"
    return f"{little}, but {percent(most)} at step {step:,}: a jump of the loss may hide the circuit for a while"


def _cell(name: str, value: float) -> str:
    if not math.isfinite(value):
        return NOTHING
    return {"step": f"{value:,.0f}", "key_share": percent(value)}.get(name, f"{value:.4g}")


def _draw(folder: str, found: ProgressMeasures) -> Figure:
    from grokray.analysis.figures.progress import draw_progress
    from grokray.analysis.trial_curve import trial_curve
    from grokray.records.folder import SweepFolder

    curve = trial_curve(SweepFolder.open(folder), found.trial_id)
    return draw_progress(curve, {str(name): found.table[name].tolist() for name in found.table.columns})
