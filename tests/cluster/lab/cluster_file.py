"""The project's cluster file, as the lab can run it: the same file with other machines.

What stays is what the lab is there to try: the order of things, mounts, token, start commands, health checks. What changes
is what a host has not got: a registry, a GPU, more than one core.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

# A head and a worker take far less of this than Ray would.
OBJECT_STORE = "--object-store-memory=100000000"
# The working tree that was mounted, with what the host's Python has already: no registry is asked.
INSTALL = "pip install --quiet --no-index --no-deps --no-build-isolation --editable ~/grokray"


def write_lab_copy(source: Path, target: Path, *, workers: int, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write `target`, with that many workers of one core each; `changes` replace whole sections. Returns its content."""
    config = yaml.safe_load(source.read_text())
    config["auth"] = {**config.get("auth", {}), "ssh_user": "root"}
    config["max_workers"] = workers + 1
    for name, node in config.get("available_node_types", {}).items():
        head = name == config["head_node_type"]
        node["resources"] = {"CPU": 0 if head else 1, "GPU": 0}
        node["min_workers"], node["max_workers"] = (0, 0) if head else (0, workers)
    config["initialization_commands"] = []
    config["setup_commands"] = _with_own_installation(config["setup_commands"])
    config["head_start_ray_commands"] = [_start(c, "--num-cpus=0") for c in config["head_start_ray_commands"]]
    config["worker_start_ray_commands"] = [_start(c, "--num-cpus=1") for c in config["worker_start_ray_commands"]]
    config |= changes or {}
    target.write_text(yaml.safe_dump(config, sort_keys=False))
    return config


def _with_own_installation(commands: list[str]) -> list[str]:
    """Whatever installs is replaced by one installation that needs no network; the rest stays as it is."""
    kept = [command for command in commands if not re.search(r"\b(apt-get|pip3?|uv|conda|curl)\b", command)]
    return [*kept, INSTALL]


def _start(command: str, cores: str) -> str:
    if "ray start" not in command:
        return command
    without = re.sub(r"\s--num-(cpus|gpus)=\S+", "", command)
    return f"{without} {cores} {OBJECT_STORE}"
