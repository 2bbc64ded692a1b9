from __future__ import annotations

import itertools
import math

import pytest

from grokray.sweep.objective import (
    value_of_configuration,
    value_of_trial,
    values_of_configuration,
    values_of_trial,
)
from grokray.sweep.sections import Metric


def value(name, *, metrics=None, events=None, ran=True, max_steps=2000, goal=None):
    metric = Metric(name=name) if goal is None else Metric(name=name, goal=goal)
    return value_of_trial(metric, max_steps=max_steps, metrics=metrics or {}, events=events or {}, ran=ran)


def test_grok_step_orders_grokked_then_censored_by_loss_then_diverged():
    values = [
        value("grok_step", events={"grok_step": 100}),
        value("grok_step", events={"grok_step": 2000}),
        value("grok_step", metrics={"heldout_loss": 0.1}),
        value("grok_step", metrics={"heldout_loss": 1.0}),
        value("grok_step", metrics={"heldout_loss": 50.0}),
        value("grok_step", ran=False),
    ]
    assert values == sorted(values)
    assert len(set(values)) == 6
    assert values[0] == 100
    assert values[3] == 3000
    assert values[-1] == 4000


def test_a_delay_needs_both_events():
    assert value("grok_delay", events={"memorization_step": 300, "grok_step": 900}) == 600
    for one in ({"grok_step": 900}, {"memorization_step": 300}, {"memorization_step": 300, "grok_step": None}):
        assert value("grok_delay", events=one, metrics={"heldout_loss": 0.0}) == 2000


def test_maximizing_turns_the_penalty_round():
    assert value("grok_step", ran=False, goal="maximize") == -4000


@pytest.mark.parametrize("name", ["heldout_loss", "heldout_exact_match", "grok_step", "grok_delay", "robustness"])
@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
@pytest.mark.parametrize("ran", [True, False])
def test_never_anything_but_a_finite_number(name, loss, ran):
    metrics = {"heldout_loss": loss, "heldout_exact_match": loss}
    assert math.isfinite(value(name, metrics=metrics, ran=ran))


def test_a_curve_metric_is_its_last_value_and_a_failed_trial_the_worst():
    assert value("heldout_exact_match", metrics={"heldout_exact_match": 0.7}) == 0.7
    assert value("heldout_exact_match", ran=False, metrics={"heldout_exact_match": 0.7}) == 0
    assert value("heldout_loss", metrics={"heldout_loss": 0.2}) < value("heldout_loss", ran=False)


def test_a_pruned_trials_early_value_does_not_count():
    metrics = {"heldout_loss": 4.6}
    early = value_of_trial(Metric(name="heldout_loss"), max_steps=9, metrics=metrics, events={}, ran=True, stopped=True)
    assert early > value("heldout_loss", metrics={"heldout_loss": 12.0})


def test_a_configuration_is_worth_the_median_of_its_seeds():
    assert value_of_configuration([4000.0, 100.0, 300.0]) == 300.0


def test_the_median_is_that_of_each_metric_and_no_mean():
    aims = [Metric(name="grok_step"), Metric(name="heldout_loss")]
    assert values_of_configuration(aims, [(100.0, 0.5), (4000.0, 0.1), (300.0, 9.0)]) == (300.0, 0.5)


ROBUSTNESS = Metric(name="robustness")


def robustness(*seeds: tuple[bool, float | None]) -> float:
    """Of a configuration whose seeds grokked or not, and ended with that held-out loss; None diverged."""
    values = [
        value(
            "robustness",
            events={"grok_step": 9} if grokked else {},
            metrics={"heldout_loss": loss},
            ran=loss is not None,
        )
        for grokked, loss in seeds
    ]
    return value_of_configuration(values, ROBUSTNESS)


def test_robustness_is_the_share_of_seeds_that_grokked():
    assert math.floor(3 * robustness((True, 0.1), (False, 9.0), (True, 0.1))) == 2
    assert robustness((False, None), (False, None)) == 0
    assert robustness((True, math.inf)) == 1


@pytest.mark.parametrize("seeds", [1, 2, 5, 1000])
def test_no_loss_outweighs_one_seed(seeds):
    """The worst losses with one grokked seed more, against the best with one fewer."""
    for grokked in {0, seeds // 2, seeds - 1}:
        few = robustness(*[(i < grokked, 0.0) for i in range(seeds)])
        more = robustness(*[(i <= grokked, math.inf) for i in range(seeds)])
        assert few < more
        assert grokked / seeds <= few


def test_between_equal_shares_the_held_out_loss_decides_and_divergence_is_worst():
    values = [
        robustness((True, 0.1), (False, 0.5)),
        robustness((True, 0.1), (False, 5.0)),
        robustness((True, 0.1), (False, None)),
    ]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3


def test_an_audited_trial_counts_with_its_true_outcome_and_a_pruned_one_as_censored():
    late = {"max_steps": 2000, "events": {"grok_step": 1900}, "metrics": {"heldout_loss": 0.1}, "ran": True}
    pruned = late | {"events": {}, "stopped": True}
    for metric, better in ((Metric(), -1), (ROBUSTNESS, 1)):
        assert better * value_of_trial(metric, **late) > better * value_of_trial(metric, **pruned)


def test_several_metrics_are_valued_one_by_one():
    aims = [Metric(name="grok_step"), Metric(name="heldout_exact_match"), ROBUSTNESS]
    found = [
        values_of_trial(aims, max_steps=2000, events=events, metrics={"heldout_loss": 1.0, **more}, ran=True)
        for events, more in itertools.product(({}, {"grok_step": 700}), ({}, {"heldout_exact_match": 1.0}))
    ]
    assert found == [(3000, 0, 0.25), (3000, 1, 0.25), (700, 0, 1.25), (700, 1, 1.25)]
    assert values_of_configuration(aims, found) == (1850, 0.5, pytest.approx(0.5 + 1.0 / 16))
