"""What a library on disk is known by."""

from __future__ import annotations

import ast
from pathlib import Path

from grokray.engine import graphs

ENGINE = Path(graphs.__file__).parent


def imported_by(name: str) -> set[str]:
    """Files of the engine that this one imports."""
    tree = ast.parse((ENGINE / f"{name}.py").read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {module.split(".")[2] for module in modules if module.startswith("grokray.engine.")}


def test_libraries_are_known_by_all_that_kernels_are_made_of():
    """Else a library of yesterday would compute what the code no longer says."""
    seen: set[str] = set()
    waiting = {"kernels"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= imported_by(name) - seen
    assert {"kernels", "attention", "first_layer", "precision"} <= seen
    assert seen <= {*graphs.SOURCES}
    assert all((ENGINE / f"{name}.py").exists() for name in graphs.SOURCES)
