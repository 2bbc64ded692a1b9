"""`grokray status`: how a sweep is doing, from its journal alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.errors import ConfigError, FolderError

if TYPE_CHECKING:
    from grokray.cli.overview import Overview


def status(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A sweep's folder, or its URI.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Say how a sweep is doing, or how it ended."""
    from grokray.records.parts import missing_parts, not_there, parts_of

    folders = parts_of(folder)
    parts = [_overview(part) for part in folders]
    unreadable = [found for found in parts if isinstance(found, FolderError | ConfigError)]
    if len(parts) == 1 and unreadable:
        raise unreadable[0]
    if as_json:
        plain = [_as_plain(part, found) for part, found in zip(folders, parts, strict=True)]
        print(json.dumps(plain[0] if len(plain) == 1 else {"parts": plain}, indent=2, ensure_ascii=False))
    else:
        _show(parts)
        if missing := missing_parts(folder, folders):
            print(f"\n{not_there(missing)}")
    if unreadable:
        raise unreadable[0]
    return 0


def _overview(part: str) -> Overview | FolderError | ConfigError:
    """One part that cannot be read hides none of the others."""
    from grokray.cli.overview import overview

    try:
        return overview(part)
    except (FolderError, ConfigError) as error:
        return error


def _as_plain(part: str, found: Overview | FolderError | ConfigError) -> dict[str, Any]:
    from grokray.cli.overview import as_plain
    from grokray.records.uri import hide_secrets

    return {"folder": hide_secrets(part), "error": str(found)} if isinstance(found, Exception) else as_plain(found)


def _show(parts: list[Overview | FolderError | ConfigError]) -> None:
    from grokray.cli.overview import show
    from grokray.cli.screen import screen

    for number, found in enumerate(parts):
        if number:
            print()
        if isinstance(found, Exception):
            print(found)
        else:
            show(screen(), found)
