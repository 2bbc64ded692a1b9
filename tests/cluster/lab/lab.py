"""A network of machines on this one: namespaces, opened for one scenario and gone with it.

Needs root, no container runtime, and no network. `Lab` runs commands on the *client*, the machine that a user would sit
at; hosts are booted by `host_boot`, which the cloud's hypervisor does, or a test.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
CLIENT_IP = "172.31.255.254"  # as client_init and host_init have it
BIN = f"{sys.prefix}/bin"
# Of whoever uses an S3 server that is not Amazon's; the same on every machine, as an image would set it.
ENDPOINTS = {
    "AWS_ENDPOINT_URL": f"http://{CLIENT_IP}:5000",
    "AWS_ENDPOINT_URL_S3": f"http://{CLIENT_IP}:9000",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
ENVIRONMENT = {
    "PATH": f"{BIN}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray makes its workers nice by 15: beside other tests on the same cores they would hardly be computed, while Ray's
    # own processes on each of the lab's machines go on taking their share.
    "RAY_worker_niceness": "0",
    **{name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")},
    **ENDPOINTS,
}


SSH = (
    "ssh",
    *("-i", "/root/.ssh/lab"),
    *("-o", "StrictHostKeyChecking=no"),
    *("-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR"),
    *("-o", "ConnectTimeout=10"),
)


class LabError(AssertionError):
    """Something in the lab went otherwise than the scenario needs; the message ends with its output."""


class Lab:
    """`folder` holds the logs, and files that test and client share; it is at the same place for both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid = 0
        self._services: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Lab:
        python = {Path(sys.prefix), Path(sys.base_prefix)}
        profile = [f"export {name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items()]
        environment = {
            **ENVIRONMENT,
            "LAB": str(self.folder),
            "SHOWN": "\n".join(map(str, (*sorted(python), REPOSITORY, self.folder))),
            "LAYERED": "\n".join(map(str, (*sorted(python), REPOSITORY))),
            "PROFILE": "\n".join(profile),
        }
        self._inside = environment | {"HOME": "/root", "PYTHONPATH": str(REPOSITORY)}
        with (self.folder / "lab.log").open("wb") as log:
            self._unshare = subprocess.Popen(
                ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL",
                 str(HERE / "client_init")],
                env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            self.wait_for("the client", (self.folder / "ready").exists, seconds=60, meanwhile=self._unshare)
        except LabError as error:
            self._unshare.kill()
            self._unshare.communicate()
            raise LabError(f"{error}\n{self.log('lab.log')}") from None
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        self._pid = int(children.read_text().split()[0])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """The kernel ends every process of the lab before its first one, and takes away what they had mounted."""
        os.kill(self._pid, signal.SIGKILL)
        self._unshare.communicate()
        for service in self._services:
            service.kill()
            service.communicate()

    def run(
        self,
        *command: str | Path,
        seconds: float = 120,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/root",
    ) -> subprocess.CompletedProcess[str]:
        """A command on the client, ended after so many seconds. LabError if it fails, unless `check` is False."""
        timed = ["timeout", "--kill-after=5", f"{seconds:g}", *command]
        done = subprocess.run(
            self._entering(timed, env, cwd), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if check and done.returncode:
            raise LabError(
                f"exit code {done.returncode} of {shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"
            )
        return done

    def on_host(self, ip: str, command: str, *, seconds: float = 120, check: bool = True) -> str:
        """What a command prints that runs on a host as its user would type it, with the host's whole environment."""
        typed = f"bash --login -i -c {shlex.quote(command)}"
        return self.run(*SSH, f"root@{ip}", typed, seconds=seconds, check=check).stdout

    def copy_to_host(self, ip: str, source: str | Path, target: str | Path = "/root/") -> None:
        """A file or folder of the client, with its modes; missing folders are made."""
        self.run("rsync", "--archive", "--mkpath", "--rsh", shlex.join(SSH), source, f"root@{ip}:{target}")

    def boot(self, name: str, ip: str) -> None:
        """A machine of one's own, as against a cloud's."""
        self.run(HERE / "host_boot", name, ip, "", "/root/.ssh/lab.pub")

    def cut_power(self, name: str) -> None:
        self.run(HERE / "host_cut", name)

    def start(
        self,
        *command: str | Path,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/root",
    ) -> subprocess.Popen[bytes]:
        """A command on the client that goes on in the background; what it prints is in `folder`/`log`."""
        with (self.folder / log).open("ab") as file:
            service = subprocess.Popen(
                self._entering(command, env, cwd), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self._services.append(service)
        return service

    def stop(self, service: subprocess.Popen[bytes]) -> None:
        """Ctrl-C, for a background command."""
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        for child in children:  # nsenter's, in the lab
            os.kill(int(child), signal.SIGINT)
        service.wait(timeout=120)

    def log(self, name: str) -> str:
        """What a background command has printed."""
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self, name: str) -> int:
        """How many processes of that name run anywhere in the lab, on the client or on a host."""
        return int(self.run("pgrep", "-c", "-x", name, check=False).stdout or 0)

    def wait_for_port(self, port: int, *, address: str = "127.0.0.1", seconds: float = 60) -> None:
        """Until something on the client, or at another address, listens."""
        knock = ["bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
        self.wait_for(
            f"{address}:{port}", lambda: self.run(*knock, seconds=5, check=False).returncode == 0, seconds=seconds
        )

    @staticmethod
    def wait_for(
        what: str,
        happened: Callable[[], object],
        *,
        seconds: float,
        meanwhile: subprocess.Popen[bytes] | None = None,
        every: float = 0.3,
    ) -> float:
        """Ask until it is so, and say how many seconds that took. LabError if it takes too long, or if the process that
        must run meanwhile has ended."""
        begun = time.monotonic()
        while not happened():
            if meanwhile is not None and meanwhile.poll() is not None:
                raise LabError(f"it ended with exit code {meanwhile.returncode} before {what}")
            if time.monotonic() - begun > seconds:
                raise LabError(f"waited {seconds:g} s for {what}")
            time.sleep(every)
        return time.monotonic() - begun

    def _entering(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None, cwd: str | Path
    ) -> list[str | Path]:
        variables = [f"{name}={value}" for name, value in (self._inside | dict(env or {})).items()]
        return ["nsenter", "--all", "--target", str(self._pid), "env", "-i", "-C", str(cwd), *variables, *command]
