from __future__ import annotations

import pytest
import torch

from grokray.engine.attention import UNROLLED_LENGTH, form_of
from grokray.engine.gradient import eager_gradient, functional_gradient
from grokray.engine.model import Batch, forward
from grokray.engine.shape import ShapeKey
from tests.engine.reference import Transformer, named, ours


def key(**changes) -> ShapeKey:
    base = {
        "num_layers": 2,
        "dim_model": 24,
        "num_heads": 3,
        "norm": "pre",
        "vocabulary_size": 13,
        "length": 6,
        "answers": 2,
        "uniform": True,
        "batch_size": 10,
        "dtype": "float64",
    }
    return ShapeKey(**(base | changes))


def reference_loss(logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    per_row = [
        torch.nn.functional.cross_entropy(row, target, ignore_index=-1)
        for row, target in zip(logits, targets, strict=True)
    ]
    return (torch.stack(per_row) * weight).sum() / weight.sum()


@pytest.mark.parametrize(
    ("norm", "activation"), [("pre", "gelu"), ("pre", "relu"), ("post", "gelu"), ("input", "gelu"), ("none", "relu")]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize(
    ("uniform", "form"),
    [
        *((True, form) for form in ("products", "eager", "sums", "unrolled")),
        *((False, form) for form in ("products", "eager", "sums")),
    ],
)
def test_one_slot_equals_plain_torch_modules(norm, activation, dtype, tolerance, uniform, form):
    shape = key(norm=norm, activation=activation, dtype=dtype, uniform=uniform)
    torch.manual_seed(0)
    model = Transformer(13, 6, 24, 3, 2, norm, activation).to(shape.torch_dtype)
    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(13, (10, 6), generator=g)
    positions = torch.tensor([[4, 5]]).expand(10, 2) if uniform else torch.randint(6, (10, 2), generator=g)
    targets = torch.randint(13, (10, 2), generator=g)
    targets[3, 1] = -1
    weight = torch.ones(10, dtype=shape.torch_dtype)
    weight[7:] = 0

    expected = model(tokens).gather(1, positions[..., None].expand(10, 2, 13))
    loss = reference_loss(expected, targets, weight)
    reference_gradients = dict(zip(named(model), torch.autograd.grad(loss, list(named(model).values())), strict=True))

    rows = shape.layout.rows({n: ours(n, p.detach())[None] for n, p in named(model).items()})
    batch = Batch(tokens[None], None if uniform else positions[None], targets[None], weight[None])
    logits = forward(shape, shape.layout.views(rows), batch.tokens, batch.positions, form=form)
    gradient = eager_gradient(shape, form) if form in ("products", "eager") else functional_gradient(shape, form)
    gradients, losses = gradient(rows, batch, None)

    torch.testing.assert_close(logits[0], expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(losses[0], loss.detach(), rtol=tolerance, atol=tolerance)
    for name, found in shape.layout.views(gradients).items():
        torch.testing.assert_close(found[0], ours(name, reference_gradients[name]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("changes", "device", "compiled", "form"),
    [
        ({"length": 4}, "cuda", True, "unrolled"),
        ({"length": 4, "precision": "bf16"}, "cuda", True, "unrolled"),
        ({"length": 4}, "cuda", False, "products"),
        ({"length": 4}, "cpu", True, "sums"),
        ({"length": 4}, "cpu", False, "unrolled"),
        ({"length": 4, "uniform": False}, "cpu", False, "eager"),
        ({"length": UNROLLED_LENGTH + 1}, "cpu", False, "eager"),
        ({"length": 4, "precision": "bf16"}, "cpu", False, "products"),
        ({"length": 4, "precision": "bf16"}, "cpu", True, "products"),
        ({"length": 4, "uniform": False}, "cuda", True, "sums"),
        ({"length": UNROLLED_LENGTH + 1}, "cuda", True, "sums"),
        ({"length": UNROLLED_LENGTH + 1, "precision": "bf16"}, "cuda", True, "sums"),
        ({"length": 9}, "cuda", True, "products"),
    ],
)
def test_attention_has_the_form_that_suits_its_length_and_device(changes, device, compiled, form):
    assert form_of(key(**changes), torch.device(device), compiled=compiled) == form


def test_a_slot_does_not_see_its_neighbours_gradient():
    shape = key()
    g = torch.Generator().manual_seed(2)
    rows = torch.randn(3, shape.layout.row_size, generator=g, dtype=torch.float64) * 0.1
    batch = Batch(
        torch.randint(13, (3, 10, 6), generator=g),
        None,
        torch.randint(13, (3, 10, 2), generator=g),
        torch.ones(3, 10, dtype=torch.float64),
    )
    together, _ = eager_gradient(shape)(rows, batch, None)
    spoiled = rows.clone()
    spoiled[0] = float("nan")
    beside_nan, _ = eager_gradient(shape)(spoiled, batch, None)
    assert beside_nan[0].isnan().any()
    torch.testing.assert_close(beside_nan[1:], together[1:], rtol=0, atol=0)
