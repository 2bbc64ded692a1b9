"""Numbers as people read them."""

from __future__ import annotations

from grokray.wording import count


def readable(value: float, digits: int = 3) -> str:
    """That many significant digits, and never fewer than the whole part: 0.01234 → `0.0123`, 12_345.6 → `12,346`."""
    return f"{value:.{digits}g}" if abs(value) < 10**digits - 0.5 else f"{value:,.0f}"


def value_text(value: object) -> str:
    """A parameter's value as a search space has it: 2.0, as columns with gaps hold 2, is `2`; True `true`; "" `""`."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return readable(value, 6) if isinstance(value, float) else str(value) or '""'


def counted(number: int, noun: str, one: str, many: str) -> str:
    """`1 trial was`, `2 trials were`: what is said of one, or of any other number."""
    return f"{count(number, noun)} {one if number == 1 else many}"
