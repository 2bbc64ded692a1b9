from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

BUFFERS = """
import resource, sys
import torch
from grokray.engine.engine import Engine

def faults_of_buffers():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(1 << 24)  # 64 MiB, which is freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults_of_buffers())
Engine()
faults_of_buffers()
print(faults_of_buffers())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs a C library that can be told so")
def test_an_engine_s_process_keeps_large_buffers_for_the_next_ones():
    run = subprocess.run([sys.executable, "-c", BUFFERS], capture_output=True, text=True, check=True)
    before, after = (int(line) for line in run.stdout.split())
    assert after < before / 4  # of 81,920 pages of 4 KiB that were written, or fewer of more
