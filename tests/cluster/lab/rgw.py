"""A real S3 gateway on one machine: Ceph's monitor, one object store and RADOS Gateway, in a folder of its own.

Unlike a simulated S3 it refuses wrong secrets, honours conditional puts and can be paused, as a network can fail.
Needs Debian's ceph-mon, ceph-osd and radosgw. Objects live in memory and are gone with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool")
ACCESS_KEY = "gatewayaccesskey0001"
SECRET_KEY = "gatewaysecretkeygatewaysecretkeygateway0"
REGION = "us-east-1"
START_S = 180.0

_CONFIG = """\
[global]
fsid = {fsid}
mon host = {ip}:{mon_port}
public addr = {ip}
cluster addr = {ip}
keyring = {folder}/admin.keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 0
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
pid file = {folder}/run/$name.pid
[osd]
keyring = {folder}/osd.keyring
[client.rgw.a]
keyring = {folder}/rgw.keyring
rgw data = {folder}/rgw
rgw frontends = beast endpoint={ip}:{port}
rgw enable apis = s3
rgw thread pool size = 32
"""


def missing_programs() -> list[str]:
    """What is to be installed before a gateway can start; empty where all is there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@dataclass
class Gateway:
    """A running gateway. `stop` freezes it (requests hang), `cont` lets it go on, `kill` ends all of it."""

    folder: Path
    ip: str
    port: int
    access_key: str
    secret_key: str
    gateway: subprocess.Popen[bytes]
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://{self.ip}:{self.port}"

    def environment(self, secret_key: str | None = None) -> dict[str, str]:
        """What a process needs to reach it; with a secret of one's own to be refused."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key or self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Newer checksums than this gateway knows.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    def make_bucket(self, name: str) -> None:
        from pyarrow.fs import S3FileSystem

        S3FileSystem(
            endpoint_override=f"{self.ip}:{self.port}",
            scheme="http",
            region=REGION,
            access_key=self.access_key,
            secret_key=self.secret_key,
            allow_bucket_creation=True,
        ).create_dir(name)

    def set_quota(self, bytes_in_all: int) -> None:
        """Refuse writes beyond this many bytes; -1 for no limit."""
        scope = ["--uid=user", "--quota-scope=user"]
        self.admin(["quota", "set", *scope, f"--max-size={bytes_in_all}"])
        self.admin(["quota", "enable" if bytes_in_all >= 0 else "disable", *scope])

    def admin(self, words: Sequence[str]) -> str:
        return _said(self.folder, ["radosgw-admin", "-n", "client.rgw.a", *words])

    def stop(self) -> None:
        self.gateway.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.gateway.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        for process in (self.gateway, *reversed(self.others)):
            process.kill()
            process.wait()


def start(folder: Path, ip: str = "127.0.0.1", port: int | None = None) -> Gateway:
    """Start a gateway whose files lie in `folder`, which is made; ready when this returns, after 10 to 30 seconds.

    Raises RuntimeError if a program is missing or fails; nothing is left running then.
    """
    if missing := missing_programs():
        raise RuntimeError(f"{', '.join(missing)} is not installed; Debian: ceph-mon ceph-osd radosgw")
    port = port or _free_port(ip)
    for name in ("mon", "osd", "run", "rgw"):
        (folder / name).mkdir(parents=True)
    config = _CONFIG.format(fsid=uuid.uuid4(), ip=ip, port=port, mon_port=_free_port(ip), folder=folder)
    (folder / "ceph.conf").write_text(config)
    started: list[subprocess.Popen[bytes]] = []
    try:
        _start_monitor(folder, started)
        _start_storage(folder, started)
        radosgw = _spawn(folder, ["radosgw", "-n", "client.rgw.a", "-f"])
        started.append(radosgw)
        _await_port(ip, port, radosgw)
        keys = [f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"]
        made = Gateway(folder, ip, port, ACCESS_KEY, SECRET_KEY, radosgw, started[:-1])
        json.loads(made.admin(["user", "create", "--uid=user", "--display-name=user", *keys]))
        return made
    except BaseException:
        for process in reversed(started):
            process.kill()
            process.wait()
        raise


def _start_monitor(folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
    config = dict(line.split(" = ", 1) for line in (folder / "ceph.conf").read_text().splitlines() if " = " in line)
    all_caps = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
    make = ["ceph-authtool", "--create-keyring"]
    _said(folder, [*make, "mon.keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"])
    _said(folder, [*make, "admin.keyring", "--gen-key", "-n", "client.admin", *all_caps])
    _said(folder, ["ceph-authtool", "mon.keyring", "--import-keyring", "admin.keyring"])
    _said(folder, ["monmaptool", "--create", "--add", "a", config["mon host"], "--fsid", config["fsid"], "monmap"])
    _said(folder, ["ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "mon.keyring"])
    started.append(_spawn(folder, ["ceph-mon", "-i", "a", "-f"]))
    _said(folder, ["ceph", "mon", "enable-msgr2"])


def _start_storage(folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
    identity = str(uuid.uuid4())
    _said(folder, ["ceph", "osd", "new", identity])
    osd_caps = ["mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"]
    _said(folder, ["ceph", "auth", "get-or-create", "osd.0", *osd_caps, "-o", "osd.keyring"])
    rgw_caps = ["mon", "allow rw", "osd", "allow rwx"]
    _said(folder, ["ceph", "auth", "get-or-create", "client.rgw.a", *rgw_caps, "-o", "rgw.keyring"])
    _said(folder, ["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity])
    started.append(_spawn(folder, ["ceph-osd", "-i", "0", "-f"]))


def _environment(folder: Path) -> dict[str, str]:
    config = folder / "ceph.conf"
    return {**os.environ, "CEPH_CONF": str(config), "CEPH_ARGS": f"--conf {config}"}


def _said(folder: Path, command: Sequence[str]) -> str:
    """What a command prints; RuntimeError with its last words if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=START_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _spawn(folder: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with open(folder / f"{command[0]}.out", "ab") as log:
        return subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=log, stderr=log)


def _await_port(ip: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection((ip, port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no gateway answers at {ip}:{port}")


def _free_port(ip: str) -> int:
    with socket.socket() as probe:
        probe.bind((ip, 0))
        return probe.getsockname()[1]
