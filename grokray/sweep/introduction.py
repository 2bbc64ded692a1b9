"""What an engine of a cluster says of its node before it gets a trial, and a trial's own process with its first result.

A node may lack the folder, or credentials for it, and may have other versions than the driver: trials would be sent
there again and again, or their curves be lost.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from grokray.errors import GrokrayError
from grokray.records.folder import SweepFolder
from grokray.sweep.doctor import Software, of_versions
from grokray.sweep.versions import code, versions


@dataclass(frozen=True, kw_only=True)
class Introduction:
    """`seats`: how many trials may train there at a time. `fault`: why the sweep's folder cannot be used there."""

    seats: int
    node: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    code: str = ""
    fault: str | None = None


def introduced(seats: int, uri: str) -> Introduction:
    """This process, as an engine of the sweep in the folder `uri`; answers within some seconds."""
    fault = _fault_of(uri)
    return replace(here(seats=0 if fault else seats), fault=fault)


def here(*, seats: int) -> Introduction:
    """This process, without a look at any folder."""
    return Introduction(seats=seats, node=socket.gethostname(), versions=versions(), code=code())


def remarks(said: Introduction, mine: Software) -> Iterator[str]:
    """What a person should know of it."""
    if said.fault:
        yield f"no trial is sent to {said.node}: {said.fault}"
    if said.versions:
        for finding in of_versions(said, mine):
            if finding.level != "ok":
                yield f"on {said.node} {finding.text}: its curves may be others. {finding.cure}"


def _fault_of(uri: str) -> str | None:
    try:
        # A folder that is not mounted there would be made, on a disk of its own.
        store = SweepFolder.open(uri).store
        with store.impatient():
            store.check()
    except GrokrayError as error:
        return str(error)
    return None
