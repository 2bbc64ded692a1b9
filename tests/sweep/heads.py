"""A real head of a cluster on this machine, with ports, a home and a session folder of its own; gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grokray
from grokray.sweep.guard import jobs_answer

UP_S = 180.0
BIN = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Head:
    """`environment` is that of its processes; `token` is None where it asks for none."""

    gcs: str
    url: str
    home: Path
    session: Path
    token: str | None
    environment: dict[str, str]

    def of_user(self, **more: str) -> dict[str, str]:
        """The environment of who has the token, in a file."""
        return {name: value for name, value in self.environment.items() if not name.startswith("RAY_AUTH")} | more


@contextmanager
def head(*, guarded: bool = True, num_cpus: int = 2, **environment: str) -> Iterator[Head]:
    """Up while this holds. Its processes have `environment` too."""
    short = Path(tempfile.mkdtemp(prefix="gr-"))  # the paths of sockets may have 107 characters
    home = short / "home"
    (home / ".ray").mkdir(parents=True, mode=0o700)
    token = environment.get("RAY_AUTH_TOKEN") or secrets.token_hex(16)
    (home / ".ray/auth_token").touch(mode=0o600)
    (home / ".ray/auth_token").write_text(token)
    own = clean_environment(home) | {"RAY_AUTH_MODE": "token" if guarded else "disabled"} | environment
    ports = free_ports(5)
    options = {
        "port": ports[0],
        "dashboard-port": ports[1],
        "dashboard-agent-listen-port": ports[2],
        "ray-client-server-port": ports[3],
        "metrics-export-port": ports[4],
        "num-cpus": num_cpus,
        "temp-dir": short / "s",
        "object-store-memory": 80_000_000,
    }
    words = [str(BIN / "ray"), "start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())]
    with (short / "head.log").open("wb") as log:
        process = subprocess.Popen(words, env=own, stdout=log, stderr=log, start_new_session=True)
    found = Head(
        gcs=f"127.0.0.1:{ports[0]}",
        url=f"http://127.0.0.1:{ports[1]}",
        home=home,
        session=short / "s",
        token=token if guarded else None,
        environment=own,
    )
    try:
        deadline = time.monotonic() + UP_S
        while jobs_answer(found.url, token) != "open":
            said = (short / "head.log").read_text()
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.5)
        yield found
    finally:
        kill_all_of(str(short), process)
        shutil.rmtree(short, ignore_errors=True)


def clean_environment(home: Path) -> dict[str, str]:
    """Of a user with this home, who runs this grokray and knows of no cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "WANDB_"))}
    root = str(Path(grokray.__file__).parents[1])
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    return kept | {"HOME": str(home), "PATH": path, "PYTHONPATH": root, "RAY_USAGE_STATS_ENABLED": "0"}


def kill_all_of(folder: str, process: subprocess.Popen[bytes]) -> None:
    """The process, and every other one that has to do with the folder."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(path.name) != os.getpid() and _has_to_do_with(path, folder):
                    os.kill(int(path.name), number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


def _has_to_do_with(process: Path, folder: str) -> bool:
    """By its command line, or a file that it has open: Ray's processes overwrite the one, and with it the environment,
    with a title of theirs."""
    if folder.encode() in (process / "cmdline").read_bytes():
        return True
    return any(folder in os.readlink(link) for link in (process / "fd").iterdir())


def command_lines() -> dict[int, str]:
    """Of every process of this machine, as anybody may read them."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
