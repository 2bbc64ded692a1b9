from __future__ import annotations

import numpy as np
import pytest

from grokray.analysis.delay import delays, ungrokking
from grokray.analysis.survival import kaplan_meier, quantile_time
from grokray.analysis.times import Times
from tests.analysis.tables import trials_of


def quantiles_of(time, observed, quantiles, weight=None) -> list[float]:
    curve = kaplan_meier(Times.right_censored(time, observed, weight))
    return [quantile_time(curve, quantile).value for quantile in quantiles]


def test_quantiles_are_those_of_the_published_curve():
    # Freireich et al. 1963, weeks of remission under 6-MP: S 0.807 after 7, 0.690 after 13, 0.448 after 23.
    time = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35])
    observed = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    quantiles = (1 - 0.808, 1 - 0.806, 1 - 0.691, 0.5, 1 - 0.449, 0.6)
    assert quantiles_of(time, observed, quantiles) == [7, 10, 13, 23, 23, np.inf]


def test_a_weight_is_as_good_as_copies():
    rng = np.random.default_rng(0)
    time, observed, copies = rng.integers(1, 30, 50), rng.random(50) < 0.6, rng.integers(1, 5, 50)
    quantiles = (0.1, 0.3, 0.5, 0.7)
    copied = quantiles_of(np.repeat(time, copies), np.repeat(observed, copies), quantiles)
    assert quantiles_of(time, observed, quantiles, copies.astype(float)) == copied


@pytest.mark.parametrize("number", [3, 10])
def test_intervals_of_few_delays_hold_the_truth(number):
    rng, held = np.random.default_rng(number), {0.1: 0, 0.5: 0, 0.9: 0}
    for _ in range(200):
        delay = np.ceil(rng.exponential(3000, number)).astype(int)
        trials = trials_of(number, memorization_step=100, grok_step=100 + delay, duration_steps=100 + delay)
        found = delays(trials, tuple(held)).quantiles
        for quantile in held:
            held[quantile] += found[quantile].lower <= -3000 * np.log(1 - quantile) <= found[quantile].upper
    assert min(held.values()) >= 0.9 * 200


def test_delays_of_trials_that_never_grokked_are_censored():
    rng = np.random.default_rng(0)
    delay, memorized = np.round(rng.exponential(3000, 2000)), rng.integers(100, 500, 2000)
    step = memorized + delay
    seen = step <= 4000
    trials = trials_of(
        2000,
        memorization_step=memorized,
        grok_step=[int(s) if yes else None for s, yes in zip(step, seen, strict=True)],
        duration_steps=np.where(seen, step, 4000).astype(int),
        num_steps=4000,
    )
    found = delays(trials, (0.25, 0.5, 0.9))
    assert found.quantiles[0.5].value == pytest.approx(3000 * np.log(2), rel=0.08)
    assert found.quantiles[0.5].lower < 3000 * np.log(2) < found.quantiles[0.5].upper
    assert found.quantiles[0.9].value == np.inf
    assert np.median(delay[seen]) < 1600  # what leaving them out would say
    assert (found.grokked, found.censored) == (int(seen.sum()), int((~seen).sum()))


def test_who_is_in_and_until_when():
    trials = trials_of(
        6,
        memorization_step=[100, 500, None, 100, 100, 100],
        grok_step=[300, 400, None, None, None, None],
        outcome=["grokked", "grokked", "budget", "diverged", "pruned", "running"],
        duration_steps=[300, 400, 1000, 150, 500, 180],
        num_steps=1000,
    )
    found = delays(trials)
    assert (found.grokked, found.censored, found.negative, found.never_memorized) == (2, 2, 1, 1)
    # 4 at risk: the negative delay, then the running trial is censored after 80, and 1 of 2 groks after 200; the
    # diverged one is censored after 900 and not after 50.
    assert found.quantiles[0.25].value == -100
    assert found.quantiles[0.5].value == 200
    assert found.quantiles[0.75].value == np.inf
    assert "none was audited" in found.notes[0]


def test_of_one_configuration_the_seeds_are_what_varies():
    steps = [150, 200, 250, 400, 450, 700]
    trials = trials_of(6, memorization_step=100, grok_step=steps, duration_steps=steps, num_steps=1000, configuration=0)
    found = delays(trials).quantiles[0.5]
    assert (found.value, found.lower < 150, found.upper > 150) == (150, True, True)
    alone = delays(trials.slice(0, 1)).quantiles[0.5]
    assert alone.value == 50
    assert (alone.lower, alone.upper) == (0, np.inf)


def test_that_a_part_of_the_pruned_ones_has_no_audit_is_said():
    # Two sweeps read together: of the first one some were audited, of the second one none could be.
    audits = {"audited": [True, False, False, False], "audit_probability": [0.5, 0.5, 0.0, None]}
    outcome, step = ["grokked", "pruned", "pruned", "grokked"], [900, None, None, 500]
    trials = trials_of(
        4, memorization_step=100, grok_step=step, outcome=outcome, stop_step=[200, 200, 200, None], **audits
    )
    (note,) = delays(trials).notes
    assert note.startswith("1 trial was pruned and none like them was audited")


def test_no_memorization_is_no_delay():
    found = delays(trials_of(3))
    assert np.isnan(found.quantiles[0.5].value)
    assert found.never_memorized == 3


def test_ungrokking_is_of_those_that_trained_on():
    trials = trials_of(
        6, continue_training=[True] * 4 + [False] * 2, grok_step=[9, 9, 9, None, 9, 9], ungrok_step=[20] + [None] * 5
    )
    found = ungrokking(trials)
    assert found.trained_on == 3
    assert found.shares.share[0] == pytest.approx(1 / 3)
    assert found.shares.lower[0] < 1 / 3 < found.shares.upper[0]
    assert ungrokking(trials_of(2, grok_step=[9, 9])).trained_on == 0


def test_a_trial_that_grokked_and_diverged_has_not_kept_it():
    fate = ["grokked", "grokked", "diverged", "diverged"]
    found = ungrokking(trials_of(4, continue_training=True, grok_step=[9, 9, 9, None], outcome=fate))
    assert (found.trained_on, found.shares.share[0]) == (3, pytest.approx(1 / 3))


def test_two_audited_trials_that_stand_for_twenty_leave_more_open_than_twenty():
    """None of 42 lost it again; of the third that was to be pruned only two were seen."""
    audited = [True] * 2 + [False] * 40
    some = {"continue_training": True, "grok_step": [9] * 42}
    weighed = {"audited": audited, "audit_probability": [0.1] * 2 + [np.nan] * 40, "stop_step": [5] * 2 + [None] * 40}
    alike = ungrokking(trials_of(60, **{**some, "grok_step": [9] * 60}))
    few = ungrokking(trials_of(42, **some, **weighed))
    assert alike.shares.share[0] == few.shares.share[0] == 0
    assert few.shares.upper[0] > 0.2 > 3 * alike.shares.upper[0]
