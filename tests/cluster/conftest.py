"""The lab that a scenario runs in, and the reasons why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.cluster.lab import rgw
from tests.cluster.lab.lab import Lab

PROGRAMS = ("unshare", "nsenter", "ip", "pgrep", "rsync", "ssh", "ssh-keygen", "/usr/sbin/sshd")
PACKAGES = ("aiohttp_cors", "boto3", "moto", "flask", "hatchling", "editables")


def reason_for_no_lab() -> str | None:
    if os.name != "posix" or os.geteuid() != 0:
        return "the lab needs root, for namespaces"
    programs = [name for name in PROGRAMS if shutil.which(name) is None] + rgw.missing_programs()
    packages = [name for name in PACKAGES if find_spec(name) is None]
    if programs or packages:
        return f"the lab needs {', '.join(programs + packages)}: tests/cluster/install brings them"
    probe = subprocess.run(["unshare", "--net", "--pid", "--mount", "--fork", "true"], capture_output=True, text=True)
    return f"the lab needs namespaces: {probe.stderr.strip()}" if probe.returncode else None


def need_lab() -> None:
    if reason := reason_for_no_lab():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A fresh lab for a file of tests. Its last words are shown when a test fails."""
    need_lab()
    with Lab(tmp_path_factory.mktemp("lab")) as opened:
        yield opened
        for log in sorted(opened.folder.glob("[!h]*.log")):  # the hosts' are of their sshd
            print(f"== {log}", *opened.log(log.name).splitlines()[-40:], sep="\n")
