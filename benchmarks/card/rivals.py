"""The engine beside everything else that trains many small models, in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence

import peers
from harness import Contestant
from peers.case import Case
from workers import Worker, remote

from card.device import products_in
from card.engines import best_engine, precisions
from card.heats import Entrant, heat
from card.notes import Notes

# One heat each, what has a target first, and of these what is soon ready.
FLOAT32 = {
    "hfta": ("hfta_pruned", "hfta"),
    "vmap": ("vmap_pruned", "vmap"),
    "jax": ("jax_pruned",),
    "vmap compiled": ("vmap_compiled_pruned",),
}
TF32 = {"hfta": ("hfta_pruned",), "jax": ("jax_pruned",), "vmap": ("vmap_pruned", "vmap_compiled_pruned")}


def measure(notes: Notes) -> None:
    for name, names in FLOAT32.items():
        _heat(notes, name, names, "float32")


def measure_plain(notes: Notes) -> None:
    _heat(notes, "plain", ("plain", "plain_compiled"), "float32")
    _heat(notes, "jax of all", ("jax",), "float32")


def measure_tf32(notes: Notes) -> None:
    if "tf32" in precisions(notes):
        for name, names in TF32.items():
            _heat(notes, name, names, "tf32")


def _heat(notes: Notes, name: str, names: Sequence[str], precision: str) -> None:
    missing = [peer for peer in names if not peers.installed(peer)]
    for peer in missing:
        notes.left_out(peer, "not installed")
    entrants = [e for peer in names if peer not in missing for e in _entrants(notes, peer, precision)]
    if entrants:
        heat(notes, ["rivals", f"{name}, {precision}"], [best_engine(notes, precision), *entrants])


def _entrants(notes: Notes, peer: str, precision: str) -> list[Entrant]:
    plan, compiled, jax = notes.plan, "compiled" in peer, peer.startswith("jax")
    if compiled and not plan.compiled:
        return []
    trials = _trials(notes, peer)
    make = _remote if jax else _local
    needs_s = plan.jax_s if jax else plan.compile_s if compiled else plan.build_s
    return [
        Entrant(name=f"{peer} {number}", make=lambda n=number: make(notes, peer, n, precision), needs_s=needs_s)
        for number in trials
    ]


def _trials(notes: Notes, peer: str) -> Sequence[int]:
    """Not with every number of trials what is compiled, which takes up to one and a half minutes each, and what
    computes more than is read, as it is slower in any case."""
    if peer.startswith(peers.ONE_MODEL):
        return (1,)
    every = peer.endswith(peers.PRUNED) and "compiled" not in peer and not peer.startswith("jax")
    return notes.case.peer_trials if every else notes.case.peer_trials[:1]


def _remote(notes: Notes, peer: str, trials: int, precision: str) -> Contestant:
    """JAX brings its own libraries of the GPU's, and keeps what memory it once had."""
    return remote(Worker(peer, notes.case.parameters, trials, device=notes.plan.device, precision=precision))


def _local(notes: Notes, peer: str, trials: int, precision: str) -> Contestant:
    training = peers.make(peer, Case.of(notes.case.parameters), trials, device=notes.plan.device)

    def call() -> float:
        with products_in(precision):
            return training.work()

    return Contestant(name=peer, call=call, wait=training.wait)
