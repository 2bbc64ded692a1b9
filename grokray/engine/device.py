"""Where PyTorch computes, by the name that a user gives."""

from __future__ import annotations

import re

from grokray.errors import ConfigError, Problem
from grokray.wording import show

_NAME = re.compile("auto|cpu|cuda(:(0|[1-9][0-9]{0,3}))?")


def choose_device(name: str, *, called: str = "device") -> str:
    """`auto` → `cuda` where there is a GPU, else `cpu`. ConfigError for a GPU that is not there; `called` is what the
    user knows the name as, such as --device."""
    if not _NAME.fullmatch(name):
        message = f"{called} is {show(name)}, but must be auto, cpu, cuda, or such as cuda:1"
        raise ConfigError([Problem(message=message)])
    if name == "cpu":
        return name
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if gpus else "cpu"
    if int(name.partition(":")[2] or 0) >= gpus:
        raise ConfigError([Problem(message=f"{called} is {name}, but PyTorch finds {gpus} GPUs here")])
    return name
