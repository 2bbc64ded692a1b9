"""Other ways to train many small models, for comparison: each trains the same models on the same task.

Every file has one `make(case, trials, device=...)` that gives a `Training`: call it, and each of `trials` independent
models takes `Training.steps` optimiser steps.

    training = peers.make("hfta", Case.of({"dim_model": 32, "batch_size": 64}), trials=16, device="cuda")
    training()
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from peers.case import Case, Rows, Training

# name -> file here, and its further arguments
PEERS: dict[str, tuple[str, dict[str, object]]] = {
    "plain": ("plain", {}),
    "plain_compiled": ("plain_compiled", {}),
    "vmap": ("vmap", {}),
    "vmap_compiled": ("vmap", {"compile": True}),
    "hfta": ("hfta", {}),
    "jax": ("jax_vmap", {}),
}
# Appended to a peer's name: its last layer computes only what is read, as grokray's does. Hardly anybody writes it so,
# but with it the comparison is of the same number of operations.
PRUNED = "_pruned"
ONE_MODEL = ("plain", "plain_compiled")  # loop over their models: more of them do not change their rate


def make(name: str, case: Case, trials: int, *, device: str = "cpu", rows: Rows | None = None) -> Training:
    """The peer of this name, with or without PRUNED. ModuleNotFoundError where its library is missing."""
    file, arguments = PEERS[name.removesuffix(PRUNED)]
    case = replace(case, pruned=name.endswith(PRUNED))
    return import_module(f"peers.{file}").make(case, trials, device=device, rows=rows, **arguments)


def installed(name: str) -> bool:
    return not name.startswith("jax") or find_spec("jax") is not None
