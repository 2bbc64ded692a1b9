"""Finite groups whose elements are called by numbers: 0 changes nothing.

`s3` … `s6` are all permutations of so many things, `a4` … `a6` the even ones, numbered in lexicographic order. x·y
means first x, then y, as in the code of Power et al.: (x·y)(i) = y(x(i)). A worked example in s5: element 1 is 01243,
element 2 is 01324; 1·2 = 01342, which is element 3, and 2·1 = 01423, element 4.

`d3` … `d1000` are the symmetries of a regular polygon with n corners, 2n of them: i is the rotation rⁱ, n + i is rⁱs
with the reflection s, where srs = r⁻¹. In d3 1·3 = rs, which is 4, and 3·1 = sr = r²s, which is 5.

Needs no torch by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NUMBERS = {"s": range(3, 7), "a": range(4, 7), "d": range(3, 1001)}  # things, or corners
GROUPS = ", ".join(f"{kind}{numbers[0]} to {kind}{numbers[-1]}" for kind, numbers in NUMBERS.items())


@dataclass(frozen=True, kw_only=True)
class Group:
    """`multiply` and `invert` take elements (n,) int64 in [0, order)."""

    name: str
    order: int
    multiply: Callable[[Tensor, Tensor], Tensor]
    invert: Callable[[Tensor], Tensor]


@lru_cache(maxsize=64)
def group_named(name: str) -> Group | None:
    """The group of a name such as `s5`, `a5` or `d59`; None where there is none."""
    found = re.fullmatch("([sad])([1-9][0-9]{0,3})", name)
    if found is None or int(found[2]) not in NUMBERS[found[1]]:
        return None
    number = int(found[2])
    return _dihedral(name, number) if found[1] == "d" else _permutations(name, number, even=found[1] == "a")


def _permutations(name: str, things: int, *, even: bool) -> Group:
    elements = [p for p in permutations(range(things)) if not even or _is_even(p)]
    order = len(elements)

    @lru_cache(maxsize=1)
    def products() -> list[int]:
        """x·y at place order·x + y; of s6 half a million, so only where they are wanted."""
        number = {element: n for n, element in enumerate(elements)}
        return [number[tuple(y[i] for i in x)] for x in elements for y in elements]

    @lru_cache(maxsize=1)
    def inverses() -> list[int]:
        return [products()[n * order : (n + 1) * order].index(0) for n in range(order)]

    def multiply(x: Tensor, y: Tensor) -> Tensor:
        return x.new_tensor(products())[x * order + y]

    def invert(x: Tensor) -> Tensor:
        return x.new_tensor(inverses())[x]

    return Group(name=name, order=order, multiply=multiply, invert=invert)


def _is_even(permutation: tuple[int, ...]) -> bool:
    return sum(a > b for a, b in combinations(permutation, 2)) % 2 == 0


def _dihedral(name: str, corners: int) -> Group:
    def multiply(x: Tensor, y: Tensor) -> Tensor:
        turn = (y % corners).where(x < corners, -y)  # behind a reflection it turns back
        return (x + turn) % corners + corners * ((x < corners) == (y >= corners)).long()

    def invert(x: Tensor) -> Tensor:
        return (-x % corners).where(x < corners, x)

    return Group(name=name, order=2 * corners, multiply=multiply, invert=invert)
