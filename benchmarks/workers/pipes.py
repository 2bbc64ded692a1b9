"""Lines of JSON between a process and the one that started it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

BENCHMARKS = Path(__file__).parents[1]


def private_stdout() -> Callable[[dict[str, Any]], None]:
    """Writes messages to this process's standard output; whatever else is printed from now on goes to the error
    stream, so that no library's words come between."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    return write


class Remarks(io.TextIOBase):
    """An error stream that also hands on what the package says about itself, "grokray: …": that a step could not be
    recorded as a CUDA graph, say, which a reader of the numbers must know."""

    def __init__(self, stream: TextIO, take: Callable[[str], None]) -> None:
        self._stream, self._take, self._line = stream, take, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.startswith("grokray: "):
                self._take(line)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def start(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, own_session: bool = False
) -> subprocess.Popen[str]:
    """`python -m MODULE`, with the modules that this process has, whatever lies in the folder where it is called."""
    path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
        start_new_session=own_session,
    )


def one_line(error: BaseException) -> str:
    """OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB …"""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
    return text if len(text) <= 160 else f"{text[:159]}…"
