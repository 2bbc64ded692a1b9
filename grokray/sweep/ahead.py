"""Imports that a sweep needs once Ray is up, done while Ray's start waits for its own processes."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module

# What `ray.tune` and the proposer stand on. Ray's own modules are left out: its start imports some of them.
MODULES = ("pandas", "pyarrow.dataset", "pyarrow.parquet", "pyarrow.compute", "optuna")


def import_ahead() -> None:
    """Start a thread that imports them. What cannot be imported is an error where it is needed, not here."""
    # Ray comes before the thread: what it imports silences warnings, which imports beside it may put back.
    _import("ray")
    threading.Thread(target=_import, args=MODULES, name="imports", daemon=True).start()


def _import(*modules: str) -> None:
    for module in modules:
        with suppress(Exception):
            import_module(module)
