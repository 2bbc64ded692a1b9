"""`grokray plot`: the picture of one trial."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grokray.cli.outputs import at_home, is_folder, require_place, writing
from grokray.errors import ConfigError, Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FolderArgument = Annotated[str, typer.Argument(metavar="DIR", help="A folder of sweep or train, or its URI.")]
TrialArgument = Annotated[
    str | None, typer.Argument(metavar="TRIAL_ID", help="A trial's id, or its start. Needed if there are several.")
]


def plot(
    folder: FolderArgument,
    trial: TrialArgument = None,
    best: Annotated[bool, typer.Option("--best", help="The trial that grokked first, or came closest.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Ends in .png, .svg or .pdf; else both .png and .svg; or a folder. Default: DIR/plots/<trial>.",
        ),
    ] = None,
) -> int:
    """Draw accuracy and loss of one trial, with memorization and grokking shaded."""
    if trial is not None and best:
        raise ConfigError([Problem(message="--best chooses a trial itself, so no TRIAL_ID may stand beside it")])
    need_matplotlib()
    from grokray.analysis.figures.trial import draw
    from grokray.analysis.trial_curve import trial_curve
    from grokray.records.folder import SweepFolder
    from grokray.records.uri import join

    place, name = place_of(out)
    opened = SweepFolder.open(folder)
    place = join(opened.store.uri, "plots") if out is None else place
    require_place(place)
    curve = trial_curve(opened, trial, best=best)
    for path in write_figure(draw(curve), place, name or curve.row["trial_id"]):
        print(path)
    return 0


def need_matplotlib() -> None:
    """ConfigError without it. Where it keeps its own cache is no matter of who wants a figure: of that it is silent."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not find_spec("matplotlib"):
        raise ConfigError([Problem(message="plots need matplotlib")], hint="Run `pip install matplotlib`.")


def place_of(out: str | None) -> tuple[str, str]:
    """The folder and the name of a figure, each "" where --out leaves it open; ConfigError for a wrong ending."""
    from grokray.analysis.figures.trial import FORMATS
    from grokray.records.uri import split_last

    if out is None:
        return "", ""
    out = at_home(out)
    place, name = (out, "") if is_folder(out) else split_last(out)
    if name:
        figure_paths(Path(name), FORMATS)
    return place, name


def write_figure(figure: Figure, place: str, name: str) -> list[str]:
    """Where it is then, in one format or two."""
    from grokray.analysis.figures.trial import FORMATS, save
    from grokray.records.store import as_folder_error
    from grokray.records.uri import hide_secrets, join

    with writing(place) as at:
        paths = figure_paths(at / name, FORMATS)
        with as_folder_error("write", str(paths[0])):
            save(figure, paths)
    return [hide_secrets(join(place, path.name)) for path in paths]


def figure_paths(out: Path, formats: tuple[str, ...]) -> list[Path]:
    """curve.svg → itself; curve → curve.png and curve.svg; ConfigError for curve.gif."""
    ending = out.suffix.removeprefix(".")
    if out.name.removeprefix(".") in formats:
        raise ConfigError([Problem(message=f"--out is {out}, but must have a name before the ending")])
    if ending in formats:
        return [out]
    if ending and ending.isalpha():
        message = f"--out ends in .{ending}, but must end in one of {', '.join(f'.{name}' for name in formats)}"
        raise ConfigError([Problem(message=message)])
    return [out.with_name(f"{out.name}.{name}") for name in ("png", "svg")]
