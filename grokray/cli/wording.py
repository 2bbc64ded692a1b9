"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

from grokray.wording import NOTHING, short

PART_NAMES = {"train": "training", "heldout": "held-out", "out_of_domain": "out of domain"}


def duration(seconds: float) -> str:
    """3725 → `1 h 2 min`, 95 → `1 min 35 s`, 7.2 → `7 s`."""
    whole = max(int(seconds), 0)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def memory(size: float) -> str:
    """Bytes, in decimal units: 5_200_000 → `5.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1_000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1_000
    raise AssertionError("unreachable")


def value(parameter: Any) -> str:
    """A parameter's value: four significant digits of a number, `true`, or – where there is none."""
    if parameter is None:
        return NOTHING
    if isinstance(parameter, bool):
        return str(parameter).lower()
    if isinstance(parameter, float):
        return f"{parameter:.4g}"
    return short(str(parameter))
