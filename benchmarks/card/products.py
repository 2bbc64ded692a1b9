"""The card's own matrix products: the ceiling of everything that is made of them, in each precision.

Large square ones, of which the best counts; and those of the model's linear layers, forward and backward, stacked over
trials, which are smaller and slower. Products of attention are left out: at so few tokens they are a small share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from harness import Contestant
from peers.case import Case, waiting_for
from torch import Tensor

from card.device import products_in
from card.heats import Entrant, heat
from card.notes import Notes
from card.plan import PRECISIONS

Product = Callable[[], Tensor]


def measure(notes: Notes) -> None:
    for precision in PRECISIONS:
        sizes = [(f"{size}", size) for size in notes.plan.products]
        entrants = [Entrant(name=n, make=lambda s=s, p=precision: square(notes, s, p), needs_s=2) for n, s in sizes]
        entrants.append(Entrant(name="the model's", make=lambda p=precision: of_the_model(notes, p), needs_s=2))
        heat(notes, ["products", precision], entrants, slice_s=notes.plan.slice_s / 3)


def yardstick(notes: Notes, precision: str) -> Entrant:
    """The first of the square products, to run beside other contestants."""
    size = notes.plan.products[0]
    return Entrant(name=f"product {precision}", make=lambda: square(notes, size, precision), needs_s=2)


def square(notes: Notes, size: int, precision: str) -> Contestant:
    a, b, out = (_random(notes, precision, size, size) for _ in range(3))
    return _contestant(notes, precision, 2.0 * size**3, [lambda: torch.mm(a, b, out=out)])


def of_the_model(notes: Notes, precision: str) -> Contestant:
    """Every product of one layer's linear maps and its gradients, of `main` trials. A call computes each once."""
    case, trials = Case.of(notes.case.parameters), notes.case.main
    rows, d = case.batch * case.length, case.width
    products: list[Product] = []
    work = 0.0
    for width, out in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)):
        x, w, g = (_random(notes, precision, trials, *size) for size in ((rows, width), (width, out), (rows, out)))
        products += [
            lambda x=x, w=w: torch.bmm(x, w),
            lambda w=w, g=g: torch.bmm(g, w.transpose(1, 2)),
            lambda x=x, g=g: torch.bmm(x.transpose(1, 2), g),
        ]
        work += 3 * 2.0 * trials * rows * width * out
    return _contestant(notes, precision, work, products)


def _random(notes: Notes, precision: str, *size: int) -> Tensor:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return torch.randn(*size, device=notes.plan.device).to(dtype)


def _contestant(notes: Notes, precision: str, work: float, products: list[Product]) -> Contestant:
    """Its work is counted in floating-point operations."""

    def call() -> float:
        with products_in(precision):
            for product in products:
                product()
        return work

    return Contestant(name=precision, call=call, wait=waiting_for(notes.plan.device))
