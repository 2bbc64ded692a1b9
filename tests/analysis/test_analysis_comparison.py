from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from grokray.analysis.comparison import NO_RATIO, compare, compare_all, representations
from grokray.analysis.matched import difference_of_shares, mean_ratio, share_earlier
from tests.analysis.tables import grokking, trials_of


def grid(rng, configurations: int = 60, seeds: int = 3, easier: float = 0.0, factor: float = 1.0, budget: int = 20_000):
    """Classification and base 10 at equal places and seeds; base 10 takes `factor` times as long, but is `easier`."""
    place = np.repeat(rng.normal(size=configurations), seeds)
    log = np.log(2000) + 0.5 * np.abs(place) + 0.1 * rng.normal(size=(2, len(place)))
    log[1] += np.log(factor)
    draw = rng.random(len(place))
    happened = np.stack([draw < 0.5, draw < 0.5 + easier])  # the same luck
    step = np.where(happened & (np.exp(log) <= budget), np.round(np.exp(log)), np.nan)
    both = 2 * len(place)
    return trials_of(
        both,
        task_type=["classification"] * len(place) + ["sequence"] * len(place),
        base=[None] * len(place) + [10] * len(place),
        digit_order=[None] * len(place) + ["most_first"] * len(place),
        weight_decay=np.tile(np.exp(place), 2),
        configuration=np.r_[
            np.repeat(np.arange(configurations), seeds), configurations + np.repeat(np.arange(configurations), seeds)
        ],
        init_seed=np.tile(np.arange(seeds), 2 * configurations),
        grok_step=step.ravel(),
        num_steps=budget,
    )


def test_matched_trials_show_small_differences():
    (found,) = compare_all(grid(np.random.default_rng(0), easier=0.1, factor=1.5))
    assert (found.a, found.b, found.method, found.pairs) == ("classification", "base 10", "matched", 180)
    assert found.difference.lower < 0.1 < found.difference.upper
    assert found.difference.upper - found.difference.lower < 0.15  # unmatched it would be 0.2
    assert found.ratio.value == pytest.approx(1.5, rel=0.05)
    assert found.ratio.lower < 1.5 < found.ratio.upper


def test_the_interval_of_the_difference_covers_the_truth():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        (found,) = compare_all(grid(rng, easier=0.2), replicates=200)
        covered += found.difference.lower <= 0.2 <= found.difference.upper
    assert covered >= 52


@pytest.mark.parametrize("matched", [True, False])
def test_p_is_below_5_percent_where_the_interval_leaves_out_none(matched):
    rng, below = np.random.default_rng(0), []
    for easier in np.linspace(0, 0.25, 20):
        trials = grid(rng, configurations=20, easier=easier)
        place = trials["weight_decay"].to_numpy()
        if not matched:  # no two agree
            trials = trials.set_column(
                trials.column_names.index("weight_decay"),
                "weight_decay",
                pa.array(place * np.exp(0.01 * rng.random(len(place)))),
            )
        (found,) = compare_all(trials, replicates=20)
        assert found.method == ("matched" if matched else "adjusted")
        assert (found.p_value < 0.05) == (found.difference.lower > 0 or found.difference.upper < 0)
        below.append(found.p_value < 0.05)
    assert 3 < sum(below) < 17


def few(rng, configurations: int, seeds: int = 5):
    """Pairs of no difference, in which configurations have chances of their own."""
    chance = np.repeat(rng.random(configurations), seeds)
    return trials_of(
        2 * len(chance),
        base=[2] * len(chance) + [10] * len(chance),
        task_type="sequence",
        training_fraction=np.tile(np.repeat(np.linspace(0.3, 0.7, configurations), seeds), 2),
        configuration=np.repeat(np.arange(2 * configurations), seeds),
        init_seed=np.tile(np.arange(seeds), 2 * configurations),
        grok_step=grokking(rng.random(2 * len(chance)) < np.tile(chance, 2)),
    )


