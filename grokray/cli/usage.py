"""What is wrong with a command line, in one clear message with the nearest name.

typer brings its own copy of click by now, and used the installed one before: its exceptions are reached through names
that it has always had.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import typer

from grokray.errors import ConfigError, Problem
from grokray.wording import near, nearest, show

USAGE_ERROR: Any = typer.BadParameter.__base__
ABORT = typer.Abort
THREADS_OF_A_CORE, ALWAYS_ALLOWED = 4, 64


def explain(error: Any, words: Sequence[str], commands: Collection[str]) -> list[str]:
    """`error: no such option: --dropuot; the nearest is --dropout`, and where help is."""
    message = str(error.format_message()).strip().rstrip(".")
    if type(error).__name__ == "NoSuchOption":
        message = _no_such_option(error, words)
    elif message.startswith("No such command"):
        name = next(word for word in words if not word.startswith("-"))
        message = f"no such command: {name}{nearest(name, commands)}"
    named = [word for word in words if word in commands]
    return [f"error: {message[:1].lower()}{message[1:]}", f"hint: {' '.join(['grokray', *named[:1], '--help'])}"]


def whole_number(option: str, text: str, *, at_least: int, at_most: int | None = None) -> int:
    """`--examples is -1, but must be at least 0`, or the number."""
    try:
        number = number_in(text)
    except ValueError:
        number = None
    if not isinstance(number, int):
        raise _refused(f"{option} is {show(text)}, but must be a whole number")
    if number < at_least:
        raise _refused(f"{option} is {show(number)}, but must be at least {at_least}")
    if at_most is not None and number > at_most:
        raise _refused(f"{option} is {show(number)}, but must be at most {at_most}")
    return number


def threads_of(text: str) -> int:
    """The number of --threads. PyTorch starts as many as it is told to, and falls over at thousands."""
    threads, cores = whole_number("--threads", text, at_least=1), os.cpu_count() or 1
    most = max(THREADS_OF_A_CORE * cores, ALWAYS_ALLOWED)
    if threads > most:
        rule = f"{THREADS_OF_A_CORE} for each core, of which there {'is' if cores == 1 else 'are'} {cores}"
        raise _refused(
            f"--threads is {show(threads)}, but must be at most {most}: {rule}, or {ALWAYS_ALLOWED} if that is more"
        )
    return threads


def number(option: str, text: str) -> float:
    """`--level is 'x', but must be a number`, or the number."""
    try:
        return number_in(text)
    except ValueError:
        raise _refused(f"{option} is {show(text)}, but must be a number") from None


def number_in(text: str) -> int | float:
    """1000 for `1000` and `1e3`, 2.5 for `2.5`. ValueError where it is none."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
    return int(number) if number.is_integer() else number


def one_of(option: str, text: str, choices: Sequence[str]) -> Any:
    if text not in choices:
        raise _refused(f"{option} is {text!r}, but must be one of {', '.join(choices)}")
    return text


def _no_such_option(error: Any, words: Sequence[str]) -> str:
    name = _plain(error.option_name)
    written = next((word for word in words if _plain(word.partition("=")[0]) == name), error.option_name)
    parameters = error.ctx.command.params if error.ctx else []
    known = {_plain(spelling): spelling for p in parameters for spelling in p.opts if spelling.startswith("--")}
    found = " or ".join(known[one] for one in near(name, known))
    return f"no such option: {written.partition('=')[0]}" + (f"; the nearest is {found}" if found else "")


def _plain(option: str) -> str:
    """As the parser compares names: - and _ mean the same."""
    return option.lstrip("-").replace("-", "_")


def _refused(message: str) -> ConfigError:
    return ConfigError([Problem(message=message)])
