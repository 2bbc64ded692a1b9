"""matplotlib's figures as SVG inside a page: in the page's colours, without ids that two figures share."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from grokray.analysis.figures import trial
from grokray.analysis.figures.style import ON_COLOUR, PALETTE, WIDTH, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours of the curves' figures, which are also drawn by themselves on white paper.
ELSEWHERE = {
    "memorized": trial.MEMORIZED,
    "grokked": trial.GROKKED,
    "edge": trial.EDGE,
    "label": trial.LABEL,
    "teal": trial.LOOKS["out_of_domain"][1],
}
COLOURS = {colour.lower(): name for name, colour in {**PALETTE, **ELSEWHERE}.items()}
_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
_TAG, _LONG_NUMBER = re.compile(r"<[^>]*>"), re.compile(r"-?\d+\.\d{3,}(?![\d%])")
_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(url\(#|href="#)([^")]+)')


def inline_svg(draw: Callable[[Axes], Any], name: str, described: str, height: float, width: float = WIDTH) -> str:
    """What `draw` draws into axes of so many inches, as an <svg> element; `name` is its own on the page, `described`
    is read out in its place."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")  # the page shows through
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return embedded(buffer.getvalue(), name, described)


def embedded(text: str, name: str, described: str) -> str:
    """A file's SVG as an element: colours as CSS variables, ids with `name` before them."""
    text = text[text.index("<svg") :]
    # Its style is for the whole document: the page has it for figures alone.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = _TAG.sub(lambda tag: _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", tag[0]), text)
    text = _COLOUR.sub(lambda found: _variable(found[0]), text)
    text = _ID.sub(lambda found: f'id="{name}-{found[1]}"', text)
    text = _REFERENCE.sub(lambda found: f"{found[1]}{name}-{found[2]}", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    if box is None:
        raise ValueError("the SVG has no viewBox")
    opening = f'<svg role="img" aria-label="{escape(described)}" viewBox="{box[1]}" class="figure">'
    # Fonts of the page, which every machine has.
    text = re.sub(r"'DejaVu Sans'.*?sans-serif", "system-ui, sans-serif", text)
    return re.sub(r"<svg[^>]*>", opening, text, count=1).strip()


def _variable(colour: str) -> str:
    """#0072b2 → var(--blue); a colour without a name, such as black upon a phase's colour, as it is."""
    name = COLOURS.get(colour.lower())
    if name is None:
        return colour if colour.lower() != ON_COLOUR else "#000"
    return f"var(--{name})"
