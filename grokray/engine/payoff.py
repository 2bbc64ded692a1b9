"""Whether compiling a shape's kernels pays for the steps to come.

On a CPU every operation that the compiler makes one with others saves the time to begin it, once for all slots of a
tile, and a pass over the activations. A trial alone, or a few, begin as many operations as a full tile does. Short rows
save more of the passes: attention among few tokens is no product of matrices then (`attention.form_of`). What is spent
is the compiler's time, once for each width. All are times of the same core, so that their ratio hardly depends on the
machine. Measured with `benchmarks/compile.py`, see docs/log.md. What a GPU saves was measured on an H200: slower ones
save more, and compile in the same time. There the first width counts alone, as others are compiled beside the training.

The choice is a function of the shape and what is planned alone, not of what the disk happens to hold or how busy the
machine is: compiled sums are rounded differently, and a trial must come out the same each time.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from functools import cache
from os import environ

import torch

from grokray.engine.attention import form_of
from grokray.engine.shape import ShapeKey
from grokray.engine.tiles import library_widths, tile_width

BEGUN_S = 3e-3  # saved in a pass of a tile, for each layer, whatever its size
SAVED_S = {"sums": 20e-9, "products": 10e-9}  # in a pass of a slot, for each element of a layer's activations
SAVED_ON_GPU_S = 0.2e-9
BUILD_S = 50.0  # for one width
MARGIN = 2.0  # trials end early, and a guess may be off


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The trial-steps of one shape that one engine is to train, and how many trials of it at once."""

    steps: float
    company: float = math.inf


def compiling_pays(shape: ShapeKey, device: torch.device, planned: Planned) -> bool:
    if device.type != "cpu":
        return planned.steps * passes(shape) * elements(shape) * SAVED_ON_GPU_S > MARGIN * BUILD_S
    widths = library_widths(shape, planned.company)
    return has_compiler() and planned.steps * saved_on_cpu(shape, planned.company) > MARGIN * len(widths) * BUILD_S


def saved_on_cpu(shape: ShapeKey, company: float = math.inf) -> float:
    """Seconds that compiled kernels save in a trial-step of so many trials at once."""
    form = form_of(shape, torch.device("cpu"), compiled=True)
    # Begun for fewer than fill a tile: half as much is saved, as what is compiled is begun for each of them.
    at_once = min(2 * company, tile_width(shape))
    return passes(shape) * (BEGUN_S / at_once + elements(shape) * SAVED_S[form])


def passes(shape: ShapeKey) -> int:
    """Of a layer, in a step."""
    return shape.num_layers * shape.accumulation_steps


def elements(shape: ShapeKey) -> int:
    """Of a layer's activations, in a pass of one slot."""
    return shape.batch_size * shape.length * shape.dim_model


@cache
def has_compiler() -> bool:
    """Whether this machine has a C++ compiler, which builds the kernels of a CPU."""
    return any(shutil.which(name) for name in (environ.get("CXX", ""), "g++", "clang++") if name)
