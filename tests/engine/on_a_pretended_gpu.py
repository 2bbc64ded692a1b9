"""Whether the pretended GPU refuses what a GPU would. Run by test_pretended_gpu, in a process where there is one."""

from __future__ import annotations

import pytest
import torch

from tests.engine.pretended_gpu import Elsewhere

GPU = torch.device("cuda", 0)


def ones() -> torch.Tensor:
    return torch.ones(3, device=GPU)


def test_tensors_go_there_and_come_back_and_have_gradients():
    there = torch.arange(3.0).to(GPU)
    assert isinstance(there, Elsewhere)
    weights = there.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((weights * there).sum(), [weights])
    assert isinstance(gradient, Elsewhere)
    assert type(gradient.cpu()) is torch.Tensor
    assert gradient.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "mix",
    [
        lambda: ones() + torch.ones(3),
        lambda: torch.cat([ones(), torch.ones(3)]),
        lambda: torch.ones(3)[torch.zeros(1, dtype=torch.long, device=GPU)],
        lambda: torch.nn.functional.embedding(torch.zeros(1, dtype=torch.long), torch.ones(2, 2, device=GPU)),
    ],
    ids=["sum", "cat", "index", "embedding"],
)
def test_tensors_of_two_devices_do_not_mix(mix):
    with pytest.raises(RuntimeError, match="same device"):
        mix()


WAITS = {
    "item": lambda: ones()[0].item(),
    "truth": lambda: bool(ones()[0] > 0),
    "list": lambda: ones().tolist(),
    "copy to the host": lambda: ones().cpu(),
    "copy from the host": lambda: torch.ones(3).to(GPU),
    "index of the host": lambda: ones()[torch.tensor([0, 1])],
    "mask": lambda: ones()[ones() > 0],
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_whatever_waits_is_seen_and_cannot_be_captured(wait):
    wait()
    with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        wait()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchronizing"):
            wait()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_graph_does_nothing_when_captured_and_the_same_again_when_replayed():
    x, graph = ones(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
        x.add_(y[:2].sum())
    assert x.tolist() == [1.0] * 3
    for wanted in (5.0, 25.0):
        graph.replay()
        assert x.tolist() == [wanted] * 3
