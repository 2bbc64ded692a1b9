from __future__ import annotations

import math

import pytest
import torch

from grokray.engine.muon import make_muon, orthogonalized
from grokray.engine.optimizer import coefficients
from tests.engine.test_model import key
from tests.engine.test_optimizer import rates_of


@pytest.mark.parametrize("dims", [(5, 8, 8), (3, 4, 20), (2, 20, 4)])
def test_singular_values_come_near_one_and_directions_stay(dims):
    x = torch.randn(dims, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    values = u.transpose(1, 2) @ orthogonalized(x) @ v.transpose(1, 2)
    diagonal = values.diagonal(dim1=1, dim2=2)
    assert 0.5 < diagonal.min() < diagonal.max() < 1.3
    torch.testing.assert_close(values, torch.diag_embed(diagonal), rtol=0, atol=1e-10)


def test_a_matrix_without_gradient_stays_where_it_is():
    assert torch.equal(orthogonalized(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_hidden_matrices_go_as_torchs_muon_has_them_and_the_rest_as_its_adamw():
    shape = key(dim_model=24, num_layers=1)
    g = torch.Generator().manual_seed(1)
    rows = torch.randn(2, shape.layout.row_size, generator=g, dtype=torch.float64) * 0.1
    start = {name: view[1].clone() for name, view in shape.layout.views(rows).items()}
    moments = torch.zeros_like(rows), torch.zeros_like(rows)
    gradients = torch.randn(10, *rows.shape, generator=g, dtype=torch.float64)
    update, s = make_muon(shape.layout), rates_of(learning_rate=[1.0, 1e-2])
    for gradient in gradients:
        update(rows, gradient, *moments, coefficients(**s, dtype=rows.dtype))
        s["step"] += 1
    for p in shape.layout.parameters:
        result = shape.layout.views(rows)[p.name][1]
        wanted = trained_by_torch(p, start[p.name], [shape.layout.views(g)[p.name][1] for g in gradients])
        change = (result - start[p.name]).norm()
        # torch's Muon multiplies in bfloat16, which costs some per cent.
        assert (result - wanted).norm() < (0.05 if p.hidden_matrix else 1e-10) * change, p.name


def trained_by_torch(p, start, gradients):
    parts = 3 if p.name.endswith("qkv.weight") else 1
    parameters = [torch.nn.Parameter(part.clone()) for part in start.chunk(parts, -1)]
    if p.hidden_matrix:
        optimizer = torch.optim.Muon(parameters, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    else:
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1, betas=(0.9, 0.98))
    for gradient in gradients:
        for parameter, part in zip(parameters, gradient.chunk(parts, -1), strict=True):
            parameter.grad = part.clone()
        optimizer.step()
    return torch.cat([parameter.detach() for parameter in parameters], -1)


def test_updates_are_about_as_large_as_adamws():
    shape = key(dim_model=24, num_layers=1)
    rows = torch.zeros(1, shape.layout.row_size, dtype=torch.float64)
    gradient = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e-3
    make_muon(shape.layout)(
        rows,
        gradient,
        torch.zeros_like(rows),
        torch.zeros_like(rows),
        coefficients(**rates_of(active=[1.0]), dtype=rows.dtype),
    )
    for p in shape.layout.parameters:
        rms = shape.layout.views(rows)[p.name].square().mean().sqrt().item()
        assert math.isclose(rms, 0.2e-2 if p.hidden_matrix else 1e-2, rel_tol=0.2), p.name


def test_an_inactive_slot_is_left_exactly_as_it_is():
    shape = key()
    g = torch.Generator().manual_seed(0)
    tensors = [torch.rand(2, shape.layout.row_size, generator=g) for _ in range(4)]
    before = [t[1].clone() for t in tensors]
    make_muon(shape.layout)(*tensors, coefficients(**rates_of(active=[1.0, 0.0]), dtype=torch.float32))
    assert all(torch.equal(t[1], b) for t, b in zip(tensors, before, strict=True))
