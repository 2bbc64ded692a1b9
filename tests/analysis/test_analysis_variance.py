from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from grokray.analysis import jackknifed
from grokray.analysis.findings.variance import variance
from grokray.analysis.outcomes import outcomes
from grokray.analysis.pair_moments import PairMoments
from grokray.analysis.shares import shares
from grokray.analysis.variance import Split, expected_pairs, variance_of_grokking, variance_of_step
from tests.analysis.tables import grokking, trials_of


def table(configurations: int, seeds: int, **columns):
    defaults = {"configuration": np.repeat(np.arange(configurations), seeds)}
    together = np.tile(np.arange(seeds), configurations)
    defaults |= {name: together for name in ("init_seed", "split_seed", "order_seed")}
    return trials_of(configurations * seeds, num_steps=2**31 - 1, **{**defaults, **columns})


def steps(logs) -> list[int]:
    """The more digits, the less does rounding to whole steps matter."""
    return np.round(np.exp(np.ravel(logs) + 12)).astype(int).tolist()


def test_balanced_designs_give_the_analysis_of_variance():
    # Snedecor and Cochran, Statistical Methods, table 13.3.1: calcium in 4 turnip leaves, 4 determinations each.
    leaves = np.array(
        [[3.28, 3.09, 3.03, 3.03], [3.52, 3.48, 3.38, 3.38], [2.88, 2.80, 2.81, 2.76], [3.34, 3.38, 3.23, 3.26]]
    )
    own = {name: np.arange(16) for name in ("init_seed", "split_seed", "order_seed")}
    found = variance_of_step(table(4, 4, grok_step=steps(leaves), **own))
    assert isinstance(found, Split)
    assert found.seeds.value == pytest.approx(0.0066, abs=5e-5)
    assert found.hyperparameters.value == pytest.approx(0.0724, abs=5e-5)
    assert found.total.value == pytest.approx(0.0790, abs=1e-4)
    assert found.interaction is None
    assert any("cannot be told from what they do to each" in note for note in found.notes)


def test_crossed_seeds_give_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 1)) + rng.normal(size=(1, 5)) + rng.normal(size=(12, 5))
    found = variance_of_step(table(12, 5, grok_step=steps(values)))
    assert isinstance(found, Split)
    rows, columns, grand = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True), values.mean()
    residual = ((values - rows - columns + grand) ** 2).sum() / (11 * 4)
    between_rows, between_columns = 5 * ((rows - grand) ** 2).sum() / 11, 12 * ((columns - grand) ** 2).sum() / 4
    assert found.interaction is not None
    assert found.common_to_configurations is not None
    assert found.interaction.value == pytest.approx(residual, rel=1e-3)
    assert found.hyperparameters.value == pytest.approx((between_rows - residual) / 5, rel=1e-3)
    assert found.common_to_configurations.value == pytest.approx((between_columns - residual) / 12, rel=1e-3, abs=1e-4)
    assert found.by_seed == {}
    assert found.notes[0] == (
        "init_seed, split_seed, order_seed always change together: what each of them does cannot be told"
    )


@pytest.mark.parametrize("resample", [False, True])
def test_moments_of_pairs_against_all_pairs(resample):
    rng = np.random.default_rng(1)
    factors = {
        "configuration": rng.integers(0, 8, 60),
        "a": rng.integers(0, 3, 60),
        "b": rng.integers(0, 4, 60),
    }
    values, weight = rng.normal(size=60) + 100, rng.uniform(0.5, 2, 60)
    design = PairMoments(factors, values, weight)
    drawn = np.bincount(rng.integers(8, size=8), minlength=8) if resample else np.ones(8)
    found = design.by_factors(drawn)
    sums: dict[frozenset, np.ndarray] = {}
    for i, j in combinations(range(60), 2):
        differ = frozenset(name for name, levels in factors.items() if levels[i] != levels[j])
        one, two = drawn[factors["configuration"][[i, j]]]
        times = one * two if "configuration" in differ else one  # two copies of a configuration are no pair
        product = weight[i] * weight[j] * times
        sums[differ] = sums.get(differ, np.zeros(2)) + product * np.array([1, (values[i] - values[j]) ** 2 / 2])
    expected = {part: total / pairs for part, (pairs, total) in sums.items() if part and pairs > 0}
    assert found.keys() == expected.keys()
    assert len(found) == 7
    for part, value in expected.items():
        assert found[part] == pytest.approx(value), part


