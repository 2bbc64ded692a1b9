"""What is wrong with a command line, in one clear message with the nearest name.

typer brings its own copy of click since 0.26 and used the installed one before: its exceptions are reached through
names that it has always had.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import typer

USAGE_ERROR: Any = typer.BadParameter.__base__
ABORT = typer.Abort


def explain(error: Any) -> list[str]:
    """`error: no such option: --dropuot; the nearest is --dropout` and where help is."""
    message = str(error.format_message()).strip().rstrip(".")
    name = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and name:
        near = get_close_matches(name.replace("-", "_"), _options(error.ctx), n=1)
        message = f"no such option: {name}" + (f"; the nearest is {near[0].replace('__', '--', 1)}" if near else "")
    path = error.ctx.command_path if getattr(error, "ctx", None) else "grokray"
    return [f"error: {message[:1].lower()}{message[1:]}", f"hint: {path} --help"]


def _options(ctx: Any) -> dict[str, None]:
    """Every option of the command, with its dashes as underscores, as the parser compares them."""
    if ctx is None:
        return {}
    spellings = [o for p in ctx.command.params if p.param_type_name == "option" for o in p.opts]
    return dict.fromkeys(o.replace("-", "_") for o in spellings if o.startswith("--"))
