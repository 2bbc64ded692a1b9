from __future__ import annotations

import torch

from grokray.engine.filters import grokfast, orthograd
from grokray.engine.shape import shape_of
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small

ALPHAS, STRENGTHS = [0.98, 0.5, 0.0], [2.0, 0.5, 1.0]


def numbers(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equals_the_written_out_recursion_in_every_slot():
    gradients = torch.randn(12, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    average, step = torch.full((3, 7), 99.0, dtype=torch.float64), torch.zeros(3, dtype=torch.int32)
    settings = {"alpha": numbers(ALPHAS), "strength": numbers(STRENGTHS), "active": torch.ones(3)}
    found = []
    for gradient in gradients:
        found.append(grokfast(gradient, average, step=step, **settings))
        step += 1
    for k in range(3):
        mean = gradients[0, k]
        for t in range(12):
            mean = ALPHAS[k] * mean + (1 - ALPHAS[k]) * gradients[t, k]
            wanted = gradients[t, k] + STRENGTHS[k] * mean
            torch.testing.assert_close(found[t][k], wanted, rtol=1e-12, atol=1e-12)


def test_an_inactive_slots_average_stays():
    average = torch.ones(2, 3)
    settings = {"alpha": numbers([0.9, 0.9]), "strength": numbers([2.0, 2.0]), "active": numbers([1.0, 0.0])}
    grokfast(torch.zeros(2, 3), average, step=torch.tensor([5, 5], dtype=torch.int32), **settings)
    assert torch.equal(average[1], torch.ones(3))
    torch.testing.assert_close(average[0], torch.full((3,), 0.9))


def rows_of(layout, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return layout.rows({p.name: torch.randn(2, *p.shape, generator=random) for p in layout.parameters})


def matrices(layout, rows: torch.Tensor) -> list[torch.Tensor]:
    """Each parameter (slots, size), with queries, keys and values apart."""
    views = layout.views(rows)
    whole = [view.flatten(1) for name, view in views.items() if "qkv" not in name]
    return whole + [part.flatten(1) for name in views if "qkv" in name for part in views[name].chunk(3, -1)]


def test_orthograd_leaves_each_parameters_gradient_as_long_as_it_was_and_at_a_right_angle_to_the_parameter():
    layout = shape_of(build_dataset(small())).layout
    parameters, gradients = rows_of(layout, 0), rows_of(layout, 1)
    found = orthograd(layout, parameters, gradients)
    assert found.shape == gradients.shape
    assert not found[:, ~layout.used(found.device)].any()
    every = zip(*(matrices(layout, rows) for rows in (parameters, gradients, found)), strict=True)
    for w, g, rest in every:
        torch.testing.assert_close(rest.norm(dim=1), g.norm(dim=1))
        assert ((w * rest).sum(1).abs() < 1e-5 * w.norm(dim=1) * g.norm(dim=1)).all()
        removed = g - rest * ((g * rest).sum(1) / (rest * rest).sum(1))[:, None]  # what is left points along w
        cosine = (removed * w).sum(1).abs() / (removed.norm(dim=1) * w.norm(dim=1))
        torch.testing.assert_close(cosine, torch.ones(2), rtol=1e-3, atol=0)


def test_orthograd_has_nothing_to_take_where_a_parameter_is_zero_and_nothing_to_scale_where_a_gradient_is():
    layout = shape_of(build_dataset(small())).layout
    some, nothing = rows_of(layout, 0), torch.zeros(2, layout.row_size)
    torch.testing.assert_close(orthograd(layout, nothing, some), some)
    assert torch.equal(orthograd(layout, some, nothing), nothing)
