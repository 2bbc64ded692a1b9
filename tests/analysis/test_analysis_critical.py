from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from grokray.analysis.critical import critical_fraction, critical_fractions
from grokray.analysis.findings.critical import critical_fraction as finding
from grokray.analysis.plots import critical_rows
from grokray.analysis.regression import expit, logistic
from grokray.analysis.report.pictured import _marks as marks
from grokray.errors import ConfigError
from tests.analysis.tables import grokking, trials_of


def simulated(rng, configurations: int, seeds: int = 1, slope: float = 15.0, middle: float = 0.5):
    """Fractions, outcomes and clusters; configurations differ from each other beyond their fraction."""
    fraction = rng.uniform(0.2, 0.8, configurations)
    odds = slope * (fraction - middle) + (rng.normal(size=configurations) if seeds > 1 else 0)
    grokked = rng.random((configurations, seeds)) < expit(odds)[:, None]
    return np.repeat(fraction, seeds), grokked.ravel(), np.repeat(np.arange(configurations), seeds)


def ones(values) -> np.ndarray:
    return np.ones(len(values))


def test_logistic_gives_the_published_fit():
    # Hosmer and Lemeshow, Applied Logistic Regression, table 1.3: 100 ages and coronary disease; −5.309 + 0.1109 age.
    table = """20 0 23 0 24 0 25 0 25 1 26 0 26 0 28 0 28 0 29 0 30 0 30 0 30 0 30 0 30 0 30 1 32 0 32 0 33 0 33 0 34 0
    34 0 34 1 34 0 34 0 35 0 35 0 36 0 36 1 36 0 37 0 37 1 37 0 38 0 38 0 39 0 39 1 40 0 40 1 41 0 41 0 42 0 42 0 42 0
    42 1 43 0 43 0 43 1 44 0 44 0 44 1 44 1 45 0 45 1 46 0 46 1 47 0 47 0 47 1 48 0 48 1 48 1 49 0 49 0 49 1 50 0 50 1
    51 0 52 0 52 1 53 1 53 1 54 1 55 0 55 1 55 1 56 1 56 1 56 1 57 0 57 0 57 1 57 1 57 1 57 1 58 0 58 1 58 1 59 1 59 1
    60 0 60 1 61 1 62 1 62 1 63 1 64 0 64 1 65 1 69 1"""
    age, disease = np.array(table.split(), dtype=float).reshape(-1, 2).T
    assert len(age) == 100
    fit = logistic(np.stack([ones(age), age], axis=1), disease == 1, ones(age), np.arange(100))
    assert fit.converged
    assert fit.coefficients == pytest.approx([-5.309, 0.1109], abs=5e-4)
    # Standard errors there are the model's, 1.134 and 0.0241; those by leaving out are near them where the model holds.
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx([1.134, 0.0241], rel=0.1)


def test_logistic_against_a_general_optimizer_and_copies_as_one_cluster():
    rng = np.random.default_rng(0)
    fraction, grokked, _ = simulated(rng, 300)
    weight = rng.uniform(0.5, 4, 300)
    design = np.stack([ones(fraction), fraction, fraction**2], axis=1)

    def loss(beta):
        return np.sum(weight * np.logaddexp(0, np.where(grokked, -1, 1) * (design @ beta)))

    fit = logistic(design, grokked, weight, np.arange(300))
    slow = optimize.minimize(loss, np.zeros(3), method="Nelder-Mead", options={"maxiter": 20_000, "fatol": 1e-12})
    assert fit.coefficients == pytest.approx(slow.x, rel=1e-3)
    thrice = [np.repeat(values, 3, axis=0) for values in (design, grokked, weight, np.arange(300))]
    assert logistic(*thrice).covariance == pytest.approx(fit.covariance, rel=1e-6)


def test_logistic_says_when_coefficients_run_away():
    x = np.linspace(-1, 1, 40)
    assert not logistic(np.stack([ones(x), x], axis=1), x > 0, ones(x), np.arange(40)).converged


