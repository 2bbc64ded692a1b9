"""Whether critical training fractions differ between groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from grokray.analysis.critical import critical_fraction, critical_fractions
from grokray.analysis.critical_differences import differences
from grokray.analysis.findings.critical import critical_fraction as finding
from grokray.analysis.logrank import holm
from grokray.analysis.regression import expit
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
        (one,) = differences([group(rng, 0.4, 80, slope=20), group(rng, 0.5, 80, first=500, slope=8)])
        held += one.difference.lower <= 0.1 <= one.difference.upper
        found += one.p_value < 0.05
        assert (one.p_value < 0.05) == (one.difference.lower > 0 or one.difference.upper < 0)
    assert 0.9 < held / 80 < 1
    assert 0.3 < found / 80 < 0.9


def test_of_large_groups_it_is_the_plain_test_of_two_normal_numbers():
    rng = np.random.default_rng(1)
    a, b = group(rng, 0.45, 4_000), group(rng, 0.46, 4_000, first=9_000)
    (one,) = differences([a, b])
    half = np.hypot(*((side.upper - side.lower) / 2 for side in (a, b)))
    value = b.fraction - a.fraction
    assert (one.difference.value, one.difference.lower, one.difference.upper) == pytest.approx(
        (value, value - half, value + half), abs=2e-4
    )
    assert one.p_value == pytest.approx(2 * norm.sf(abs(value) / half * norm.isf(0.025)), abs=2e-3)


def test_configurations_with_trials_in_both_groups_are_no_new_luck():
    rng = np.random.default_rng(2)
    a = group(rng, 0.4)
    (with_itself,), (with_another,) = differences([a, a]), differences([a, group(rng, 0.4, first=500)])
    assert with_itself.difference.upper - with_itself.difference.lower < 0.02  # ends need not lie alike on both sides
    assert with_another.difference.upper - with_another.difference.lower > 0.08


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


def test_of_perfect_separation_the_gaps_alone_are_known_and_whether_there_is_a_difference_is_tested_all_the_same():
    a, b, same = parted(0.4), parted(0.6, 500), parted(0.4, 900)
    for other, is_told in ((b, True), (same, False)):
        (one,) = differences([a, other])
        ends = other.lower - a.upper, other.upper - a.lower
        assert (one.difference.lower, one.difference.upper) == pytest.approx(ends)
        assert one.is_gap
        assert (one.p_value < 0.05) == is_told
    fitted = group(np.random.default_rng(4), 0.6, first=500)
    (mixed,) = differences([a, fitted])
    assert (mixed.is_gap, mixed.difference.lower) == (True, pytest.approx(fitted.lower - a.upper))
    assert mixed.p_value < 0.05


def test_groups_of_a_grid_are_compared_at_equal_fractions_and_seeds_of_the_same_configurations_within_them():
    grid = np.repeat(np.linspace(0.2, 0.8, 7), 6)
    (one,) = differences([parted(0.35, 0, grid), parted(0.55, 500, grid)])
    assert one.p_value < 0.01
    (shared,) = differences([parted(0.35, 0, grid), parted(0.55, 0, grid)])
    assert shared.p_value == pytest.approx(0.5**11, abs=1e-3)  # 12 configurations of which one seed alone groks


def test_where_nothing_tells_separated_groups_apart_there_is_no_p():
    (elsewhere,) = differences(
        [parted(0.25, 0, np.linspace(0.2, 0.45, 20)), parted(0.6, 500, np.linspace(0.5, 0.8, 20))]
    )
    assert np.isnan(elsewhere.p_value)
    (pruned,) = differences([replace(parted(0.4), pruned=1), parted(0.6, 500)])
    assert np.isnan(pruned.p_value)
    columns = {"training_fraction": np.tile(np.linspace(0.2, 0.8, 24), 2), "base": np.repeat([2, 10], 24)}
    happened = columns["training_fraction"] > np.repeat([0.4, 0.6], 24)
    said = finding(trials_of(48, task_type="sequence", grok_step=grokking(happened), **columns), by="base")
    assert "base 10 needs 0.209 (somewhere from 0.183 to 0.235, without a level of confidence) more" in said.summary
    gap = "perfect separation of both: from end to end, without a level of confidence"
    assert said.tables["differences"]["note"].tolist() == [f"{gap}; p by permutation"]


def test_a_boundless_side_leaves_the_whole_range_and_no_small_p():
    rng = np.random.default_rng(0)
    fraction = rng.uniform(0.2, 0.8, 60)
    hardly = critical_fraction(fraction, rng.random(60) < 0.5 + 0.9 * (fraction - 0.5), np.ones(60), np.arange(60))
    assert (hardly.method, hardly.lower, hardly.upper) == ("fieller", 0, 1)
    sure = group(rng, 0.3, 400, first=500)
    (one,) = differences([hardly, sure])
    assert (one.difference.lower, one.difference.upper) == pytest.approx((sure.lower - 1, sure.upper))
    assert one.p_value > 0.05


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
    assert "The largest difference: base 3 needs 0.176 (0.135 to 0.221) more than base 2." in found.summary
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
    (row,) = finding(trials).tables["differences"].to_dict("records")
    assert row["note"] == "no interval is known of the second, so there is no p"
