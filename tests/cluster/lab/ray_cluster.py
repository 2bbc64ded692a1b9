"""A Ray cluster in the lab, handled with Ray's own commands as a user would."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.lab.lab import REPOSITORY, Lab

TOKEN = {"RAY_AUTH_MODE": "token"}


def make_token(lab: Lab) -> None:
    lab.run("bash", "-c", "umask 077; ray get-auth-token --generate >/dev/null", env=TOKEN)


class RayCluster:
    """`file` is the cluster's file; commands run where the repository is, as its mounts are relative to it."""

    def __init__(self, lab: Lab, file: Path, *, environment: dict[str, str] | None = None) -> None:
        self._lab, self.file = lab, file
        self.environment = TOKEN | (environment or {})

    def up(self) -> None:
        done = self._ray("up", "--yes", "--no-config-cache", self.file, seconds=420)
        (self._lab.folder / "up.log").write_text(done.stdout + done.stderr)

    def down(self) -> None:
        self._ray("down", "--yes", self.file, seconds=180)

    def head_ip(self) -> str:
        return self._ray("get-head-ip", self.file).stdout.split()[-1]

    def nodes(self) -> list[dict[str, Any]]:
        """All that were ever in the cluster: `node_ip`, `state` (ALIVE or DEAD), `is_head_node`."""
        printed = self._lab.on_host(self.head_ip(), "ray list nodes --format json --limit 1000", check=False)
        return json.loads(printed[printed.find("[") :]) if "[" in printed else []

    def alive(self) -> set[str]:
        """The addresses of the workers that are alive."""
        return {node["node_ip"] for node in self.nodes() if node["state"] == "ALIVE" and not node["is_head_node"]}

    def _ray(self, *words: str | Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return self._lab.run("ray", *words, seconds=seconds, env=self.environment, cwd=REPOSITORY)
