"""`python -m grokray.engine.build_graphs SPEC FOLDER` builds the libraries of one shape and width (see `graphs`).

It takes one training step on made-up rows, and compiles each function when it is first called.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from grokray.engine import made_up
from grokray.engine.builder import end_in_time, from_spec
from grokray.engine.graphs import THREADS, cache_folder, graph_folder, signature
from grokray.engine.kernels import Kernels
from grokray.engine.lowering import teach_products
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import Slots
from grokray.engine.tiles import library_widths

# The wrapper only calls the kernels: without optimisation it is compiled sooner, and no slower.
CONFIG = {"cpp.threads": THREADS, "aot_inductor.compile_wrapper_opt_level": "O0"}


def main(spec: dict[str, Any], folder: Path) -> None:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_folder() / "inductor")
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # somebody else has built it meanwhile
            return
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build(*from_spec(spec), unfinished)
        unfinished.rename(folder)


def build(shape: ShapeKey, width: int, options: frozenset[str], folder: Path) -> None:
    torch.set_num_threads(THREADS)
    teach_products()
    cpu = torch.device("cpu")
    kernels = Kernels(
        shape, cpu, options, compile=lambda name, f: _CompiledAtFirstCall(f, folder / f"{name}.so"), functional=True
    )
    slots = Slots(shape, cpu)
    slots.reserve(width, 1)
    s = slots.span(0, width)
    gradients, _ = kernels.one_pass(s, made_up.batch(shape, width), s["step"])
    kernels.step(s, gradients)
    _take_from_another_width("row_sums", shape, options, folder)
    kernels.row_sums(slots.span(0, 1)["parameters"], *made_up.chunk(shape, 1, cpu))


def _take_from_another_width(name: str, shape: ShapeKey, options: frozenset[str], folder: Path) -> None:
    """An evaluation is of one slot at every width, so its library need not be compiled twice."""
    for width in library_widths(shape):
        there = graph_folder(shape, width, options)
        if there.exists():
            for end in (".so", ".signature"):
                shutil.copy2(there / f"{name}{end}", folder)


class _CompiledAtFirstCall:
    """Compiles the function for the arguments of its first call, and then calls it as it is."""

    def __init__(self, function: Callable[..., Any], path: Path) -> None:
        self.function, self.path = function, path

    def __call__(self, *tensors: Tensor) -> Any:
        if not self.path.exists():
            compile_library(self.function, tensors, self.path)
        return self.function(*tensors)


def compile_library(function: Callable[..., Any], tensors: tuple[Tensor, ...], path: Path) -> None:
    graph = make_fx(function, tracing_mode="fake")(*tensors)
    program = torch.export.export(_Module(graph), tensors, strict=False)
    package = path.with_suffix(".pt2")
    torch._inductor.aoti_compile_and_package(program, package_path=str(package), inductor_configs=CONFIG)
    with zipfile.ZipFile(package) as archive:
        (library,) = (name for name in archive.namelist() if name.endswith(".so"))
        path.write_bytes(archive.read(library))
    path.with_suffix(".signature").write_text(json.dumps(signature(tensors)))
    package.unlink()


class _Module(nn.Module):
    def __init__(self, graph: Callable[..., Any]) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *tensors: Tensor) -> Any:
        return self.graph(*tensors)


if __name__ == "__main__":
    end_in_time()
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
