"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from grokray.wording import count, short

_MOST_DIGITS = 17  # of a float: any two are told apart
_WITHIN = 0.1  # of a range's width: an end that is rounded further off seems to be another one


def readable(value: float, digits: int = 3) -> str:
    """That many significant digits, and never fewer than the whole part: 0.01234 → `0.0123`, 12_345.6 → `12,346`."""
    return f"{value:.{digits}g}" if abs(value) < 10**digits - 0.5 else f"{value:,.0f}"


def ends(edges: Sequence[float]) -> list[str]:
    """The ends of neighbouring ranges, in order, with as many digits as show each where it is: 0.999, 0.99945, 0.9999 →
    `0.999`, `0.99945`, `0.9999`. With three the second would be the first, and the last beyond all that was tried."""
    widths = [high - low for low, high in pairwise(edges)]
    slack = [_WITHIN * min(widths[max(at - 1, 0) : at + 1]) for at in range(len(edges))]
    for digits in range(3, _MOST_DIGITS + 1):
        texts = [readable(edge, digits) for edge in edges]
        if all(_is_near(text, *one) for text, *one in zip(texts, edges, slack, strict=True)):
            break
    return texts


def ranges(edges: Sequence[float]) -> list[str]:
    """`0.1 to 0.2`, `0.2 to 0.4` of 0.1, 0.2, 0.4."""
    return [f"{low} to {high}" for low, high in pairwise(ends(edges))]


def value_text(value: object, digits: int = 6) -> str:
    """A parameter's value as a search space has it: 2.0, as columns with gaps hold 2, is `2`; True `true`; "" `""`."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return readable(value, digits) if isinstance(value, float) else short(str(value)) or '""'


def value_texts(values: Sequence[object]) -> list[str]:
    """Each as `value_text` has it, with as many digits as tell them apart."""
    for digits in range(6, _MOST_DIGITS + 1):
        texts = [value_text(value, digits) for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def names_apart(labels: Sequence[str]) -> list[str]:
    """Each by itself, where two are the same: `a`, `b`, `a` → `a`, `b`, `a (2)`."""
    found: list[str] = []
    for label in labels:
        name, number = label, 1
        while name in found:
            number += 1
            name = f"{label} ({number})"
        found.append(name)
    return found


def counted(number: int, noun: str, one: str, many: str) -> str:
    """`1 trial was`, `2 trials were`: what is said of one, or of any other number."""
    return f"{count(number, noun)} {one if number == 1 else many}"


def _is_near(text: str, edge: float, slack: float) -> bool:
    return math.isinf(edge) or abs(float(text.replace(",", "")) - edge) <= slack
