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
    from grokray.records.parts import missing_parts, not_there, parts_of

    folders = parts_of(folder)
    parts = [overview(part) for part in folders]
    if as_json:
        plain = [as_plain(found) for found in parts]
        print(json.dumps(plain[0] if len(plain) == 1 else {"parts": plain}, indent=2, ensure_ascii=False))
        return 0
    for number, found in enumerate(parts):
        if number:
            print()
        show(screen(), found)
    if missing := missing_parts(folder, folders):
        print(f"\n{not_there(missing)}")
    return 0
