"""Numbers in labels and tables."""

from __future__ import annotations

import pytest

from grokray.analysis.wording import counted, readable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1e-7, "1e-07"),
        (999.4, "999"),
        (999.6, "1,000"),
        (-1500.0, "-1,500"),
        (1e6, "1,000,000"),
    ],
)
def test_no_number_with_a_whole_part_is_shown_as_a_power(value, shown):
    assert readable(value) == shown


def test_more_digits():
    assert (readable(1234.5678, 6), readable(123_456_789.0, 6)) == ("1234.57", "123,456,789")


def test_one_is_spoken_of_as_one():
    assert [counted(n, "trial", "was", "were") for n in (0, 1, 1234)] == [
        "0 trials were",
        "1 trial was",
        "1,234 trials were",
    ]
