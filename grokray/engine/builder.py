"""Compiling in a process of its own, so that an engine goes on meanwhile."""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grokray.engine.shape import ShapeKey
from grokray.engine.sharing import Sharing

# Runs a module with the import path of the process that began it. By `-m` the working directory would come first, and
# with it another version of grokray, or a user's `random.py`.
RUN = """
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
PATIENCE_S = 900.0  # many times what the largest step takes to compile on a loaded machine


class Builder:
    """Runs a module as `python -m module SPEC ...` would, with what is to be compiled as JSON; what it prints is in
    `log`. It does not outlive the process that began it. It has `threads` to compute with."""

    def __init__(
        self, module: str, spec: Mapping[str, Any], *arguments: str | Path, log: Path, threads: int = 1
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w") as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-W", "ignore", "-c", RUN, json.dumps([*map(str, sys.path)]), module),
                    *(json.dumps(spec), *map(str, arguments)),
                ],
                stdin=subprocess.PIPE,  # the builder ends when this end of the pipe is closed, however that happens
                stdout=file,
                stderr=file,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"},
            )
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait()

    def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def end_in_time(patience: float = PATIENCE_S) -> None:
    """To be called first by a module that a Builder runs. The process ends with the one that began it; and after
    `patience` seconds, saying where it was, as trials may be waiting for it."""
    faulthandler.dump_traceback_later(patience, exit=True)

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def to_spec(shape: ShapeKey, width: int, options: frozenset[str]) -> dict[str, Any]:
    return {"shape": asdict(shape), "width": width, "options": sorted(options)}


def from_spec(spec: Mapping[str, Any]) -> tuple[ShapeKey, int, frozenset[str]]:
    shared = {name: Sharing(*spec["shape"][name]) for name in ("sharing", "batch_sharing")}
    return ShapeKey(**{**spec["shape"], **shared}), spec["width"], frozenset(spec["options"])
