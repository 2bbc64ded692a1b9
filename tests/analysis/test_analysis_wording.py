"""Numbers in labels and tables."""

from __future__ import annotations

import numpy as np
import pytest

from grokray.analysis.wording import counted, ends, names_apart, ranges, readable, value_texts


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


def test_neighbouring_ranges_are_told_apart_and_end_where_they_do():
    assert ranges([0.999, 0.99922, 0.99945, 0.9999]) == [
        *("0.999 to 0.99922", "0.99922 to 0.99945", "0.99945 to 0.9999"),
    ]
    assert ends([0.01, 0.0381, 0.159123, 3.0]) == ["0.01", "0.0381", "0.159", "3"]
    assert ends([1e-5, 1.2345e-4, 0.98765]) == ["1e-05", "0.000123", "0.988"]
    assert ends([12_345.0, 12_346.0, 99_999.0]) == ["12,345", "12,346", "99,999"]
    assert ends([-float("inf"), 0.5, float("inf")]) == ["-inf", "0.5", "inf"]
    assert len(set(ends(np.nextafter(0.1, 1, dtype=float) * np.array([1, 1 + 2e-16, 1 + 9e-16])))) == 3


def test_choices_that_agree_in_six_digits_are_told_apart():
    assert value_texts([0.1234567, 0.1234568, None]) == ["0.1234567", "0.1234568", "none"]
    assert value_texts([0.1 + 0.2, True, "x"]) == ["0.3", "true", "x"]


def test_what_has_one_name_is_told_apart():
    assert names_apart(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
