"""How values, numbers and errors are written, wherever grokray says something to a person."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

NOTHING = "–"
_CHARACTERS = 60  # of a value
# As repr writes a byte that is no text in the locale's encoding. What is a backslash of the text itself, it doubles.
_BYTE = re.compile(r"(?<!\\)((?:\\\\)*)\\u(dc[89a-f][0-9a-f])")


# A checkpoint's path, whose folder is called after the trial.
_CHECKPOINT = re.compile(r"(?:.*/)?([0-9a-f]{8})[0-9a-f]{8}/(?:(last|best)-)?(\d{10})-[0-9a-f]{64}\.pt")


def short(text: str) -> str:
    """A checkpoint's path by its trial and step, `ae50d0f5 at 2,000` or `ae50d0f5 best at 2,600`; other texts whole."""
    if not (found := _CHECKPOINT.fullmatch(text)):
        return text
    trial, kind, step = found.groups()
    return f"{trial}{f' {kind}' if kind else ''} at {int(step):,}"


def show(value: Any) -> str:
    """As YAML would write it, on one line, cut where it is long: `'fast'`, `null`, `true`, `[1, 2]`."""
    text = _as_yaml(value)
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 3]}..."


def nearest(name: object, names: Collection[str]) -> str:
    """`; the nearest is learning_rate`, or nothing where no name is near."""
    found = near(str(name), names)
    return f"; the nearest is {' or '.join(found)}" if found else ""


def near(name: str, names: Collection[str]) -> list[str]:
    """The name that is spelt most like it, or else those that it has the initials of, as `lr` of learning_rate."""
    spelt = get_close_matches(name, names, n=1)
    if spelt or len(name) < 2:
        return spelt
    return [full for full in names if name.lower() == "".join(word[:1] for word in full.split("_"))]


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a, b, c, …`: the first few."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def count(number: int, noun: str) -> str:
    """`1,234 trials`, `1 trial`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def percent(share: float | None) -> str:
    """0.4567 → `45.7 %`; – where there is none. Only all of it is 100 %, only none of it 0 %."""
    if share is None or math.isnan(share):
        return NOTHING
    shown = 100 * share
    if 0 < abs(share) < 1:
        shown = math.copysign(min(max(abs(shown), 0.1), 99.9), shown)
    text = f"{shown:.0f}" if share in (0, 1) else f"{shown:.1f}"
    return f"{text.replace('-', '−')} %"


def first_line(said: BaseException | str, otherwise: str = "") -> str:
    """The first line of an error, or of a text. Where it says nothing: `otherwise`, else the error's class."""
    if lines := str(said).strip().splitlines():
        return lines[0]
    return otherwise or (type(said).__name__ if isinstance(said, BaseException) else "")


def in_a_line(error: BaseException) -> str:
    """`KeyError: 'step'`: class and first line; the class alone where it says nothing."""
    name, text = type(error).__name__, first_line(error)
    return name if text == name else f"{name}: {text}"


def _as_yaml(value: Any) -> str:
    if isinstance(value, str):  # bytes that are no text go out as they came in
        return _BYTE.sub(lambda found: found[1] + chr(int(found[2], 16)), repr(value))
    if isinstance(value, float):  # JSON has other names for nan and inf
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)
