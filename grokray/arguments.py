"""Arguments of Python's functions and variables of the environment, looked at where they come in: a ConfigError names
argument, value and rule."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from grokray.errors import ConfigError, Problem
from grokray.wording import show

# Variables of the environment that are 0 or 1: how kernels multiply, and whether they are compiled ahead.
ONEDNN, COMPILE_AHEAD = "GROKRAY_ONEDNN", "GROKRAY_COMPILE_AHEAD"
SWITCHES = (ONEDNN, COMPILE_AHEAD)


def refused(name: str, value: Any, rule: str) -> ConfigError:
    """`share is 'x', but must be in (0, 1]`."""
    return ConfigError([Problem(message=f"{name} is {show(value)}, but {rule}", field=name)])


def a_path(value: Any, name: str = "path") -> str:
    """A path or a URI, as a text."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        raise refused(name, value, "must be a path or a URI")
    return text


def start_of_id(value: Any, name: str = "trial") -> str:
    """A trial's id, or how it begins."""
    if not isinstance(value, str) or not value.strip():
        raise refused(name, value, "must be a trial's id, or how it begins")
    return value


def texts(value: Any, name: str) -> list[str]:
    """A list of texts; a single one stands for a list of it alone."""
    if isinstance(value, str):
        return [value]
    found: list[Any] = list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(text, str) for text in found):
        raise refused(name, value, "must be a text, or a list of them")
    return found


def switch(variable: str) -> bool | None:
    """Of the environment: whether it is 1 or 0; None where it is not set, or to nothing."""
    text = os.environ.get(variable, "").strip()
    if text not in ("", "0", "1"):
        raise refused(variable, text, "must be 0 or 1")
    return text == "1" if text else None


def check_switches() -> None:
    """All of them, before anything starts."""
    for variable in SWITCHES:
        switch(variable)