def steep(rng, fraction):
    return rng.random(len(fraction)) < expit(200 * (fraction - 0.5))


def shallow(rng, fraction):
    return rng.random(len(fraction)) < expit(12 * (fraction - 0.5))


def with_some_that_never_grok(rng, fraction):
    """A tenth; half of all grok where 5 / 9 of the others do."""
    others = rng.random(len(fraction)) < expit(80 * (fraction - 0.5) + np.log(5 / 4))
    return others & (rng.random(len(fraction)) < 0.9)


def lopsided(rng, fraction):
    return fraction > 0.5 + 0.1 * (rng.exponential(size=len(fraction)) - np.log(2))


@pytest.mark.parametrize("curve", [steep, shallow, with_some_that_never_grok, lopsided])
@pytest.mark.parametrize("size", [12, 120])
def test_the_interval_covers_the_truth_of_curves_that_are_no_logistic_ones_either(curve, size):
    rng, covered, known = np.random.default_rng(size), 0, 0
    for _ in range(150):
        fraction = rng.uniform(0.2, 0.8, size)
        found = critical_fraction(fraction, curve(rng, fraction), ones(fraction), np.arange(size))
        known += found.is_known
        covered += found.is_known and found.lower <= 0.5 <= found.upper
    assert known > 140
    assert covered / known > 0.93


def test_the_interval_covers_the_truth_where_trials_weigh_and_resemble_each_other():
    rng, covered, widths = np.random.default_rng(0), 0, []
    for _ in range(150):
        fraction, grokked, cluster = simulated(rng, 60, 3)
        wanted = rng.random(180) < np.where(grokked, 0.25, 0.8)
        kept = ~wanted | (rng.random(180) < 0.25)
        weight = np.where(wanted, 4.0, 1.0)[kept]
        found = critical_fraction(fraction[kept], grokked[kept], weight, cluster[kept])
        covered += found.lower <= 0.5 <= found.upper
        widths.append(found.upper - found.lower)
    assert covered / 150 > 0.93
    assert np.median(widths) < 0.4


def test_groups_have_fractions_of_their_own():
    rng = np.random.default_rng(0)
    one, two = simulated(rng, 200, 2, middle=0.35), simulated(rng, 200, 2, middle=0.6)
    trials = trials_of(
        800,
        task_type=["classification"] * 400 + ["sequence"] * 400,
        training_fraction=np.concatenate([one[0], two[0]]),
        grok_step=grokking(np.concatenate([one[1], two[1]])),
        configuration=np.concatenate([one[2], 200 + two[2]]),
    )
    found = critical_fractions(trials)
    assert [one.group for one in found] == [{"task_type": "classification"}, {"task_type": "sequence"}]
    assert [one.fraction for one in found] == pytest.approx([0.35, 0.6], abs=0.04)
    assert all(one.lower < middle < one.upper for one, middle in zip(found, (0.35, 0.6), strict=True))
    assert all((one.reason, one.trials, one.configurations) == ("", 400, 200) for one in found)


def test_audits_mend_what_pruning_bends():
    rng = np.random.default_rng(3)
    fraction, grokked, cluster = simulated(rng, 6000)
    wanted = rng.random(6000) < np.where(grokked, 0.4, 0.9)
    audited = wanted & (rng.random(6000) < 0.2)
    outcome = np.where(wanted & ~audited, "pruned", np.where(grokked, "grokked", "budget"))
    columns = {
        "training_fraction": fraction,
        "grok_step": grokking(grokked & (outcome == "grokked")),
        "outcome": outcome.tolist(),
        "configuration": cluster,
    }
    mended = critical_fractions(
        trials_of(6000, **columns, audited=audited, audit_probability=np.where(wanted, 0.2, np.nan))
    )
    assert mended[0].lower < 0.5 < mended[0].upper
    assert critical_fractions(trials_of(6000, **columns))[0].upper < 0.48  # what leaving them out would say


