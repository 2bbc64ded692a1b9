from __future__ import annotations

import sys
from pathlib import Path

# The maker of synthetic sweeps lies beside the benchmarks, which are scripts and no package.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
