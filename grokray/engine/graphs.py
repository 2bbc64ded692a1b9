"""Compiled kernels on disk: each function of `Kernels` as a shared library, ahead of time, for one shape and width.

`torch.compile` traces a function anew in every process, which takes seconds even where its own cache is warm. A library
is loaded in milliseconds, and every engine of a machine uses the same ones. They are built by a process of their own
(`build_graphs`), so that an engine goes on meanwhile, and lie in `$GROKRAY_CACHE`, or `grokray` in the user's cache
folder. What a library depends on is hashed into its folder's name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokray.engine.builder import Builder, to_spec
from grokray.engine.kernels import Kernels
from grokray.engine.products import onednns
from grokray.engine.shape import ShapeKey

# With one thread a core is an engine; the sums of generated code would be split by the number of threads.
THREADS = 1
SOURCES = (  # all that `kernels` imports, and what compiles it
    *(
        "kernels",
        "model",
        "attention",
        "embedding",
        "first_layer",
        "layers",
        "products",
        "gradient",
        "loss",
        "optimizer",
        "muon",
    ),
    *("filters", "sums", "randomness", "precision", "shape", "sharing", "evaluation", "chunks", "threads"),
    *("build_graphs", "lowering", "build_step", "made_up", "slots", "step", "tiles"),
)


def cache_folder() -> Path:
    home = os.environ.get("GROKRAY_CACHE")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokray"


def graph_folder(shape: ShapeKey, width: int, options: frozenset[str]) -> Path:
    """Where the libraries of a shape at a width lie, or would."""
    return cache_folder() / "graphs" / _digest(shape, width, options)


@cache
def _digest(shape: ShapeKey, width: int, options: frozenset[str]) -> str:
    spec = [
        asdict(shape),
        width,
        sorted(options),
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        onednns(),
    ]
    return hashlib.sha256(json.dumps([*spec, sources()]).encode()).hexdigest()[:24]


@cache
def load_kernels(folder: Path, shape: ShapeKey, options: frozenset[str]) -> Kernels:
    """The kernels whose libraries lie in `folder`, which must be complete."""
    return Kernels(shape, torch.device("cpu"), options, compile=lambda name, _: _Library(folder / f"{name}.so"))


class Build(Builder):
    """A process that builds the libraries of one shape and width, unless another one is at it already: then it waits
    for that one."""

    def __init__(self, shape: ShapeKey, width: int, options: frozenset[str]) -> None:
        self.folder = graph_folder(shape, width, options)
        spec = to_spec(shape, width, options)
        super().__init__("grokray.engine.build_graphs", spec, self.folder, log=self.folder.with_suffix(".log"))

    @property
    def failed(self) -> bool:
        return not self.running and not self.folder.exists()


@cache
def build_of(shape: ShapeKey, width: int, options: frozenset[str]) -> Build:
    """The one build of these libraries that this process starts: it outlives the stack that asked for it."""
    return Build(shape, width, options)


def signature(tensors: Sequence[Tensor]) -> list[list[Any]]:
    """What a library is built for, [dtype, sizes] of each argument: it would take other ones without a word."""
    return [[str(t.dtype), list(t.shape)] for t in tensors]


class _Library:
    """Calls a compiled function: its tensors as a list, or by itself if there is one. Loaded and checked at the first
    call: not every option needs every function, and all later calls are alike."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run: Callable[[list[Tensor]], list[Tensor]] | None = None

    def __call__(self, *tensors: Tensor) -> list[Tensor] | Tensor:
        run = self._run or self._load(tensors)
        out = run(list(tensors))
        return out[0] if len(out) == 1 else out

    def _load(self, tensors: Sequence[Tensor]) -> Callable[[list[Tensor]], list[Tensor]]:
        wanted = json.loads(self.path.with_suffix(".signature").read_text())
        if signature(tensors) != wanted:
            raise TypeError(f"{self.path.name} was built for {wanted}, not {signature(tensors)}")
        runner: Any = torch._C._aoti.AOTIModelContainerRunnerCpu  # type: ignore[attr-defined]
        self._run = run = runner(str(self.path), 1).run
        return run


@cache
def sources() -> str:
    """A hash of all that the kernels are made of."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()