def test_nothing_is_known_of_a_group_that_was_pruned_and_not_audited():
    rng = np.random.default_rng(3)
    fraction = rng.uniform(0.2, 0.8, 400)
    grokked = rng.random(400) < expit(15 * (fraction - 0.5))
    wanted = ~grokked & (rng.random(400) < 0.6)
    base = np.where(np.arange(400) < 200, 2, 10)
    audited = wanted & (rng.random(400) < 0.2) & (base == 2)
    outcome = np.where(wanted & ~audited, "pruned", np.where(grokked, "grokked", "budget"))
    columns = {"training_fraction": fraction, "outcome": outcome, "task_type": "sequence", "base": base}
    columns |= {"grok_step": grokking(grokked), "stop_step": np.where(wanted, 100, None)}
    trials = trials_of(400, **columns, audited=audited, audit_probability=np.where(wanted, 0.2, np.nan))
    two, ten = critical_fractions(trials)
    assert two.lower < 0.5 < two.upper
    assert np.isnan(ten.fraction)
    assert ten.reason == "trials of it were pruned, and none was audited"
    assert ten.trials == (outcome[200:] != "pruned").sum()


def test_few_audited_trials_for_many_that_were_pruned_leave_no_interval():
    rng = np.random.default_rng(3)
    fraction = rng.uniform(0.2, 0.8, 200)
    grokked = rng.random(200) < expit(15 * (fraction - 0.5))
    wanted = ~grokked & (rng.random(200) < 0.6)
    for number, known in ((9, False), (10, True)):
        audited = np.zeros(200, bool)
        audited[np.flatnonzero(wanted)[:number]] = True
        gone = wanted & ~audited
        outcome = np.where(gone, "pruned", np.where(grokked, "grokked", "budget")).tolist()
        chance = np.where(wanted, number / wanted.sum(), np.nan)
        columns = {"training_fraction": fraction, "outcome": outcome, "grok_step": grokking(grokked)}
        (one,) = critical_fractions(trials_of(200, **columns, audited=audited, audit_probability=chance))
        assert 0.4 < one.fraction < 0.6
        assert (0 < one.lower < one.fraction < one.upper < 1) == known
        said = f"no interval is known: 9 audited trials stand for {gone.sum()} pruned, and 10 are needed"
        assert one.reason.startswith(said) == (not known)


def test_few_audited_trials_for_many_that_were_pruned_leave_no_bound():
    fraction, audited = np.tile(np.linspace(0.2, 0.8, 40), 2), np.arange(80) >= 77
    columns = {"outcome": ["budget"] * 40 + ["pruned"] * 37 + ["budget"] * 3, "training_fraction": fraction}
    trials = trials_of(80, **columns, audited=audited, audit_probability=np.where(np.arange(80) < 40, np.nan, 0.1))
    (one,) = critical_fractions(trials)
    few = "no interval is known: 3 audited trials stand for 37 pruned, and 10 are needed"
    assert one.reason == f"none grokked up to 0.8, the largest; {few}"


def test_where_all_is_in_order_two_trials_on_each_side_may_be_luck():
    """Three that failed where half or more grok cost 3 log 4 of twice the log likelihood, and 3.07 is allowed."""
    fraction = np.linspace(0.1, 0.9, 17)
    found = critical_fraction(fraction, fraction > 0.42, ones(fraction), np.arange(17))
    assert (found.fraction, found.lower, found.upper) == pytest.approx((0.425, 0.3, 0.55))
    assert found.reason == ""
    wider = critical_fraction(fraction, fraction > 0.42, ones(fraction), np.arange(17), level=0.99)
    assert (wider.lower, wider.upper) == pytest.approx((0.25, 0.6))  # 5.31 is allowed


