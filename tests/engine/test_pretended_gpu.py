"""What is promised of a GPU, on one that a CPU pretends to be: all but what it compiles and how it rounds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A CPU has no tf32, and computes bf16 in test_precision. Of the training options those are left that are recorded
# otherwise, and `all`.
LEFT_OUT = (
    *("compiled", "tf32", "bf16", "noise", "adam", "muon", "grokfast", "stablemax", "warm-up", "moments", "relu"),
    *("large", "accumulation", "linear"),
)


def test_the_tests_of_a_gpu_pass_on_a_pretended_one():
    tests = [
        "tests/engine/on_a_pretended_gpu.py",
        "tests/engine/test_gpu.py",
        "-k",
        " and ".join(f"not {name}" for name in LEFT_OUT),
    ]
    options = ["-p", "tests.engine.pretended_gpu", "-p", "no:cacheprovider", "-n", "0", "-q"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert int(re.match(r"(\d+) passed", summary)[1]) >= 28
    assert "skipped" not in summary
