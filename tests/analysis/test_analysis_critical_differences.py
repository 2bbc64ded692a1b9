"""Whether critical training fractions differ between groups."""

from __future__ import annotations

import numpy as np
import pytest

from grokray.analysis.critical import critical_fraction, critical_fractions
from grokray.analysis.critical_differences import differences
from grokray.analysis.findings.critical import critical_fraction as finding
from grokray.analysis.logrank import holm
from grokray.analysis.plots import critical_rows
from grokray.analysis.regression import expit
from grokray.analysis.report.pictured import _marks as marks
from tests.analysis.tables import grokking, trials_of


def group(rng, middle: float, configurations: int = 100, first: int = 0, slope: float = 15.0):
    """The critical fraction of a group whose true one is `middle`; configurations are numbered from `first`."""
    fraction = rng.uniform(0.2, 0.8, configurations)
    grokked = rng.random(configurations) < expit(slope * (fraction - middle))
    number = first + np.arange(configurations)
    return critical_fraction(fraction, grokked, np.ones(configurations), number, group={"base": middle})


def test_intervals_hold_the_difference_and_p_agrees_with_them_also_where_slopes_differ():
    rng, held, found = np.random.default_rng(0), 0, 0
    for _ in range(80):
        (one,) = differences([group(rng, 0.4, 80, slope=40), group(rng, 0.52, 80, first=500, slope=12)])
        held += one.difference.lower <= 0.12 <= one.difference.upper
        found += one.p_value < 0.05
        assert (one.p_value < 0.05) == (one.difference.lower > 0 or one.difference.upper < 0)
    assert held / 80 > 0.93
    assert 0.3 < found / 80 < 0.9


def test_ends_are_joined_as_those_of_independent_numbers():
    rng = np.random.default_rng(1)
    a, b = group(rng, 0.45, 200), group(rng, 0.5, 200, first=9_000)
    (one,) = differences([a, b])
    value = b.fraction - a.fraction
    less, more = b.fraction - b.lower, a.upper - a.fraction
    assert (one.difference.value, one.difference.lower) == pytest.approx((value, value - np.hypot(less, more)))
    less, more = a.fraction - a.lower, b.upper - b.fraction
    assert one.difference.upper == pytest.approx(value + np.hypot(less, more))


def test_all_pairs_share_one_level_and_a_group_without_a_fraction_has_no_pair():
    rng = np.random.default_rng(3)
    sides = [group(rng, middle, first=1_000 * at) for at, middle in enumerate((0.4, 0.42, 0.44))]
    none = critical_fraction(np.linspace(0.2, 0.8, 20), np.ones(20) > 0, np.ones(20), np.arange(20))
    found = differences([*sides, none])
    assert [(one.a, one.b) for one in found] == [(sides[0], sides[1]), (sides[0], sides[2]), (sides[1], sides[2])]
    assert [one.adjusted for one in found] == pytest.approx(holm(np.array([one.p_value for one in found])).tolist())


EVENLY = np.linspace(0.2, 0.8, 24)


def parted(middle: float, first: int = 0, fraction: np.ndarray = EVENLY):
    """A group that is perfectly separated there."""
    number = first + np.arange(len(fraction))
    return critical_fraction(fraction, fraction > middle, np.ones(len(fraction)), number, group={"base": middle})


def test_groups_that_are_perfectly_separated_differ_where_luck_cannot_have_parted_them():
    a, b, same = parted(0.4), parted(0.6, 500), parted(0.4, 900)
    for other, is_told in ((b, True), (same, False)):
        (one,) = differences([a, other])
        assert (one.p_value < 0.05) == is_told == (one.difference.lower > 0)
    grid = np.repeat(np.linspace(0.2, 0.8, 7), 6)
    (steps,) = differences([parted(0.35, 0, grid), parted(0.55, 500, grid)])
    assert steps.p_value < 0.01


