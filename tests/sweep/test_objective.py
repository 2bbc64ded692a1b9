from __future__ import annotations

import math

import pytest

from grokray.sweep.objective import value_of_configuration, value_of_trial
from grokray.sweep.sections import Metric


def value(name, *, metrics=None, events=None, ran=True, num_steps=2000, goal=None):
    metric = Metric(name=name) if goal is None else Metric(name=name, goal=goal)
    return value_of_trial(metric, num_steps=num_steps, metrics=metrics or {}, events=events or {}, ran=ran)


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
    assert value("grok_delay", events={"grok_step": 900}, metrics={"heldout_loss": 0.0}) == 2000


def test_maximizing_turns_the_penalty_round():
    assert value("grok_step", ran=False, goal="maximize") == -4000


@pytest.mark.parametrize("name", ["heldout_loss", "heldout_exact_match", "grok_step", "grok_delay"])
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
    early = value_of_trial(Metric(name="heldout_loss"), num_steps=9, metrics=metrics, events={}, ran=True, stopped=True)
    assert early > value("heldout_loss", metrics={"heldout_loss": 12.0})


def test_a_configuration_is_worth_the_median_of_its_seeds():
    assert value_of_configuration([4000.0, 100.0, 300.0]) == 300.0