@pytest.mark.parametrize("configurations", [3, 5, 10])
def test_few_configurations_have_wide_intervals(configurations):
    rng, covered, known = np.random.default_rng(configurations), 0, 0
    for _ in range(150):
        (found,) = compare_all(few(rng, configurations), replicates=20)
        if not np.isnan(found.difference.lower):
            known += 1
            covered += found.difference.lower <= 0 <= found.difference.upper
    assert known > 140
    assert covered >= 0.93 * known


def test_two_configurations_have_no_interval():
    (found,) = compare_all(few(np.random.default_rng(0), 2))
    assert (found.pairs, found.configurations) == (10, 2)
    assert np.isnan([found.difference.lower, found.difference.upper]).all()
    assert any("fewer than 3 configurations" in note for note in found.notes)


def test_a_trial_that_never_groks_is_slower_than_all():
    trials = trials_of(
        24,
        base=[2] * 12 + [10] * 12,
        init_seed=[*range(12)] * 2,
        grok_step=[100] * 12 + [None] * 8 + [50, 50, 100, 200],
        dropout=[i / 100 for i in range(12)] * 2,
    )
    found = compare(trials, np.array(["two"] * 12 + ["ten"] * 12, dtype=object), "two", "ten", ["base"])
    assert found.median_ratio.value == np.inf
    assert found.ratio.value == pytest.approx((0.5 * 0.5 * 1 * 2) ** 0.25)
    assert found.earlier.value == pytest.approx((2 + 0.5) / 12)
    assert found.difference.value == pytest.approx(-8 / 12)


@pytest.mark.parametrize(("configurations", "known"), [(4, False), (5, True)])
def test_a_median_of_few_configurations_has_no_ends(configurations, known):
    """Each of five seeds: resamples of four cannot reach what was not seen."""
    rng, each = np.random.default_rng(0), 5 * configurations
    trials = trials_of(
        2 * each,
        base=[2] * each + [10] * each,
        dropout=np.tile(np.repeat(np.arange(configurations) / 10, 5), 2),
        configuration=np.repeat(np.arange(2 * configurations), 5),
        init_seed=np.tile(np.arange(5), 2 * configurations),
        grok_step=rng.integers(1_000, 9_000, 2 * each).tolist(),
    )
    level = np.array(["two"] * each + ["ten"] * each, dtype=object)
    found = compare(trials, level, "two", "ten", ["base"])
    assert np.isfinite([found.ratio.lower, found.median_ratio.value]).all()
    assert np.isfinite(found.median_ratio.lower) == known
    assert any("of a median 5 in effect" in note for note in found.notes) != known


def test_what_was_censored_before_the_other_grokked_says_nothing_of_who_was_first():
    trials = trials_of(
        40,
        base=[2] * 20 + [10] * 20,
        dropout=[i / 100 for i in range(20)] * 2,
        grok_step=[900] * 20 + [None] * 20,
        duration_steps=[900] * 20 + [500] * 10 + [1000] * 10,
        num_steps=1000,
        outcome=["grokked"] * 20 + ["budget"] * 10 + ["diverged"] * 10,
    )
    found = compare(trials, np.array(["two"] * 20 + ["ten"] * 20, dtype=object), "two", "ten", ["base"])
    assert found.earlier.value == 0
    assert found.pairs == 20
    undecided = trials.set_column(
        trials.column_names.index("outcome"), "outcome", [["grokked"] * 20 + ["budget"] * 20]
    ).set_column(trials.column_names.index("duration_steps"), "duration_steps", [[900] * 20 + [500] * 20])
    unknown = compare(undecided, np.array(["two"] * 20 + ["ten"] * 20, dtype=object), "two", "ten", ["base"])
    assert unknown.earlier is None
    assert unknown.difference.value == -1


