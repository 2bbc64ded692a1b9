"""Which versions made a result: kept with every sweep and every trial."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("grokray", "torch", "ray", "optuna", "pyarrow", "numpy")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 10


def versions() -> dict[str, str]:
    """Package name → version, and `python`. Read from the installation, so nothing heavy is imported."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def made_with() -> dict[str, str]:
    """`versions`, and where grokray is run from a clone also its `commit`: one version has many."""
    found = commit()
    return versions() | ({} if found is None else {"commit": found})


@cache
def commit(root: Path = ROOT) -> str | None:
    """`b303769ca12f`, or `b303769ca12f-dirty` where files were changed since; None without a clone, or without git."""
    if not (root / ".git").exists():  # an environment within another project's repository is not of its code
        return None
    command = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def code() -> str:
    """8 hexadecimal digits of grokray's own source: two copies of one version may differ."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]