def test_trials_of_a_configuration_are_one_where_nothing_tells_how_alike_they_are():
    fraction = np.repeat(np.linspace(0.1, 0.9, 17), 2)
    by_trial = critical_fraction(fraction, fraction > 0.42, ones(fraction), np.arange(34))
    by_configuration = critical_fraction(fraction, fraction > 0.42, ones(fraction), np.arange(34) // 2)
    assert (by_trial.lower, by_trial.upper) == pytest.approx((0.35, 0.5))
    assert (by_configuration.lower, by_configuration.upper) == pytest.approx((0.3, 0.55))


def test_seeds_are_trials_of_their_own_where_nothing_but_the_fraction_differs():
    columns = {"training_fraction": np.repeat([0.2, 0.3, 0.4, 0.5], 6), "configuration": np.repeat(np.arange(4), 6)}
    columns["grok_step"] = grokking(columns["training_fraction"] > 0.35)
    (alone,) = critical_fractions(trials_of(24, **columns))
    assert (alone.fraction, alone.lower, alone.upper) == pytest.approx((0.35, 0.3, 0.4))
    assert (alone.trials, alone.configurations) == (24, 4)
    (mixed,) = critical_fractions(trials_of(24, **columns, weight_decay=np.repeat([0.1, 1.0], 12)))
    assert mixed.reason == "too few: 24 trials of 4 configurations, but 10 of 5 are needed"


@pytest.mark.parametrize(
    ("grokked", "weights", "fraction"),
    [
        ([1, 1, 1, 1, 0], [1, 1, 1, 1, 1], 0.4 - 0.1 * 0.3 / 0.8),
        ([1, 1, 0, 0, 0], [1, 1, 1, 1, 1], 0.4 + 0.1 * 0.1 / 0.6),
        ([1, 1, 0, 0, 0], [3, 3, 2, 2, 2], 0.4),  # half of them, as they are weighted
    ],
)
def test_where_one_fraction_has_both_the_half_is_on_the_side_that_its_share_says(grokked, weights, fraction):
    tied = np.repeat([0.3, 0.4, 0.5], 5)
    seen = np.array([*[0] * 5, *grokked, *[1] * 5]) > 0
    found = critical_fraction(tied, seen, np.array([*[1] * 5, *weights, *[1] * 5], float), np.arange(15))
    assert found.fraction == pytest.approx(fraction)
    assert found.lower == 0.3
    assert found.upper in (0.4, 0.5)


@pytest.mark.parametrize(
    ("at", "grokked", "reason"),
    [
        ([0.7, 0.9], 2, "fewer than half grokked up to 0.9, the largest: it lies above 0.7 (95 %), if anywhere"),
        ([0.3, 0.5], 10, "more than half grokked from 0.3, the smallest: it lies below 0.5 (95 %), if anywhere"),
    ],
)
def test_a_half_beyond_all_that_was_tried_is_not_made_up(at, grokked, reason):
    fraction = np.repeat(at, 6)
    found = critical_fraction(fraction, np.arange(12) >= 12 - grokked, ones(fraction), np.arange(12) // 2)
    assert found.reason == reason
    assert np.isnan(found.fraction)


@pytest.mark.parametrize(
    ("fraction", "grokked", "reason"),
    [
        (np.linspace(0.2, 0.8, 9), np.arange(9) > 4, "too few: 9 trials, but 10 are needed"),
        (np.linspace(0.2, 0.8, 20), np.ones(20) > 0, "all grokked from 0.2, the smallest: it lies below 0.263 (95 %)"),
        (np.linspace(0.2, 0.8, 20), np.ones(20) < 0, "none grokked up to 0.8, the largest: it lies above 0.737 (95 %)"),
        (np.full(20, 0.5), np.arange(20) > 9, "training_fraction is always 0.5"),
        (np.linspace(0.2, 0.8, 20), np.arange(20) < 10, "does not rise with the fraction"),
        (np.linspace(0.2, 0.8, 12), np.isin(np.arange(12), [1, 3, 5, 8]), "may be chance: it may lie anywhere"),
    ],
)
def test_what_cannot_be_estimated_has_its_reason(fraction, grokked, reason):
    found = critical_fraction(fraction, np.asarray(grokked), ones(fraction), np.arange(len(fraction)))
    assert np.isnan(found.fraction)
    assert reason in found.reason


def test_what_is_not_bounded_says_so():
    twelve = np.linspace(0.2, 0.8, 12)
    hardly = critical_fraction(twelve, np.isin(np.arange(12), [1, 2, 5, 8, 9, 11]), ones(twelve), np.arange(12))
    assert (hardly.lower, hardly.upper) == (0, 1)
    assert hardly.reason == "that the share grokked rises with the fraction may be chance: the interval is boundless"
    place = np.linspace(0.2, 0.8, 30)
    below = critical_fraction(place, place > 0.23, ones(place), np.arange(30))
    assert below.lower == 0
    assert below.reason == "it may lie below all that were tried: too few trials of the smallest fractions failed"
    said = finding(trials_of(30, training_fraction=place, grok_step=grokking(place > 0.23))).summary
    assert (
        said == f"Half of the trials grok at a training fraction of {below.fraction:.3g} ({below.upper:.3g} or less)."
    )
    above = critical_fraction(place, place > 0.77, ones(place), np.arange(30))
    assert above.upper == 1
    assert above.reason == "it may lie above all that were tried: too few trials of the largest fractions grokked"


def test_a_figure_has_arrows_where_nothing_bounds_a_fraction():
    place = np.linspace(0.2, 0.8, 30)
    for edge, ends in ((0.5, (True, True)), (0.23, (False, True)), (0.77, (True, False))):
        (row,) = critical_rows(finding(trials_of(30, training_fraction=place, grok_step=grokking(place > edge))))
        assert (np.isfinite(row.lower), np.isfinite(row.upper)) == ends
        assert row.lower < row.value < row.upper
        assert ("An arrow" in marks([row])) == (not all(ends))


def test_no_fraction_beyond_all_that_were_tried_is_given():
    rng = np.random.default_rng(5)
    fraction = rng.uniform(0.3, 0.9, 400)
    grokked = rng.random(400) < 0.05 + 0.2 * fraction
    grokked[np.argmax(fraction)] = True  # and is all that speaks for it
    lucky = critical_fraction(fraction, grokked, np.ones(400), np.arange(400))
    assert lucky.reason.startswith("it may lie above all that were tried")
    assert (lucky.lower > 0.8, lucky.upper) == (True, 1)
    grokked[np.argsort(fraction)[-4:]] = False
    found = critical_fraction(fraction, grokked, np.ones(400), np.arange(400))
    assert np.isnan(found.fraction)
    assert found.reason == "fewer than half grokked up to 0.9, the largest: it lies above 0.875 (95 %), if anywhere"
    trials = trials_of(400, training_fraction=fraction, grok_step=grokking(grokked | (fraction == fraction.max())))
    assert finding(trials).summary == "Half of the trials grok at a training fraction of 0.9 (0.87 or more)."


def test_a_column_of_many_numbers_is_cut_into_quarters():
    rng = np.random.default_rng(0)
    fraction, decay = rng.uniform(0.1, 0.9, 400), rng.uniform(0, 1, 400)
    trials = trials_of(
        400, training_fraction=fraction, weight_decay=decay, grok_step=grokking(rng.random(400) < fraction)
    )
    table = finding(trials, by="weight_decay").table
    assert table["trials"].tolist() == [100] * 4
    assert table["weight_decay"].str.contains(" to ").all()
    assert (table["fraction"] - 0.5).abs().max() < 0.2
    with pytest.raises(ConfigError, match="400 different texts"):
        finding(trials, by="trial_id")


def test_configurations_that_lie_on_the_curve_are_no_surer_than_their_trials():
    fraction = np.repeat([0.3, 0.4, 0.5, 0.6, 0.7], 20)
    grokked = np.concatenate([np.arange(20) < number for number in (2, 5, 10, 15, 18)])
    by_trial = critical_fraction(fraction, grokked, ones(fraction), np.arange(100))
    by_configuration = critical_fraction(fraction, grokked, ones(fraction), np.repeat(np.arange(5), 20))
    assert by_configuration.fraction == pytest.approx(0.5)
    assert (by_configuration.lower, by_configuration.upper) == (by_trial.lower, by_trial.upper) == (0.4, 0.6)