def test_seeds_that_vary_apart_are_told_apart():
    rng, configurations = np.random.default_rng(0), 400
    init, split, order = (np.tile(levels.ravel(), configurations) for levels in np.indices((2, 2, 2)))
    configuration = np.repeat(np.arange(configurations), 8)
    effects = {"init": 0.3, "split": 0.8, "order": 0.1}
    log = rng.normal(size=configurations)[configuration]
    for name, levels in (("init", init), ("split", split), ("order", order)):
        log = log + effects[name] * rng.normal(size=(configurations, 2))[configuration, levels]
    trials = table(configurations, 8, grok_step=steps(log), init_seed=init, split_seed=split, order_seed=order)
    found = variance_of_step(trials)
    assert isinstance(found, Split)
    assert {name: one.value for name, one in found.by_seed.items()} == pytest.approx(
        {"init_seed": 0.09, "split_seed": 0.64, "order_seed": 0.01}, rel=0.15
    )
    assert found.seeds.value == pytest.approx(0.74, rel=0.15)
    assert found.hyperparameters.lower < 1 < found.hyperparameters.upper
    assert found.by_seed["split_seed"].lower < 0.64 < found.by_seed["split_seed"].upper


def test_one_seed_at_a_time_is_added_up_and_says_so():
    rng, configurations = np.random.default_rng(0), 600
    init, split, order = (np.tile(levels, configurations) for levels in ([0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]))
    configuration = np.repeat(np.arange(configurations), 4)
    log = rng.normal(size=configurations)[configuration]
    for levels in (init, split, order):
        log = log + 0.5 * rng.normal(size=(configurations, 2))[configuration, levels]
    found = variance_of_step(
        table(configurations, 4, grok_step=steps(log), init_seed=init, split_seed=split, order_seed=order)
    )
    assert isinstance(found, Split)
    assert found.seeds.value == pytest.approx(0.75, rel=0.15)
    assert found.hyperparameters.value == pytest.approx(1, rel=0.2)
    assert any("taken not to interact" in note for note in found.notes)


def test_grokking_over_three_seeds_covers_the_truth():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        chance = rng.beta(0.5, 0.5, 80)  # between: 1/8; within: 1/8
        happened = rng.random((80, 3)) < chance[:, None]
        found = variance_of_grokking(table(80, 3, grok_step=grokking(happened.ravel())))
        assert isinstance(found, Split)
        covered += found.hyperparameters_share.lower <= 0.5 <= found.hyperparameters_share.upper
        assert found.hyperparameters_share.value + found.seeds_share.value == pytest.approx(1)
    assert covered >= 52  # 57 expected, standard deviation 1.7


@pytest.mark.parametrize(
    ("configurations", "seeds", "shape"),
    [(40, 3, (0.1, 1.9)), (120, 3, (0.1, 1.9)), (60, 2, (0.2, 1.8)), (20, 5, (0.3, 2.7))],
)
def test_where_few_trials_grok_the_interval_holds_the_truth(configurations, seeds, shape):
    rng, covered, known = np.random.default_rng(0), 0, 0
    truth = 1 / (1 + sum(shape))
    for _ in range(60):
        happened = rng.random((configurations, seeds)) < rng.beta(*shape, configurations)[:, None]
        found = variance_of_grokking(table(configurations, seeds, grok_step=grokking(happened.ravel())))
        if isinstance(found, Split):
            known += 1
            covered += found.hyperparameters_share.lower <= truth <= found.hyperparameters_share.upper
            assert found.seeds_share.lower == pytest.approx(1 - found.hyperparameters_share.upper)
            assert found.hyperparameters.lower <= found.hyperparameters.value <= found.hyperparameters.upper
    assert known > 50
    assert covered >= 0.88 * known  # the bootstrap alone: 0.7 to 0.87


@pytest.mark.parametrize("turned", [False, True])
def test_one_trial_that_groks_tells_little_of_what_decides(turned):
    happened = (np.arange(120) == 7) != turned
    found = variance_of_grokking(table(40, 3, grok_step=grokking(happened)))
    assert isinstance(found, Split)
    assert found.hyperparameters_share.value == 0
    assert found.hyperparameters_share.upper > 0.7


