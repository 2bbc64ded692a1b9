"""What grokray is compared with trains the same models by the same rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import peers
import pytest
import torch
from peers.case import Case

TASKS = {
    "classification": {"operation": "x/y", "prime": 7},
    "sequence": {"operation": "x+y", "task_type": "sequence", "base": 2, "max_bit_length_train": 2},
}
SIZES = {"dim_model": 16, "num_heads": 2, "batch_size": 8, "weight_decay": 0.1}
TRIALS = 2


@pytest.fixture(params=TASKS)
def case(request) -> Case:
    return Case.of({**TASKS[request.param], **SIZES})


def losses(name: str, case: Case, steps: int) -> np.ndarray:
    """(steps, trials), on the same rows whatever the peer; of the last step alone where a call takes many."""
    g = torch.Generator().manual_seed(0)
    training = peers.make(name, case, TRIALS, rows=lambda: case.train[torch.randint(8, (TRIALS, 8), generator=g)])
    return np.stack([np.asarray(training()) for _ in range(steps // training.steps)])


@pytest.mark.parametrize("name", ["plain_pruned", "vmap", "vmap_pruned", "hfta", "hfta_pruned"])
def test_every_peer_takes_the_steps_of_plain_pytorch(case, name):
    expected = losses("plain", case, 12)  # past the warm-up
    assert losses(name, case, 12) == pytest.approx(expected, abs=1e-4)
    assert (expected[:, 0] != expected[:, 1]).all()  # they are independent models


@pytest.mark.parametrize("case", ["sequence"], indirect=True)  # one is enough: it compiles for seconds
def test_jax_does_too(case, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
    pytest.importorskip("jax", reason="jax is not installed")
    assert losses("jax_pruned", case, 20)[-1] == pytest.approx(losses("plain", case, 20)[-1], abs=1e-4)


@pytest.mark.parametrize("name", ["plain", "vmap", "hfta"])
def test_the_loss_falls_on_rows_drawn_at_random(case, name):
    training = peers.make(name, replace(case, learning_rate=1e-2, batch=64), TRIALS)
    first = training().max()
    for _ in range(40):
        last = training()
    assert last.max() < 0.8 * first


def test_operations_are_counted_where_answers_are_read():
    """By hand: d 16, 4 tokens, 1 answer, 2 layers, 9 words, 8 rows."""
    case = Case.of({**TASKS["classification"], **SIZES})
    first = 4 * 16 * 48 + 2 * 4 * 4 * 16 + 4 * 16 * 16 + 2 * 4 * 16 * 64
    last = 16 * 16 + 4 * 16 * 32 + 2 * 4 * 16 + 16 * 16 + 2 * 16 * 64
    assert case.flops == 3 * 2 * 8 * (first + last + 16 * 9)
