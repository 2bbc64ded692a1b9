"""Where there is room for labels. Widths are estimated, in inches: what lies where is known only once all is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTER, NARROW, LINE = 0.071, 0.036, 0.15  # of 8 points: a letter's width, that of a comma, and a line's height
GAP = 0.09  # between two labels
LONGEST = 40  # letters
LINES_APART = 1.15
FROM_SIDES = 0.775  # of a figure is within its axes before it is laid out
HANDLE = 0.55  # a legend's sign, and the gaps beside it
AXIS = 0.65  # beside or below axes: a label, ticks, and short texts of these
MOST_TURNED = 12  # numbers; of more, which are a scale, some are left out
SEPARATORS = "_ +-*/,.:;()^"


def width_of(text: str) -> float:
    """Of the longest of its lines."""
    return max(sum(NARROW if letter in ",.:;'|il " else LETTER for letter in line) for line in text.split("\n"))


def room_of(axes: Axes) -> float:
    """The width of what the axes have for themselves and their labels."""
    return axes.bbox.width / axes.figure.dpi / FROM_SIDES


def columns_in(room: float, texts: Sequence[str], most: int = 3) -> int:
    """Of a legend with these texts."""
    return int(np.clip(room / (HANDLE + max((width_of(text) for text in texts), default=0.0)), 1, most))


def name_choices(axes: Axes, places: Sequence[float] | np.ndarray, labels: Sequence[str], room: float) -> None:
    """Below the axes: side by side where that fits in `room`, or else turned, in two lines where that fits. Of many
    numbers, as of names for which even so there is no room, some have none."""
    every, turned, texts = _arranged(labels, room)
    shown = [as_written(text) if not at % every else "" for at, text in enumerate(texts)]
    axes.set_xticks(places, shown, rotation=90 if turned else 0, linespacing=LINES_APART)


def height_of_choices(labels: Sequence[str], room: float) -> float:
    """By how much they are higher than a line."""
    _, turned, texts = _arranged(labels, room)
    return max(width_of(text) for text in texts) - LINE if turned else 0.0


def in_lines(label: str, letters: int) -> str:
    """In two lines where it has more letters than that, after a sign near its middle."""
    label = shortened(label)
    if len(label) <= letters:
        return label
    middle = len(label) / 2
    places = [at for at in range(1, len(label)) if label[at - 1] in SEPARATORS] or [round(middle)]
    place = min(places, key=lambda at: abs(at - middle))
    return f"{label[:place]}\n{label[place:]}"


def shortened(label: str) -> str:
    """Without its middle where it is long: what tells names apart is as often at their end."""
    half = (LONGEST - 1) // 2
    return label if len(label) <= LONGEST else f"{label[:half]}…{label[-half:]}"


def as_written(text: str) -> str:
    """For a text of the user's, such as a folder's name: what stands between two `$` would be read as mathematics."""
    return text.replace("$", r"\$")


def _arranged(labels: Sequence[str], room: float) -> tuple[int, bool, list[str]]:
    """Every how many-th has a text, whether they are turned, and the texts."""
    texts, step = [shortened(label) for label in labels], room / max(len(labels), 1)
    widest = max((width_of(text) for text in texts), default=0.0) + GAP
    if widest <= step:
        return 1, False, texts
    if len(labels) > MOST_TURNED and all(_is_number(label) for label in labels):
        return int(np.ceil(widest / step)), False, texts
    if step >= 2 * LINE:
        texts = [in_lines(label, 16) for label in labels]
    return int(np.ceil(LINE / step)), True, texts


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return text == "none"
    return True
