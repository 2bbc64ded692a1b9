"""Trains stacks of trials."""

import os

# MKL may split a sum among threads, or begin it where memory is aligned, and so round it differently. Strictly
# reproducible, it does neither, and no trial feels how many threads there are, or which slot it has. It reads this when
# PyTorch first multiplies matrices; who sets it, though to nothing, has it otherwise.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