def test_audits_mend_the_split():
    rng, configurations = np.random.default_rng(0), 6000
    chance = rng.beta(0.5, 0.5, configurations)
    happened = (rng.random((configurations, 3)) < chance[:, None]).ravel()
    wanted = ~happened & (rng.random(3 * configurations) < 0.8)
    audited = wanted & (rng.random(3 * configurations) < 0.25)
    columns = {"outcome": np.where(wanted & ~audited, "pruned", np.where(happened, "grokked", "budget")).tolist()}
    columns |= {"grok_step": grokking(happened), "audited": audited}
    found = variance_of_grokking(table(configurations, 3, **columns, audit_probability=np.where(wanted, 0.25, np.nan)))
    assert isinstance(found, Split)
    assert found.seeds.value == pytest.approx(1 / 8, rel=0.06)
    assert found.hyperparameters.value == pytest.approx(1 / 8, rel=0.06)


def audited_sweep(rng, configurations: int, audit: float, seeds: int = 3, **given):
    """Of the trials that take longest nine in ten were pruned or audited, of the others a few; all would grok, but for
    some that may be said not to."""
    middle = np.repeat(rng.normal(size=configurations), seeds)
    log = middle + 0.5 * rng.normal(size=len(middle))
    wanted = rng.random(len(log)) < np.where(log > 0, 0.9, 0.1)
    audited = wanted & (rng.random(len(log)) < audit)
    gone, happened = wanted & ~audited, given.pop("happened", np.ones(len(log), bool))
    grok_step = [step if yes else None for step, yes in zip(steps(log), happened & ~gone, strict=True)]
    return table(
        configurations,
        seeds,
        grok_step=grok_step,
        outcome=np.where(gone, "pruned", np.where(happened, "grokked", "budget")).tolist(),
        audited=audited,
        audit_probability=np.where(wanted, audit, np.nan),
    )


def test_audits_mend_the_split_of_steps():
    """Where weights were divided by those of the trials of a configuration that are left, audits stood for nothing, and
    the total came out a sixth too small: slow configurations have few trials left."""
    rng = np.random.default_rng(0)
    found = [variance_of_step(audited_sweep(rng, 400, 0.1)) for _ in range(30)]
    totals, shares = zip(
        *((one.total.value, one.hyperparameters.value / one.total.value) for one in found if isinstance(one, Split)),
        strict=True,
    )
    assert np.mean(totals) == pytest.approx(1.25, rel=0.08)
    assert np.mean(shares) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("configurations", "audit", "known"), [(100, 0.1, False), (100, 0.5, True), (100, 1.0, True)])
def test_few_pairs_of_audited_trials_leave_no_interval_of_who_groks(configurations, audit, known):
    rng = np.random.default_rng(0)
    happened = np.repeat(rng.random(configurations), 3) < rng.random(3 * configurations)
    found = variance_of_grokking(audited_sweep(rng, configurations, audit, happened=happened))
    assert isinstance(found, Split)
    assert not np.isnan(found.hyperparameters_share.value)
    shares = (found.hyperparameters_share, found.seeds_share)
    assert [np.isnan([one.lower, one.upper]).tolist() for one in shares] == [[not known] * 2] * 2
    said = "no interval is known of whether a trial groks, as few pairs of audited trials stand for all pruned ones: "
    assert any(note.startswith(said) for note in found.notes) == (not known)
    assert not any("configurations agree, or one alone" in note for note in found.notes)


def test_pairs_that_count_in_effect_are_those_of_many_audits():
    rng, draws = np.random.default_rng(0), 200_000
    wanted = np.arange(24) % 4 < np.arange(24) // 4  # of 4 trials of a configuration none to all
    weight = np.where(wanted, (rng.random((draws, 24)) < 0.3) / 0.3, 1.0).reshape(draws, 6, 4)
    pairs = (weight.sum(axis=2) ** 2 - (weight**2).sum(axis=2)) / 2
    expected = pairs.mean(axis=0).sum() ** 2 / (pairs**2).mean(axis=0).sum()
    trials = table(6, 4, grok_step=grokking(~wanted), audited=wanted, audit_probability=np.where(wanted, 0.3, np.nan))
    assert expected_pairs(outcomes(trials)) == pytest.approx(expected, rel=0.02)
    assert expected_pairs(outcomes(table(6, 4))) == np.inf


