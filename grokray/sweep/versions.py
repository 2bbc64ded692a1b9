"""Which versions made a result: kept with every sweep and every trial."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

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
