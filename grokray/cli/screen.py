"""Standard output, for commands that print more than lines."""

from __future__ import annotations

from rich.console import Console


def screen() -> Console:
    """Prints texts as they are. Without a terminal it is 80 characters wide, unless COLUMNS says otherwise."""
    return Console(highlight=False, markup=False, emoji=False)