def test_shares_and_their_intervals_lie_within_0_and_all_of_it():
    """Chance alone: the moments of hyper-parameters lie on both sides of 0."""
    rng, cut = np.random.default_rng(0), 0
    for _ in range(20):
        found = variance_of_step(table(8, 3, grok_step=steps(rng.normal(size=(8, 3)))))
        assert isinstance(found, Split)
        if np.isnan(found.seeds_share.value):  # all of its interval lies beyond what a share can be
            continue
        for share in (found.hyperparameters_share, found.seeds_share):
            assert 0 <= share.lower <= share.value <= share.upper <= 1
        assert found.hyperparameters_share.value + found.seeds_share.value == pytest.approx(1)
        below = found.hyperparameters.value < 0
        assert any("are cut to 0 and 100 %" in note for note in found.notes) or not below
        cut += below and found.hyperparameters_share.value == 0
    assert cut > 3


def test_a_share_that_moments_put_beyond_its_ends_is_not_told_and_says_so():
    """Every configuration holds nearly the same two values: the total is below what seeds change, in each resample."""
    values = np.array([0.0, 1.0]) + np.linspace(0, 0.01, 6)[:, None]
    own = {name: np.arange(12) for name in ("init_seed", "split_seed", "order_seed")}
    found = variance_of_step(table(6, 2, grok_step=steps(values * np.linspace(1, 1.01, 6)[:, None]), **own))
    assert isinstance(found, Split)
    assert found.hyperparameters.value < 0
    shares = (found.hyperparameters_share, found.seeds_share)
    assert all(np.isnan([one.value, one.lower, one.upper]).all() for one in shares)
    assert any("below 0 or above 100 %, so it cannot be told" in note for note in found.notes)


def test_what_rounding_leaves_of_equal_moments_is_0():
    happened = np.random.default_rng(19).random((12, 2)) < 0.3
    found = variance_of_grokking(table(12, 2, grok_step=grokking(happened.ravel())))
    assert isinstance(found, Split)
    parts = (found.hyperparameters, found.seeds, found.common_to_configurations, found.interaction)
    ends = np.array([[one.value, one.lower, one.upper] for one in parts if one is not None])
    assert len(ends) == 4
    assert not ((ends != 0) & (np.abs(ends) < 1e-12)).any()


@pytest.mark.parametrize("happened", [False, True])
def test_where_all_or_none_grok_there_is_a_reason_and_no_number(happened):
    trials = table(4, 2, grok_step=grokking(np.full(8, happened)))
    assert variance_of_grokking(trials) == "grokked: it is the same in all 8 trials, so there is no variance to split"
    if not happened:
        assert variance(trials).missing == (
            "grokked: it is the same in all 8 trials, so there is no variance to split; "
            "log grok_step: 0 configurations with a value, but two are needed"
        )


@pytest.mark.parametrize("configurations", [2, 4, 5])
def test_few_configurations_have_no_interval(configurations):
    values = np.random.default_rng(0).normal(size=(configurations, 3))
    found = variance_of_step(table(configurations, 3, grok_step=steps(values)))
    assert isinstance(found, Split)
    assert np.isnan(found.seeds.lower) == np.isnan(found.total.upper) == (configurations < 5)
    said = f"no interval is known of fewer than 5 configurations; here are {configurations}"
    assert (said in found.notes) == (configurations < 5)


def test_an_interval_without_ends_says_why():
    """Seeds change nothing, in any resample."""
    found = variance_of_step(table(5, 2, grok_step=steps(np.repeat(np.arange(5.0), 2))))
    assert isinstance(found, Split)
    assert found.hyperparameters_share.value == 1
    assert np.isnan(found.hyperparameters_share.lower)
    assert any(note.startswith("where the ends of an interval are ?") for note in found.notes)


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        (table(1, 3, grok_step=[1, 2, 3]), "1 configuration with a value, but two are needed"),
        (table(3, 1, grok_step=[1, 2, 3]), "each configuration has one trial"),
        (table(2, 2, grok_step=[1, None, 3, None], init_seed=[0, 1, 2, 3]), "no configuration has two trials with"),
    ],
)
def test_what_cannot_be_split_has_its_reason(trials, reason):
    found = variance_of_step(trials)
    assert isinstance(found, str)
    assert reason in found


