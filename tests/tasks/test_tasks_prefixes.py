from __future__ import annotations

import pytest
import torch

from grokray.tasks.dataset import build_dataset
from grokray.tasks.prefixes import sorted_rows
from grokray.tasks.resolve import resolve


def test_the_worked_example():
    found = sorted_rows(torch.tensor([[3, 1], [2, 1], [3, 0], [3, 1]]))
    assert found.order.tolist() == [1, 2, 0, 3]
    assert found.shared.tolist() == [-1, 0, 1, 2]
    assert [found.distinct(length) for length in range(3)] == [1, 2, 3]
    assert found.prefix_ids(1).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("largest", [1, 6, 200, 2**30])  # so many tokens fit one packed number: 62, 20, 7, 2
def test_equals_sorting_the_rows_as_lists(largest):
    g = torch.Generator().manual_seed(largest)
    # Few distinct tokens, so that prefixes of many lengths are shared.
    tokens = torch.tensor([0, largest])[torch.randint(2, (300, 9), generator=g)].int()
    found, lists = sorted_rows(tokens), tokens.tolist()
    assert found.order.tolist() == sorted(range(300), key=lambda i: (lists[i], i))
    for length in range(10):
        prefixes = sorted({tuple(row[:length]) for row in lists})
        assert found.distinct(length) == len(prefixes)
        assert found.prefix_ids(length).tolist() == [prefixes.index(tuple(row[:length])) for row in lists]


def test_half_of_each_row_of_mod_division_is_one_of_97_prefixes():
    rows = build_dataset(resolve({"operation": "x/y_mod", "modulus": 97})).table.sorted_rows
    assert [rows.distinct(length) for length in range(5)] == [1, 97, 97, 9312, 9312]
