"""How the Jobs API of a cluster is reached from here: at an address, or through an ssh tunnel to its head.

A door is opened anew whenever the connection was lost.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from grokray.errors import ConfigError, ExecutionError, Problem
from grokray.records.uri import hide_secrets
from grokray.sweep.cluster_file import refuse_other_files
from grokray.sweep.guard import jobs_answer

TUNNEL_S = 90.0
_RAY = "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; sys.exit(main())"


class Door(Protocol):
    def open(self) -> AbstractContextManager[str]:
        """`http://host:port` of the Jobs API, while this holds. ExecutionError if there is no way to it."""
        ...

    def stop_command(self, job_id: str) -> str:
        """What ends a job, for a shell."""
        ...


def door(*, cluster: str | None, address: str | None) -> Door:
    """By the file of a cluster that `ray up` started, or the address of its Jobs API. ConfigError if not just one of
    them is given, or it cannot be."""
    if (cluster is None) == (address is None):
        stated = "neither --cluster nor --address is given, but one of them must be"
        if cluster is not None:
            stated = "both --cluster and --address are given, but only one of them may be"
        hint = "--cluster names the file that `ray up` was given, --address a Jobs API, such as http://127.0.0.1:8265."
        raise _refused(stated, hint)
    if cluster is not None:
        if not Path(cluster).is_file():
            raise _refused(f"--cluster is {cluster}, but must be the file of a cluster", "there is no such file")
        refuse_other_files(cluster)
        return Tunnel(cluster)
    return Direct(_url(str(address)))


@dataclass(frozen=True)
class Direct:
    """The Jobs API is at this URL."""

    url: str

    @contextmanager
    def open(self) -> Iterator[str]:
        yield self.url

    def stop_command(self, job_id: str) -> str:
        return _stop(job_id, self.url)


def _stop(job_id: str, url: str) -> str:
    return f"RAY_AUTH_MODE=token {shlex.join(['ray', 'job', 'stop', job_id, '--address', url])}"


@dataclass(frozen=True)
class Tunnel:
    """Through `ray dashboard FILE`, which forwards a port of this machine to the head's dashboard by ssh."""

    cluster: str

    @contextmanager
    def open(self) -> Iterator[str]:
        port = _free_port()
        with tempfile.TemporaryFile() as said:
            # A session of its own: Ctrl-C is for us alone, and ssh, without a terminal, cannot ask for anything.
            process = subprocess.Popen(
                [sys.executable, "-c", _RAY, "dashboard", self.cluster, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"RAY_LOG_TO_STDERR": "0"},
            )
            try:
                yield self._await(process, f"http://127.0.0.1:{port}", said)
            finally:
                _end(process)

    def stop_command(self, job_id: str) -> str:
        return shlex.join(["ray", "exec", self.cluster, _stop(job_id, "http://127.0.0.1:8265")])

    def _await(self, process: subprocess.Popen[bytes], url: str, said: IO[bytes]) -> str:
        deadline = time.monotonic() + TUNNEL_S
        while jobs_answer(url) == "silent":
            if process.poll() is not None or time.monotonic() > deadline:
                hint = "`ray up` starts the cluster. If your ssh key has a passphrase, `ssh-add` it first."
                raise ExecutionError(f"no way to the head of {self.cluster}: {_last_line(said)}", hint=hint)
            time.sleep(0.25)
        return url


def _end(process: subprocess.Popen[bytes]) -> None:
    """ssh is its child."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "nothing answers there")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _url(address: str) -> str:
    url = address if "://" in address else f"http://{address}"
    if not _is_web(url):
        shown = hide_secrets(address) or "empty"
        raise _refused(
            f"--address is {shown}, but must be that of a Jobs API, such as http://127.0.0.1:8265",
            "grokray sweep --address takes a host:port of Ray itself.",
        )
    return url.rstrip("/")


def _is_web(url: str) -> bool:
    """Whether it names a host, and nobody's credentials."""
    try:
        parts = urlsplit(url)
        named = parts.hostname and (parts.port is None or parts.port > 0)  # ValueError where that is no port
    except ValueError:
        return False
    return bool(named) and parts.scheme in ("http", "https") and "@" not in url and not re.search(r"\s", url)


def _refused(message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(message=message)], hint=hint)
