"""`grokray schema`: what a search space may hold, for editors."""

from __future__ import annotations


def schema() -> int:
    """Print the JSON Schema of search spaces."""
    from grokray.sweep.schema import schema_text

    print(schema_text(), end="")
    return 0
