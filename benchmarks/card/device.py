"""What is asked of a device; a CPU answers nothing where it has no answer."""

from __future__ import annotations

import gc
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

GIB = 1 << 30


def is_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"


def card_name(device: str) -> str:
    """In letters, digits and hyphens, for a file's name: "nvidia-h100-80gb-hbm3", or "cpu"."""
    name = torch.cuda.get_device_name(device) if is_gpu(device) else "cpu"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def description(device: str) -> dict[str, object]:
    if not is_gpu(device):
        return {"name": platform.processor() or platform.machine()}
    p = torch.cuda.get_device_properties(device)
    return {
        **{"name": p.name, "memory_gib": p.total_memory / GIB, "multiprocessors": p.multi_processor_count},
        **{"capability": f"{p.major}.{p.minor}", "cuda": torch.version.cuda},
    }


def tidy(device: str) -> None:
    """Give back what nobody uses, so that the next one meets an empty card."""
    gc.collect()
    if is_gpu(device):
        torch.cuda.empty_cache()


class Peak:
    """The most memory that was allocated since this was made, beyond what was then; None on a CPU. What a captured
    graph keeps for itself is part of it."""

    def __init__(self, device: str) -> None:
        self.gpu = is_gpu(device)
        if self.gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()

    @property
    def gib(self) -> float | None:
        return (torch.cuda.max_memory_allocated() - self.before) / GIB if self.gpu else None


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """PyTorch's matrix products of float32 numbers in float32 or in TF32. The engine sees to its own precision; this
    is for what is compared with it. Set by the one switch that keeps PyTorch's older and newer ones in step."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
