"""The project's cluster files, as the lab can run them: the same files with other machines.

What stays is what the lab is there to try: the order of things, mounts, token, start commands, health checks. What
changes is what a host has not got: a registry, a GPU, more than one core.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

WORKER = "cpu"  # the node type of cluster.yaml that becomes the lab's worker
OBJECT_STORE = "--object-store-memory=100000000"  # far less than Ray would take
# The Python that the host has, and the working tree that was mounted: no registry is asked.
INSTALL = [
    f"for venv in ~/venv ~/grokray-venv; do test -e $venv || ln -s {sys.prefix} $venv; done",
    "python -m pip install --quiet --no-index --no-deps --no-build-isolation --editable ~/grokray",
]


def write_aws_copy(source: Path, target: Path, *, workers: int) -> dict[str, Any]:
    """Write `target`, with at most so many workers of one core each. Returns its content."""
    config = yaml.safe_load(source.read_text())
    config["max_workers"] = workers
    for name, node in config["available_node_types"].items():
        node["resources"] = {"CPU": 0 if name == config["head_node_type"] else 1, "GPU": 0}
        node["max_workers"] = workers if name == WORKER else 0
        node["min_workers"] = 0
    return _write(config, target)


def write_local_copy(source: Path, target: Path, *, head: str, workers: list[str]) -> dict[str, Any]:
    """Write `target` with these addresses. Returns its content."""
    config = yaml.safe_load(source.read_text())
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"]["ssh_private_key"] = "~/.ssh/lab"
    return _write(config, target)


def profiles(config: dict[str, Any]) -> set[str]:
    """The names of the instance profiles that the file refers to."""
    nodes = [node["node_config"] for node in config["available_node_types"].values()]
    return {node["IamInstanceProfile"]["Name"] for node in nodes if "IamInstanceProfile" in node}


def _write(config: dict[str, Any], target: Path) -> dict[str, Any]:
    config["auth"]["ssh_user"] = "root"
    config["setup_commands"] = [*_offline(config["setup_commands"]), *INSTALL]
    for commands in ("head_setup_commands", "worker_setup_commands"):
        config[commands] = _offline(config.get(commands, []))
    config["head_start_ray_commands"] = [_start(command, 0) for command in config["head_start_ray_commands"]]
    config["worker_start_ray_commands"] = [_start(command, 1) for command in config["worker_start_ray_commands"]]
    target.write_text(yaml.safe_dump(config, sort_keys=False))
    return config


def _offline(commands: list[str]) -> list[str]:
    """Without those that ask a registry."""
    return [command for command in commands if not re.search(r"\b(apt-get|curl|pip|uv)\b", command)]


def _start(command: str, cores: int) -> str:
    if "ray start" not in command:
        return command
    without = re.sub(r"\s--num-(cpus|gpus)=\S+", "", command)
    return f"{without} --num-cpus={cores} {OBJECT_STORE}"