def test_the_total_variance_of_grokking_is_no_surer_than_the_share_that_groks():
    """1 of 24 trials: resamples of 8 configurations end far below what a share may be of which this was seen."""
    grokked = np.zeros(24, bool)
    grokked[0] = True
    seeds = np.tile([0, 1, 2], 8).tolist()
    split = variance_of_grokking(
        trials_of(
            24, configuration=np.repeat(np.arange(8), 3), grok_step=grokking(grokked), seed=seeds, init_seed=seeds
        )
    )
    assert isinstance(split, Split)
    share = shares(grokked, np.ones(24), np.repeat(np.arange(8), 3), np.zeros(24, int), 1)
    assert split.total.lower <= share.lower[0] * (1 - share.lower[0])
    assert split.total.upper >= share.upper[0] * (1 - share.upper[0])


def test_where_nearly_all_grok_in_one_measurement_intervals_hold_the_truth():
    """Another one comes first for whole configurations or for seeds: a bootstrap holds the share in 49 of 60 sweeps."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        late = rng.random((60, 3)) < rng.beta(0.1, 1.9, 60)[:, None]
        found = variance_of_step(table(60, 3, grok_step=np.where(late.ravel(), 2_000, 1_000).tolist()))
        assert isinstance(found, Split)
        held += found.hyperparameters_share.lower <= 1 / 3 <= found.hyperparameters_share.upper
        assert found.total.lower < found.total.value < found.total.upper
    assert held >= 55


@pytest.mark.parametrize("pairs", [4, 5])
def test_few_configurations_of_which_two_trials_grokked_leave_no_interval_of_when(pairs):
    log = np.random.default_rng(0).normal(size=(30, 2))
    step = np.array(steps(log), dtype=object).reshape(30, 2)
    step[pairs:, 1] = None
    found = variance_of_step(table(30, 2, grok_step=step.ravel().tolist()))
    assert isinstance(found, Split)
    known = [not np.isnan(one.lower) for one in (found.seeds, found.hyperparameters, found.hyperparameters_share)]
    assert known == [pairs == 5] * 3
    said = "no interval is known of fewer than 5 configurations with two values or more; here are 4.0 in effect"
    assert (said in found.notes) == (pairs == 4)


def test_leaving_out_each_gives_the_error_of_a_mean_and_the_ends_their_scales():
    values = np.random.default_rng(0).exponential(size=12)
    moved = np.array([values[kept].mean() for kept in jackknifed.left_out(12)])
    error = values.std(ddof=1) / np.sqrt(12)
    assert jackknifed.error(moved) == pytest.approx(error)
    mean = values.mean()
    assert jackknifed.of_variance(mean, moved, 2.0) == pytest.approx(
        (mean * np.exp(-2 * error / mean), mean * np.exp(2 * error / mean))
    )
    # Fisher's z of an intraclass correlation of pairs is the inverse hyperbolic tangent.
    lower, upper = jackknifed.of_share(0.4, 0.4 + moved - mean, 2.0, trials=2)
    reach = 2 * error / (1 - 0.4**2)
    assert (lower, upper) == pytest.approx((np.tanh(np.arctanh(0.4) - reach), np.tanh(np.arctanh(0.4) + reach)))
    # Of parts that move as the whole does nothing is left but what one has more of.
    ends = jackknifed.of_difference((3.0, (2.0, 4.0), 3 * moved), (1.0, (0.5, 1.5), moved))
    assert ends == pytest.approx((2 - 0.5, 2 + 0.5))
    assert np.isnan(jackknifed.of_variance(0.0, moved, 2.0)).all()
    assert np.isnan(jackknifed.of_share(1.0, moved, 2.0, trials=3)).all()


def test_many_configurations_are_left_out_in_blocks():
    kept = np.array(list(jackknifed.left_out(1_001)))
    assert kept.shape == (jackknifed.MOST_BLOCKS, 1_001)
    assert ((~kept).sum(axis=0) == 1).all()
