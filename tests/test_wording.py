"""Values, numbers and errors as people read them."""

from __future__ import annotations

import pytest

from grokray.wording import count, first_line, in_a_line, listed, nearest, percent, show


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("fast", "'fast'"),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (1e-05, "1e-05"),
        (float("nan"), "nan"),
        ([1, True, "é"], '[1, true, "é"]'),
        ({"min": None}, '{"min": null}'),
        ("a\udcc3\udcb6'", '"a\udcc3\udcb6\'"'),  # bytes as they came, from the command line in a C locale
        (r"\udcc3", r"'\\udcc3'"),
        ("\\\udcc3", "'\\\\\udcc3'"),
        ({1, 2}, "{1, 2}"),  # JSON knows no sets
    ],
)
def test_a_value_is_shown_as_yaml_would_write_it(value, shown):
    assert show(value) == shown


def test_a_value_that_holds_itself_is_shown():
    value = []
    value.append(value)
    assert show(value) == "[[...]]"


def test_a_long_value_is_cut():
    assert show("x" * 61) == f"'{'x' * 56}..."


def test_the_nearest_name_is_offered_where_one_is_near():
    assert nearest("learning_rat", ["learning_rate", "dropout"]) == "; the nearest is learning_rate"
    assert nearest("lr", ["learning_rate", "dropout"]) == "; the nearest is learning_rate"
    assert nearest("d", ["learning_rate", "dropout"]) == ""
    assert nearest("lr", ["learning_rate", "list_rows"]) == "; the nearest is learning_rate or list_rows"
    assert nearest("zebra", ["learning_rate", "dropout"]) == ""
    assert nearest(3, ["30", "dropout"]) == "; the nearest is 30"


def test_of_many_names_the_first_few_are_listed():
    assert [listed([*"abcd"][:n]) for n in range(5)] == ["", "a", "a, b", "a, b, c", "a, b, c, …"]


def test_one_is_counted_as_one():
    assert [count(n, "trial") for n in (0, 1, 1234)] == ["0 trials", "1 trial", "1,234 trials"]


def test_only_all_is_a_hundred_percent():
    shares = (None, float("nan"), 0, 0.00001, 0.4567, 0.99999, 1, -0.05, 1.2)
    assert [percent(share) for share in shares] == [
        *("–", "–", "0 %", "0.1 %", "45.7 %", "99.9 %", "100 %", "−5.0 %", "120.0 %")
    ]


@pytest.mark.parametrize(
    ("error", "first", "line"),
    [
        (ValueError("too deep\nat line 3"), "too deep", "ValueError: too deep"),
        (ValueError("\n  too deep"), "too deep", "ValueError: too deep"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError(" \n"), "ValueError", "ValueError"),
    ],
)
def test_an_error_in_a_line(error, first, line):
    assert first_line(error) == first
    assert in_a_line(error) == line


def test_the_first_line_of_a_text():
    assert first_line("gone\nfor good") == "gone"
    assert first_line("") == ""
    assert first_line("\n", "nothing was said") == "nothing was said"
