"""Which versions made a result: kept with every sweep and every trial."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("grokray", "torch", "ray", "optuna", "pyarrow", "numpy")


def versions() -> dict[str, str]:
    """Package name → version, and `python`. Read from the installation, so nothing heavy is imported."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def code() -> str:
    """8 hexadecimal digits of grokray's own source: two copies of one version may differ."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]