def test_an_end_that_nothing_bounds_counts_in_full():
    early = parted(0.23)  # two trials below
    assert early.lower == 0
    late = parted(0.6, 500)
    (one,) = differences([early, late])
    far = one.difference.upper - one.difference.value
    assert far == pytest.approx(early.fraction + late.upper - late.fraction)
    assert one.p_value < 0.05


def bases(middles, size: int = 150):
    rng = np.random.default_rng(5)
    middle = np.repeat(middles, size)
    fraction = rng.uniform(0.2, 0.8, len(middle))
    return trials_of(
        len(middle),
        task_type="sequence",
        base=np.repeat(2 + np.arange(len(middles)), size),
        training_fraction=fraction,
        grok_step=grokking(rng.random(len(middle)) < expit(20 * (fraction - middle))),
    )


def test_the_finding_names_the_largest_difference():
    found = finding(bases([0.35, 0.5, 0.52]), by="base")
    table = found.tables["differences"].set_index("comparison")
    assert [*table.index] == ["base 3 against base 2", "base 4 against base 2", "base 4 against base 3"]
    assert table["fraction_difference"].tolist() == pytest.approx([0.15, 0.17, 0.02], abs=0.05)
    assert (table["adjusted_p"] < 0.05).tolist() == [True, True, False]
    assert "The largest difference: base 3 needs 0.172 (0.0689 to 0.27) more than base 2." in found.summary
    assert finding(bases([0.5, 0.3]), by="base").summary.endswith(" more than base 3.")
    assert "note" not in table
    assert " +0.1" in str(found)


def test_no_difference_is_said_and_a_single_group_has_none():
    assert finding(bases([0.5, 0.5]), by="base").summary.endswith("No difference between groups can be told from none.")
    assert [*finding(bases([0.5]), by="base").tables] == ["critical_fraction"]


def test_more_groups_than_pairs_are_told_of_are_said():
    found = finding(bases([0.5] * 5, 40), by=["base", "task_type"])
    assert len(found.tables["differences"]) == 10
    many = bases([0.5] * 6, 80).append_column("half", [[str(row % 2) for row in range(480)]])
    found = finding(many, by=["base", "half"])
    assert "differences" not in found.tables
    assert found.notes == (
        "12 groups have a critical fraction: differences are told of 8 at most, so choose some with where",
    )


def test_what_a_learning_search_tried_is_no_fair_comparison():
    assert not any("tpe" in note for note in finding(bases([0.4, 0.5]), by="base").notes)
    assert any("tpe" in note for note in finding(bases([0.4, 0.5]), by="base", learned=True).notes)
    assert not any("tpe" in note for note in finding(bases([0.4]), by="base", learned=True).notes)


def test_few_audited_trials_for_many_that_were_pruned_leave_no_p():
    rng = np.random.default_rng(3)
    fraction, base = rng.uniform(0.2, 0.8, 400), np.repeat([2, 10], 200)
    grokked = rng.random(400) < expit(15 * (fraction - 0.5))
    wanted = ~grokked & (rng.random(400) < 0.6) & (base == 2)
    audited = np.zeros(400, bool)
    audited[np.flatnonzero(wanted)[:9]] = True
    outcome = np.where(wanted & ~audited, "pruned", np.where(grokked, "grokked", "budget")).tolist()
    columns = {"training_fraction": fraction, "outcome": outcome, "grok_step": grokking(grokked), "base": base}
    trials = trials_of(400, **columns, audited=audited, audit_probability=np.where(wanted, 9 / wanted.sum(), np.nan))
    sides = critical_fractions(trials)
    assert [side.pruned for side in sides] == [outcome.count("pruned"), 0]
    (one,) = differences(sides)
    assert np.isnan(one.p_value)
    assert one.difference.lower < -0.3
    assert one.difference.upper > 0.3
    found = finding(trials)
    (row,) = found.tables["differences"].to_dict("records")
    assert row["note"] == "no interval is known of the second, so there is no p"
    assert [np.isnan(drawn.lower) for drawn in critical_rows(found)] == [True, False]
    assert marks(critical_rows(found)) == " A hollow mark: no interval is known."
