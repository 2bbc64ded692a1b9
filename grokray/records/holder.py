"""Who holds a lock, as the lock's file says it."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from grokray.records.uri import hide_secrets


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock. Times in unix seconds; `token` tells two holders apart.

    `place` names what the process id is valid in, a boot of a machine and a container there, and `born` when in it the
    process began, since ids are used again; empty if unknown.
    """

    host: str
    pid: int
    command: str
    since: float
    refreshed: float
    token: str
    place: str = ""
    born: str = ""

    @classmethod
    def here(cls, command: str | None) -> Holder:
        """This process, called by its command line unless another `command` is given."""
        now = time.time()
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            command=command or _command_line(),
            since=now,
            refreshed=now,
            token=secrets.token_hex(8),
            place=_place(),
            born=_born(os.getpid()),
        )

    @classmethod
    def decode(cls, data: bytes) -> Holder | None:
        """None for what is being written at this moment, or no holder at all."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None

    def encode(self, **changes: float) -> bytes:
        return (json.dumps(asdict(self) | changes) + "\n").encode()

    @property
    def dead(self) -> bool:
        """Whether its process is surely gone: it ran here, and does so no more."""
        return bool(self.place and self.born) and self.place == _place() and self.born != _born(self.pid)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{self.command!r} (process {self.pid} on {self.host}, since {since})"


def _place() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    return ""


def _born(pid: int) -> str:
    """Clock ticks since the boot at which a process began; empty if there is none."""
    with suppress(OSError, KeyError):
        return process_stat(pid)[22]
    return ""


def process_stat(pid: int) -> dict[int, str]:
    """What Linux says of a process of this machine, by the numbers of its manual (proc(5)), from the third on; OSError
    if there is none."""
    # The second, its name, is in brackets, and may hold anything.
    return dict(enumerate(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split(), 3))


def _command_line() -> str:
    return shlex.join([os.path.basename(sys.argv[0]) or "python", *map(hide_secrets, sys.argv[1:])])
