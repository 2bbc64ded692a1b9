"""Every operation against its definition in plain Python, over all of a small domain and at the far end of int64."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest
import torch
from tasks_slow import SLOW, of_slow_group, pairs, shown_and_answer

from grokray.tasks import ALIASES, OPERATIONS, Operation
from grokray.tasks.operations import expressed, operation_named
from grokray.tasks.sizes import value_range

GROUPS = ("s5", "s5_conjugate", "s5_aba")
MODULAR = [name for name, operation in OPERATIONS.items() if operation.kind == "modular"]
COMMUTATIVE = (
    *("x+y_mod", "x*y_mod", "x^2+y^2_mod", "x^2+xy+y^2_mod"),
    *("x+y", "xy_abs_max", "xy_abs_min", "xy_avg", "xy_sqrt", "xy_abs_diff"),
)
LARGE_PRIME = 65_521


def answers(operation: Operation, some: list[tuple[int, int]], p: int | None) -> list[tuple[int, int, int]]:
    x, y = torch.tensor(some).T
    left, right = operation.shown(x, y, p)
    z = operation.answer(x, y, p)
    assert z.dtype == torch.int64
    return list(zip(left.tolist(), right.tolist(), z.tolist(), strict=True))


def test_the_slow_definitions_cover_every_operation() -> None:
    assert set(OPERATIONS) == {*SLOW, "x/y_mod"}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("p", [2, 3, 13, 23])
def test_an_operation_is_its_definition_over_its_whole_domain(name: str, p: int) -> None:
    modulus = p if name in MODULAR else None
    domain = pairs(name, p)
    assert answers(OPERATIONS[name], domain, modulus) == [shown_and_answer(name, x, y, modulus) for x, y in domain]


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_s_operation_is_its_definition_over_all_of_the_group(name: str) -> None:
    domain = pairs(name, 120)
    assert answers(OPERATIONS[name], domain, None) == [shown_and_answer(name, x, y, None) for x, y in domain]


@pytest.mark.parametrize("name", [n for n in OPERATIONS if not OPERATIONS[n].needs_prime and n not in GROUPS])
def test_nothing_overflows_near_the_largest_operands(name: str) -> None:
    domain = list(product(range(LARGE_PRIME - 5, LARGE_PRIME), repeat=2))
    p = LARGE_PRIME if name in MODULAR else None
    assert answers(OPERATIONS[name], domain, p) == [shown_and_answer(name, x, y, p) for x, y in domain]


def test_division_is_undone_by_multiplication_near_the_largest_prime() -> None:
    x, y = torch.arange(LARGE_PRIME - 6, LARGE_PRIME), torch.arange(LARGE_PRIME - 12, LARGE_PRIME, 2)
    assert (y % 2 == 1).all()
    dividend, divisor = OPERATIONS["x/y_mod"].shown(x, y, LARGE_PRIME)
    quotient = OPERATIONS["x/y_mod"].answer(x, y, LARGE_PRIME)
    assert torch.equal(quotient * divisor % LARGE_PRIME, dividend)
    quotient = OPERATIONS["x/y_if_y_odd_else_x-y_mod"].answer(x, y, LARGE_PRIME)
    assert torch.equal(quotient * y % LARGE_PRIME, x)


def test_the_integer_root_is_exact_beside_every_square() -> None:
    root = torch.arange(1, 65_536)
    square_less_one = OPERATIONS["xy_sqrt"].answer(root - 1, root + 1, None)  # (k−1)(k+1) = k² − 1
    assert torch.equal(square_less_one, root - 1)
    assert torch.equal(OPERATIONS["xy_sqrt"].answer(root, root, None), root)


@pytest.mark.parametrize("name", OPERATIONS)
def test_which_operations_do_not_mind_the_order(name: str) -> None:
    operation, p = OPERATIONS[name], 11 if name in MODULAR else None
    domain = [(x, y) for x, y in product(range(operation.y_min, 11), repeat=2)]
    there = answers(operation, domain, p)
    back = answers(operation, [(y, x) for x, y in domain], p)
    assert (name in COMMUTATIVE) == all(a[2] == b[2] for a, b in zip(there, back, strict=True))


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in GROUPS])
@pytest.mark.parametrize("limit", [2, 3, 11])
def test_the_range_of_values_holds_every_operand_and_answer_and_is_reached(name: str, limit: int) -> None:
    p = limit if name in MODULAR else None
    values = {value for row in answers(OPERATIONS[name], pairs(name, limit), p) for value in row}
    assert (min(values), max(values)) == value_range([OPERATIONS[name]], p, limit)


def test_the_values_of_a_group_are_its_elements_whatever_the_limit() -> None:
    assert value_range([OPERATIONS["s5"]], None, 7) == (0, 119)
    assert value_range([OPERATIONS["s5"], OPERATIONS["x+y_mod"], OPERATIONS["x-y"]], 211, 7) == (-6, 210)


def test_operations_of_other_groups_are_made_when_they_are_named() -> None:
    for name in ("s3", "a5_conjugate", "d7_aba"):
        operation = operation_named(name)
        group = name.partition("_")[0]
        domain = list(product(range(operation.order or 0), repeat=2))
        assert answers(operation, domain, None) == [(x, y, of_slow_group(name, x, y)) for x, y in domain]
        assert value_range([operation], None, 2) == (0, (operation.order or 0) - 1)
        assert operation.symbol.endswith(group)
        assert any(
            z != back[2]
            for (_, _, z), back in zip(
                answers(operation, domain, None), answers(operation, [(y, x) for x, y in domain], None), strict=True
            )
        )


def test_each_operation_has_its_own_operator() -> None:
    assert len({operation.symbol for operation in OPERATIONS.values()}) == len(OPERATIONS)


def test_every_alias_leads_to_an_operation_and_hides_none() -> None:
    names = {alias.operation for alias in ALIASES.values()}
    assert all(name in OPERATIONS or expressed(name).name == name for name in names)
    assert not set(ALIASES) & set(OPERATIONS)
    assert "x/y" in ALIASES, "the original's default"


def test_names_and_rules_are_looked_up_without_torch() -> None:
    code = "import sys, grokray.tasks.resolve as r, grokray.tasks.operations, grokray.tasks.codes; r.resolve({})"
    done = subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0
