"""S5, the 120 permutations of five things, each called by its place in lexicographic order: 0 leaves all in place.

x·y means first x, then y, as in the code of Power et al.: (x·y)(i) = y(x(i)). A worked example: element 1 is 01243,
element 2 is 01324; 1·2 = 01342, which is element 3, and 2·1 = 01423, element 4. Needs no torch by name.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ORDER = 120


def multiply(x: Tensor, y: Tensor) -> Tensor:
    """x·y of elements (n,) int64 in [0, 120)."""
    return x.new_tensor(_products())[x * ORDER + y]


def invert(x: Tensor) -> Tensor:
    """x⁻¹ of elements (n,) int64 in [0, 120)."""
    return x.new_tensor(_inverses())[x]


@lru_cache(maxsize=1)
def _products() -> list[int]:
    """x·y at place 120·x + y."""
    elements = list(permutations(range(5)))
    number = {element: n for n, element in enumerate(elements)}
    return [number[tuple(y[i] for i in x)] for x in elements for y in elements]  # type: ignore[index]


@lru_cache(maxsize=1)
def _inverses() -> list[int]:
    products = _products()
    return [products[x * ORDER : (x + 1) * ORDER].index(0) for x in range(ORDER)]
