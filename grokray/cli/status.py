"""`grokray status`: how a sweep is doing, from its journal alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def status(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A sweep's folder, or its URI.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Say how a sweep is doing, or how it ended."""
    from grokray.cli.overview import as_plain, overview, show
    from grokray.cli.screen import screen

    found = overview(folder)
    if as_json:
        print(json.dumps(as_plain(found), indent=2, ensure_ascii=False))
    else:
        show(screen(), found)
    return 0
