"""The table of commands. Each lives in its own file, and loads what is heavy only when it runs."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import Annotated, Any

import typer

import grokray
from grokray.cli import (
    analyze,
    collect,
    decode,
    doctor,
    eval,
    fetch,
    plot,
    progress,
    report,
    schema,
    status,
    submit,
    sweep,
)

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    # The original writes --dim_model, other programs --dim-model: both are understood everywhere.
    "token_normalize_func": lambda name: name.replace("-", "_"),
}
COMMANDS = (
    *("sweep", "submit", "train", "data", "decode", "eval"),
    *("analyze", "report", "plot", "progress", "status", "fetch", "collect", "doctor", "schema"),
)
# Columns: in narrower ones the tables of --help cut the names of options, and words.
LEAST_FOR_OPTIONS, LEAST_FOR_COMMANDS = 80, 60
TRAIN_HELP = "Train one trial, without Ray. Options are named as in the original."
DATA_HELP = "Write a task's rows as Parquet and JSON files. A trial's parameters are those of train."


def make_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that understands these words, and the words as it is to be given them."""
    columns = get_terminal_size().columns
    least = LEAST_FOR_OPTIONS if any(word in COMMANDS for word in words) else LEAST_FOR_COMMANDS
    app = typer.Typer(
        name="grokray",
        add_completion=False,
        context_settings={**CONTEXT, "terminal_width": columns},
        rich_markup_mode="rich" if columns >= least else None,
        no_args_is_help=False,
    )
    app.callback()(_grokray)
    app.command()(sweep.sweep)
    app.command()(submit.submit)
    train: Any = _named_only
    if "train" in words:  # its many options cost time to make
        from grokray.cli.train import make_train
        from grokray.cli.train_options import spell_out_flags

        train, words = make_train(), spell_out_flags(words)
    app.command("train", help=TRAIN_HELP)(train)
    data: Any = _named_only
    if next((word for word in words if not word.startswith("-")), None) == "data":
        from grokray.cli.data import make_data
        from grokray.cli.train_options import spell_out_flags

        data, words = make_data(), spell_out_flags(words)
    app.command("data", help=DATA_HELP)(data)
    app.command()(decode.decode)
    if words[:1] == ["decode"]:
        words = decode.question_last(words)
    app.command("eval")(eval.evaluate)
    app.command()(analyze.analyze)
    app.command()(report.report)
    app.command()(plot.plot)
    app.command()(progress.progress)
    app.command()(status.status)
    app.command()(fetch.fetch)
    app.command()(collect.collect)
    app.command()(doctor.doctor)
    app.command()(schema.schema)
    command = typer.main.get_command(app)
    _show_no_type_of_flags(command)
    return command, words or ["--help"]


def _show_no_type_of_flags(group: Any) -> None:
    """Some versions of typer write `--best <bool>`, as if a value were to follow."""
    names: Any = {"help_option_names": CONTEXT["help_option_names"]}  # the option of help is made once
    for command in (group, *group.commands.values()):
        for parameter in command.get_params(typer.Context(command, **names)):
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"grokray {grokray.__version__}")
        raise typer.Exit


def _grokray(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; also with GROKRAY_DEBUG=1.")] = False,
) -> None:
    """Sweeps of grokking experiments: many small transformers trained together, and what became of them."""


def _named_only() -> None:
    """Stands in the list of commands."""
