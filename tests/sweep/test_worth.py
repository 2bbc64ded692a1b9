"""What the search is told of a configuration, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from grokray.sweep.objective import WORST_LOSS
from grokray.sweep.sections import Metric
from grokray.sweep.worth import Values, Worth


def worth(*aims: str) -> tuple[Worth, list[tuple[int, Values]]]:
    told: list[tuple[int, Values]] = []
    config: Any = SimpleNamespace(metrics=[Metric(name=name) for name in aims], max_steps=lambda: 2000)
    proposer: Any = SimpleNamespace(tell=lambda index, values: told.append((index, values)))
    return Worth(config, proposer), told


def count(of: Worth, index: int, outcome: str = "budget", *, trials: int = 1, loss: float = 1.0, **events: int) -> None:
    of.count(index, outcome, trials=trials, metrics={"heldout_loss": loss}, events=events)


def test_a_configuration_is_told_once_its_last_trial_has_ended():
    of, told = worth("grok_step", "heldout_loss")
    count(of, 5, "grokked", trials=3, loss=0.5, grok_step=300)
    count(of, 7, "grokked", grok_step=400)
    count(of, 5, trials=3)
    assert told == [(7, (400.0, 1.0))]
    count(of, 5, "grokked", trials=3, loss=0.1, grok_step=200)
    assert told[1:] == [(5, (300.0, 0.5))]


@pytest.mark.parametrize("outcome", ["pruned", "diverged", "failed"])
def test_the_early_loss_of_a_pruned_trial_does_not_count_nor_that_of_one_that_broke(outcome):
    of, told = worth("heldout_loss")
    count(of, 0, outcome, loss=0.2)
    assert told == [(0, (WORST_LOSS,))]


def test_of_trials_that_did_not_grok_those_that_broke_are_the_worst():
    of, told = worth("grok_step")
    for index, outcome in enumerate(("budget", "pruned", "stopped", "diverged", "failed")):
        count(of, index, outcome)
    assert told == [(0, (3000.0,)), (1, (3000.0,)), (2, (3000.0,)), (3, (4000.0,)), (4, (4000.0,))]


def test_a_repeat_is_worth_what_the_earlier_one_is_whether_that_has_ended_or_not():
    of, told = worth("grok_step")
    of.repeat(1, 0)
    of.repeat(2, 0)
    count(of, 0, "grokked", grok_step=300)
    of.repeat(3, 0)
    assert told == [(index, (300.0,)) for index in range(4)]


def test_what_cannot_be_is_worth_as_little_as_what_fails():
    of, told = worth("grok_step", "robustness")
    of.refuse(4)
    assert told == [(4, (4000.0, 0.0))]
