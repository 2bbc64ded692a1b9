from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.backends.common import aot_autograd

from grokray.engine import made_up
from grokray.engine.embedding import look_up, look_up_gradient
from grokray.engine.kernels import Kernels
from grokray.engine.shape import shape_of
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small
from tests.engine.test_options import OPTIONS

CPU = torch.device("cpu")
# What a GPU adds up in any order. Of a gather's gradient, scatter_add, no two go to one place.
UNORDERED = ("embedding_dense_backward", "index_put", "index_add", "scatter_reduce")


@pytest.mark.parametrize("cpu", [True, False])
def test_each_slot_looks_its_own_rows_up_and_gets_their_gradient(monkeypatch, cpu):
    """Added up as a CPU does it, and as a GPU does."""
    monkeypatch.setattr("grokray.engine.embedding.is_for_cpu", lambda _: cpu)
    g = torch.Generator().manual_seed(0)
    table = torch.randn(3, 7, 5, generator=g, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(7, (3, 4, 2), generator=g)
    expected = torch.stack([F.embedding(i, t) for i, t in zip(ids, table, strict=True)])
    found = look_up(table.detach(), ids)
    assert torch.equal(found, expected)
    gradient = torch.randn(expected.shape, generator=g, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(expected, [table], gradient)
    torch.testing.assert_close(look_up_gradient(gradient, ids, 7), wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(
    ("name", "form", "layers"),
    [("plain", "unrolled", 2), ("shared prefixes", "unrolled", 1), ("sequence, warm-up", "products", 1)],
)
def test_nothing_that_is_compiled_adds_up_in_any_order(monkeypatch, name, form, layers):
    """What would be compiled for a GPU, as the compiler sees it."""
    monkeypatch.setattr("grokray.engine.kernels.form_of", lambda *_, **__: form)
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    shape = shape_of(build_dataset(small(**OPTIONS[name], num_layers=layers)))
    compiled = partial(torch.compile, dynamic=False, fullgraph=True, backend=aot_autograd(fw_compiler=keep))
    kernels = Kernels(shape, CPU, (), compile=lambda _, function: compiled(function), functional=True)
    s = made_up.slots(shape, 2, CPU).span(0, 2)
    gradients, _ = kernels.one_pass(s, made_up.batch(shape, 2), s["step"])
    kernels.step(s, gradients)
    kernels.row_sums(s["parameters"], *made_up.chunk(shape, 2, CPU))
    torch._dynamo.reset()
    called = {str(node.target) for graph in graphs for node in graph.graph.nodes if node.op == "call_function"}
    assert "aten.bmm.default" in called
    assert [target for target in called if any(name in target for name in UNORDERED)] == []