def test_unmatched_trials_are_adjusted():
    rng = np.random.default_rng(0)
    fraction, ten = rng.uniform(0.2, 0.8, 3000), rng.random(3000) < 0.5
    fraction[ten] = 0.2 + (fraction[ten] - 0.2) * 0.7  # base 10 was tried with less data
    odds = 10 * (fraction - 0.5) + ten
    happened = rng.random(3000) < 1 / (1 + np.exp(-odds))
    log = np.log(5000) - 3 * fraction + np.log(0.8) * ten + 0.2 * rng.normal(size=3000)
    trials = trials_of(
        3000,
        task_type="sequence",
        base=np.where(ten, 10, 2),
        training_fraction=fraction,
        grok_step=[int(s) if yes else None for s, yes in zip(np.exp(log), happened, strict=True)],
        grok_step_lower=[int(s) - 1 if yes else None for s, yes in zip(np.exp(log), happened, strict=True)],
    )
    (found,) = compare_all(trials)
    assert (found.a, found.b, found.method) == ("base 2", "base 10", "adjusted")
    truth = np.mean(1 / (1 + np.exp(-10 * (fraction - 0.5) - 1)) - 1 / (1 + np.exp(-10 * (fraction - 0.5))))
    assert found.difference.lower < truth < found.difference.upper
    assert found.difference.lower > 0 > happened[ten].mean() - happened[~ten].mean()  # which adjusting turns around
    assert found.ratio.value == pytest.approx(0.8, rel=0.05)
    assert found.ratio.lower < 0.8 < found.ratio.upper


def test_a_level_that_another_parameter_follows_is_not_told_from_it():
    """As of two sweeps, one of base 2 with two layers, the other of base 10 with one."""
    rng = np.random.default_rng(0)
    ten, fraction = np.arange(80) < 40, rng.uniform(0.2, 0.8, 80)
    columns = dict(
        base=np.where(ten, 10, 2),
        task_type="sequence",
        training_fraction=fraction,
        grok_step=[int(step) if step < 9_000 else None for step in 12_000 * rng.random(80)],
    )
    (apart,) = compare_all(trials_of(80, num_layers=rng.integers(1, 3, 80), **columns))
    assert (apart.method, apart.reason) == ("adjusted", None)
    (together,) = compare_all(trials_of(80, num_layers=np.where(ten, 1, 2), **columns))
    assert (together.method, together.difference, together.ratio) == ("none", None, None)
    assert together.reason == "num_layers differs wherever the two do, so that nothing tells these apart"
    # What one of them does not have at all is part of what it is.
    (lacking,) = compare_all(trials_of(80, list_length=[None if yes else 4 for yes in ten], **columns))
    assert lacking.reason is None


def test_what_cannot_be_adjusted_has_no_number():
    rng = np.random.default_rng(0)
    fraction, ten = rng.uniform(0.2, 0.8, 40), np.arange(40) < 20
    grokked = ten & (fraction > 0.5)  # of base 2 none ever does, and of base 10 the fraction tells all
    trials = trials_of(
        40,
        base=np.where(ten, 10, 2),
        task_type="sequence",
        training_fraction=fraction,
        grok_step=grokking(grokked),
    )
    (found,) = compare_all(trials)
    assert (found.method, found.difference, found.ratio) == ("adjusted", None, None)
    assert found.reason == "too few trials grokked, or failed to, for the difference to be adjusted"
    # One configuration of base 2 that grokked: whatever its step, the curve goes through it.
    grokked[39] = True
    trials = trials_of(
        40, base=np.where(ten, 10, 2), task_type="sequence", training_fraction=fraction, grok_step=grokking(grokked)
    )
    (found,) = compare_all(trials)
    assert found.ratio is None
    assert f"base 10 against base 2: {NO_RATIO}" in found.notes


def test_audited_pairs_stand_for_pruned_ones():
    rng = np.random.default_rng(0)
    configurations = 4000
    happened = rng.random((2, configurations)) < np.array([[0.3], [0.6]])
    wanted = ~happened & (rng.random((2, configurations)) < 0.8)
    audited = wanted & (rng.random((2, configurations)) < 0.3)
    trials = trials_of(
        2 * configurations,
        base=[2] * configurations + [10] * configurations,
        dropout=np.tile(np.arange(configurations) / 10_000, 2),
        grok_step=grokking(happened.ravel()),
        outcome=np.where(wanted & ~audited, "pruned", np.where(happened, "grokked", "budget")).ravel().tolist(),
        audited=audited.ravel(),
        audit_probability=np.where(wanted, 0.3, np.nan).ravel(),
    )
    level = np.array(["two"] * configurations + ["ten"] * configurations, dtype=object)
    found = compare(trials, level, "two", "ten", ["base"], replicates=100)
    assert found.difference.value == pytest.approx(0.3, abs=0.05)


