"""Finite groups: that they are groups, of the right order, and how their elements are numbered."""

from __future__ import annotations

import math

import pytest
import torch

from grokray.tasks.groups import Group, group_named
from grokray.tasks.resolve import resolve

EVERY = ("s3", "s4", "s5", "s6", "a4", "a5", "a6", "d3", "d4", "d59", "d1000")


def named(name: str) -> Group:
    group = group_named(name)
    assert group is not None
    return group


@pytest.mark.parametrize("name", EVERY)
def test_it_is_a_group_and_not_a_commutative_one(name: str) -> None:
    group, number = named(name), int(name[1:])
    assert group.order == {"s": math.factorial(number), "a": math.factorial(number) // 2, "d": 2 * number}[name[0]]
    every = torch.arange(group.order)
    assert torch.equal(group.multiply(every, torch.zeros_like(every)), every)
    assert torch.equal(group.multiply(torch.zeros_like(every), every), every)
    assert torch.equal(group.multiply(every, group.invert(every)), torch.zeros_like(every))
    g = torch.Generator().manual_seed(0)
    x, y, z = torch.randint(group.order, (3, 2000), generator=g)
    assert torch.equal(group.multiply(group.multiply(x, y), z), group.multiply(x, group.multiply(y, z)))
    assert not torch.equal(group.multiply(x, y), group.multiply(y, x))
    assert group.multiply(x, y).dtype == torch.int64


def products(name: str, x: int, y: int) -> tuple[int, int]:
    one, two = torch.tensor([x]), torch.tensor([y])
    return named(name).multiply(one, two).item(), named(name).multiply(two, one).item()  # type: ignore[return-value]


def test_permutations_are_in_lexicographic_order() -> None:
    assert products("s5", 1, 2) == (3, 4), "01243, then 01324: 01342; the other way 01423"
    assert products("a4", 1, 2) == (0, 0), "0231 and 0312 are each other's inverse"


def test_a_polygons_symmetries_are_rotations_and_then_reflections() -> None:
    assert products("d3", 1, 3) == (4, 5)
    assert products("d59", 1, 58) == (0, 0)


@pytest.mark.parametrize("name", ["s2", "s7", "a3", "a7", "d2", "d1001", "d03", "q8", "s5_", "S5", "d" + "9" * 5000])
def test_what_is_no_group_here(name: str) -> None:
    assert group_named(name) is None


def test_a_group_is_an_operation_of_a_trial() -> None:
    config = resolve({"operation": "d59_conjugate", "modulus": 11})
    assert (config.operation, config.operand_limit, config.modulus) == ("d59_conjugate", 118, None)
