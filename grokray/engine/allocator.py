"""Memory that is freed and wanted again at every step."""

from __future__ import annotations

import ctypes
from functools import cache

# Of glibc's malloc.h, and what is wanted of them.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
OPTIONS = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 << 20}


@cache
def keep_freed_memory() -> None:
    """What this process frees from now on it keeps, for the next that it needs.

    glibc gives large buffers back to the system, and gets fresh ones page by page, which takes up to a seventh of a
    wide model's step. What the environment says of it (MALLOC_…) is overruled. Other C libraries, without such options,
    are left as they are.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in OPTIONS.items():
        set_option(option, value)
