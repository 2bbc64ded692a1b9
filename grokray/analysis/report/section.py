"""What a page is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokray.analysis.findings.finding import Finding
from grokray.analysis.findings.words import Shown, shown
from grokray.analysis.report.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 60


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`svg` is an element with a description of its own; `caption` says what it shows, of how many, and the level."""

    svg: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class TableOnPage:
    """`caption` stands above it; `cut` says how many rows are left out."""

    caption: str
    texts: Shown
    cut: int = 0


@dataclass(frozen=True, kw_only=True)
class Section:
    """`id` is its anchor. Tables that are `folded` are shown on demand."""

    id: str
    title: str
    summary: str = ""
    about: str = ""
    missing: str | None = None
    pictures: tuple[Picture, ...] = ()
    tables: tuple[TableOnPage, ...] = ()
    folded: tuple[TableOnPage, ...] = ()
    notes: tuple[str, ...] = ()


class Pictures:
    """Draws the pictures of one section, each with a name of its own."""

    def __init__(self, section: str) -> None:
        self.section, self.drawn = section, []

    def add(self, draw: Callable[[Axes], Any], caption: str, height: float) -> None:
        svg = inline_svg(draw, f"{self.section}-{len(self.drawn) + 1}", caption, height)
        self.drawn.append(Picture(svg=svg, caption=caption))


def section_of(
    finding: Finding,
    about: str,
    pictures: Pictures | None = None,
    captions: dict[str, str] | None = None,
    folded: tuple[str, ...] = (),
) -> Section:
    """A finding with its figures; `captions` are of its tables by name, those without one are not on the page."""
    tables = {
        name: TableOnPage(caption=caption, texts=shown(table.head(MOST_ROWS)), cut=max(len(table) - MOST_ROWS, 0))
        for name, caption in (captions or {}).items()
        if (table := finding.tables.get(name)) is not None
    }
    return Section(
        id=finding.name,
        title=finding.title,
        summary=finding.summary,
        about=about if finding.missing is None else "",
        missing=finding.missing,
        pictures=tuple(pictures.drawn) if pictures else (),
        tables=tuple(table for name, table in tables.items() if name not in folded),
        folded=tuple(table for name, table in tables.items() if name in folded),
        notes=finding.notes,
    )
