from __future__ import annotations

import sys
from pathlib import Path

# They are scripts, no package: what they share lies beside them.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
