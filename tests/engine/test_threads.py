from __future__ import annotations

import pytest
import torch

from grokray.engine.threads import FEW, of_many_rows, with_one_thread


def threads(*_: object) -> int:
    return torch.get_num_threads()


def test_one_thread_computes_it_and_then_there_are_as_many_as_before():
    torch.set_num_threads(2)
    assert (with_one_thread(threads)(), threads()) == (1, 2)

    def fails() -> None:
        raise ValueError(threads())

    with pytest.raises(ValueError, match="1"):
        with_one_thread(fails)()
    assert threads() == 2


def test_few_rows_are_measured_by_one_thread():
    torch.set_num_threads(2)
    rows = torch.zeros(1, 8)
    found = [of_many_rows(threads)(rows, torch.zeros(1, n, 4)) for n in (FEW - 1, FEW)]
    assert found == [1, 2]


def test_products_with_24_rows_or_columns_do_not_depend_on_threads():
    """What `FEW` rests on."""
    for rows, columns in ((24, 23), (23, 24), (31, 31), (FEW, FEW)):
        a, b = torch.randn(1, rows, 64), torch.randn(1, 64, columns)
        found = []
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(torch.bmm(a, b))
        assert torch.equal(*found)