def pruned(rng, configurations: int = 12, seeds: int = 5, audit: float = 0.2):
    """As `few`, where most trials that do not grok, and some that do late, were pruned but for a few audited ones."""
    chance = np.tile(np.repeat(rng.random(configurations), seeds), 2)
    happened, luck = rng.random(len(chance)) < chance, rng.random((2, len(chance)))
    wanted = luck[0] < np.where(happened, 0.3, 0.9)
    audited = wanted & (luck[1] < audit)
    late = np.where(wanted, 6000, 1000) + rng.integers(0, 4000, len(chance))
    gone = wanted & ~audited
    return trials_of(
        len(chance),
        base=np.repeat([2, 10], len(chance) // 2),
        task_type="sequence",
        training_fraction=np.tile(np.repeat(np.linspace(0.3, 0.7, configurations), seeds), 2),
        configuration=np.repeat(np.arange(2 * configurations), seeds),
        init_seed=np.tile(np.arange(seeds), 2 * configurations),
        grok_step=[int(step) if yes else None for step, yes in zip(late, happened & ~gone, strict=True)],
        outcome=np.where(gone, "pruned", np.where(happened, "grokked", "budget")).tolist(),
        audited=audited,
        audit_probability=np.where(wanted, audit, np.nan),
    )


def test_intervals_of_pruned_sweeps_cover_the_truth():
    rng, truth = np.random.default_rng(0), {"difference": 0, "earlier": 0.5, "ratio": 1}
    covered = {name: [] for name in truth}
    for _ in range(200):
        (found,) = compare_all(pruned(rng), replicates=2)
        for name, value in truth.items():
            estimate = getattr(found, name)
            if estimate and not np.isnan(estimate.lower):
                covered[name].append(estimate.lower <= value <= estimate.upper)
    assert min(len(one) for one in covered.values()) > 180
    assert {name: np.mean(one) >= 0.93 for name, one in covered.items()} == dict.fromkeys(truth, True)


def test_all_trials_of_pairs_count_in_the_difference_though_their_partners_were_pruned():
    trials = pruned(np.random.default_rng(0))
    (found,) = compare_all(trials, replicates=2)
    gone = np.array([outcome == "pruned" for outcome in trials["outcome"].to_pylist()])
    weight = np.where(gone, 0, np.where(trials["audited"].to_numpy(), 1 / 0.2, 1))
    grokked = ~np.isnan(trials["grok_step"].to_numpy())
    shares = [np.average(grokked[side], weights=weight[side]) for side in (slice(60), slice(60, 120))]
    assert found.difference.value == pytest.approx(shares[1] - shares[0])
    assert (found.pairs, found.configurations) == (60, 12)
    number = int(gone.reshape(2, 60).any(axis=0).sum())
    assert any(f"in {number} of 60 pairs a trial was pruned" in note for note in found.notes)


def test_the_one_audited_pair_of_a_configuration_stands_for_its_audits_alone():
    """Of 40 pairs in 8 configurations base 10 takes twice as long, but 8 times in the first one's, whose others were
    pruned. That counts 1 of 5, and not all of them."""
    gone = np.tile(np.arange(40) % 8 == 0, 2) & np.tile(np.arange(40) >= 8, 2)
    step = np.r_[np.full(40, 500), np.where(np.arange(40) % 8 == 0, 4000, 1000)]
    trials = trials_of(
        80,
        base=np.repeat([2, 10], 40),
        task_type="sequence",
        training_fraction=np.tile(np.arange(40) % 8, 2) / 10,
        init_seed=np.tile(np.arange(40) // 8, 2),
        configuration=np.r_[np.arange(40) % 8, 8 + np.arange(40) % 8],
        grok_step=[None if out else int(at) for out, at in zip(gone, step, strict=True)],
        outcome=np.where(gone, "pruned", "grokked").tolist(),
        audited=np.tile(np.arange(40) == 0, 2),
        audit_probability=[1.0] * 80,
    )
    (found,) = compare_all(trials)
    assert np.log(found.ratio.value) == pytest.approx((7 * np.log(2) + np.log(8) / 5) / (7 + 1 / 5))


def test_where_trials_of_pairs_were_pruned_and_none_was_audited_nothing_is_known():
    """Outside of the pairs one was."""
    gone = np.r_[np.zeros(12, bool), np.ones(6, bool), np.zeros(6, bool)]
    trials = trials_of(
        25,
        base=[2] * 12 + [10] * 13,
        task_type="sequence",
        training_fraction=[*(np.arange(12) / 20)] * 2 + [0.9],
        grok_step=[None if out else 1000 for out in gone] + [None],
        outcome=np.where(gone, "pruned", "grokked").tolist() + ["budget"],
        audited=[False] * 24 + [True],
        audit_probability=[0.5] * 25,
    )
    (found,) = compare_all(trials)
    assert (found.method, found.difference) == ("none", None)
    assert found.reason == "of pairs, base 10 trials were pruned, and none was audited"


@pytest.mark.parametrize(("share", "half"), [(1.0, 0.161), (0.5, 0.092)])
def test_where_all_pairs_agree_the_difference_has_a_width(share, half):
    """Newcombe (1998): where all of 20 grok, what Wilson's interval leaves below 1. Where half of them do, √(2 · 0.1)
    of what it leaves of 19: the correlation is corrected by 1 / (2 · 20 · 0.5²) to 0.9."""
    success = np.tile(np.arange(20) < 20 * share, (2, 1))
    found = difference_of_shares(success, np.ones((2, 20)), np.arange(20), 0.95)
    assert found
    assert [found.value, found.lower, found.upper] == pytest.approx([0, -half, half], abs=5e-4)


def test_the_share_of_pairs_in_which_one_was_first_has_an_interval_within_0_and_1():
    found = share_earlier(np.ones(12), np.ones(12), np.arange(12), 0.95)
    assert found
    assert (found.value, found.upper) == (1, 1)
    assert 0.6 < found.lower < 0.75  # of 12 trials 0.757 by Wilson
    tied = share_earlier(np.array([1, 0.5, 0, 0.5, 1, 1]), np.ones(6), np.arange(6), 0.95)
    assert tied
    assert tied.value == pytest.approx(4 / 6)
    assert 0 < tied.lower < tied.value < tied.upper < 1


def test_few_configurations_that_count_in_effect_leave_a_wide_interval():
    values = np.tile([-1.0, 1.0], 6)
    one = mean_ratio(values, np.ones(12), np.arange(12), 0.95)
    other = mean_ratio(values, np.r_[100, 100, np.ones(10)], np.arange(12), 0.95)
    assert one
    assert other
    assert np.log(other.upper / other.lower) > 2 * np.log(one.upper / one.lower)


def test_representations_are_named_as_briefly_as_tells_them_apart():
    trials = trials_of(
        3,
        task_type=["classification", "sequence", "sequence"],
        base=[None, 10, 2],
        digit_order=[None, "most_first", "least_first"],
        fixed_sequence_length=[False, True, True],
    )
    assert representations(trials).tolist() == ["classification", "base 10 most_first", "base 2 least_first"]
    assert representations(trials.slice(1, 1)).tolist() == ["base 10"]


def test_what_is_compared_with_hangs_on_no_hash():
    """Names that are as short as each other come out of a set in an order that changes from run to run."""
    code = """
import os
import subprocess
import sys

import numpy as np
from grokray.analysis.comparison import compare_all
from tests.analysis.tables import trials_of
order = np.where(np.arange(24) % 2 == 0, "most_first", "least_first").tolist()
print(compare_all(trials_of(24, task_type="sequence", base=10, digit_order=order))[0].a)
"""
    for seed in "01":
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == "base 10 least_first\n"
