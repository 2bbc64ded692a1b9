"""Whether compiling a shape's kernels pays for the steps to come.

What is saved is mostly memory traffic between operations, so it goes with the activations; what is spent is the
compiler's time, once for each width. On a CPU both are times of the same core, so that their ratio hardly depends on
the machine. Measured with `benchmarks/compile.py`, see docs/log.md. What a GPU saves was measured on an H200: slower
ones save more, and compile in the same time. There the first width counts alone, as others are compiled beside the
training.

The choice is a function of the shape and the planned steps alone, not of what the disk happens to hold or how busy the
machine is: compiled sums are rounded differently, and a trial must come out the same each time.
"""

from __future__ import annotations

import shutil
from functools import cache
from os import environ

import torch

from grokray.engine.shape import ShapeKey
from grokray.engine.tiles import library_widths

SAVED_S = 35e-9  # a trial-step, for each element of the activations of a layer, times layers
SAVED_ON_GPU_S = 0.2e-9
BUILD_S = 45.0  # for one width
MARGIN = 2.0  # trials end early, and a guess may be off


def compiling_pays(shape: ShapeKey, device: torch.device, planned_steps: float) -> bool:
    """`planned_steps` are the trial-steps of this shape that one engine is to train."""
    elements = shape.batch_size * shape.length * shape.dim_model * shape.num_layers * shape.accumulation_steps
    if device.type != "cpu":
        return planned_steps * elements * SAVED_ON_GPU_S > MARGIN * BUILD_S
    widths = len(library_widths(shape))
    return has_compiler() and planned_steps * elements * SAVED_S > MARGIN * widths * BUILD_S


@cache
def has_compiler() -> bool:
    """Whether this machine has a C++ compiler, which builds the kernels of a CPU."""
    return any(shutil.which(name) for name in (environ.get("CXX", ""), "g++", "clang++") if name)
