"""Replays of schedulers on curves whose fate is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from replay import Curve, replay, wilson

from grokray.events import EventTracker
from grokray.sweep.load import load_text

SPACE = """
method: grid
parameters:
  operation: {value: x+y_mod}
  modulus: {value: 7}
  num_steps: {value: 1000}
trial: {eval_interval: 100}
"""
ASHA = "scheduler: {type: asha, grace_period: 200, reduction_factor: 2, audit_fraction: 0}\n"


def config(scheduler: str):
    return load_text(SPACE + scheduler, "x.yaml", "x")


def curve(name: str, exact_matches: list[float], *, train: float = 1.0) -> Curve:
    """Measured every 100 steps."""
    tracker, events, metrics = EventTracker(), [], []
    for number, exact in enumerate(exact_matches):
        tracker.observe(100 * (number + 1), train, exact)
        events.append(tracker.state())
        metrics.append({"train_exact_match": train, "heldout_exact_match": exact, "heldout_loss": 2.0 - exact})
    steps = [100 * (number + 1) for number in range(len(exact_matches))]
    return Curve(trial_id=name, steps=steps, metrics=metrics, events=events)


LATE = curve("late", [0.0] * 7 + [1.0] * 3)  # waits at chance until it groks at 800
NEVER = curve("never", [0.3] * 10)  # ahead of it until then
UNFIT = curve("unfit", [0.1] * 10, train=0.4)


def test_under_fifo_every_trial_trains_to_its_end():
    [once] = replay([LATE, NEVER, UNFIT], config("scheduler: {type: fifo}\n"), orders=1, seats=2)
    assert (once.steps, once.wanted) == (3000, set())


def test_asha_on_accuracy_kills_who_waits_and_grok_asha_who_cannot_fit():
    curves = [NEVER, LATE, UNFIT]
    # One seat: each is compared with those before it.
    asha = replay(curves, config(ASHA), orders=40, seats=1)
    assert any("late" in once.stopped for once in asha)
    grok_asha = replay(curves, config(ASHA.replace("asha", "grok_asha")), orders=40, seats=1)
    assert {frozenset(once.stopped) for once in grok_asha} == {frozenset({"unfit"})}
    assert {once.steps for once in grok_asha} == {2 * 1000 + 200}


def test_among_equals_nobody_is_stopped_however_many_train_at_once():
    curves = [curve(f"c{i}", [0.5] * 10) for i in range(6)]
    for seats in (1, 4, 6, 20):
        for once in replay(curves, config(ASHA), orders=3, seats=seats):
            assert (once.steps, once.wanted) == (6000, set())


def test_audited_trials_run_on_and_are_told_apart():
    audited = ASHA.replace("audit_fraction: 0", "audit_fraction: 1")
    for once in replay([NEVER, LATE, UNFIT], config(audited), orders=10, seats=1):
        assert once.steps == 3000
        assert once.stopped == set()
    assert once.wanted == once.audited


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_intervals(count, total, low, high):
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", Table I, method 3."""
    assert wilson(count, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
