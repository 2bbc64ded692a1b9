from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from grokray.analysis.outcomes import column
from grokray.analysis.phases import Events, align, cut_short, events_of_curves, phases
from grokray.errors import ConfigError
from grokray.events import EventTracker
from tests.analysis.tables import trials_of

NAMES = ("memorization_step", "memorization_step_lower", "grok_step", "grok_step_lower", "ungrok_step")


def random_curves(rng, trials: int = 300):
    """Curves that cross the thresholds again and again, of unequal lengths and intervals."""
    lengths = rng.integers(1, 30, size=trials)
    index = np.repeat(np.sort(rng.choice(10 * trials, size=trials, replace=False)), lengths)
    step = np.concatenate([np.cumsum(rng.integers(1, 5, size=n) * 200) for n in lengths])
    train, heldout = (np.round(rng.beta(1.5, 0.3, size=len(step)), 2) for _ in range(2))
    return index, step, train, heldout


@pytest.mark.parametrize(("threshold", "sustain"), [(0.99, 3), (0.9, 1), (0.95, 2), (0.5, 5)])
def test_the_events_are_those_of_the_tracker(threshold, sustain):
    index, step, train, heldout = random_curves(np.random.default_rng(sustain))
    found = events_of_curves(index, step, train, heldout, threshold=threshold, sustain=sustain)
    assert list(found.trial_index) == sorted(set(index))
    seen = {name: 0 for name in NAMES}
    for number, trial in enumerate(found.trial_index):
        tracker = EventTracker(threshold=threshold, sustain=sustain)
        for row in np.flatnonzero(index == trial):
            tracker.observe(int(step[row]), train[row], heldout[row])
        for name in NAMES:
            expected, value = getattr(tracker, name), getattr(found, name)[number]
            seen[name] += expected is not None
            assert (expected is None and np.isnan(value)) or expected == value, (trial, name)
        assert found.phase[number] == tracker.phase
        assert found.last_step[number] == tracker.last_step
    assert min(seen.values()) > 10  # or nothing was compared


def test_a_measurement_before_the_first_step_is_no_event():
    index, step = np.array([3, 3, 3, 8]), np.array([0, 100, 200, 0])
    found = events_of_curves(index, step, np.ones(4), np.ones(4), sustain=2)
    assert [*found.trial_index] == [3]
    assert (found.memorization_step[0], found.memorization_step_lower[0]) == (100, 0)
    assert (found.grok_step[0], found.grok_step_lower[0], found.last_step[0]) == (100, 0, 200)
    tracker = EventTracker(sustain=2)
    for at in step[:3]:
        tracker.observe(int(at), 1.0, 1.0)
    assert (tracker.grok_step, tracker.grok_step_lower, tracker.memorization_step) == (100, 0, 100)


def test_what_was_not_measured_breaks_a_streak_and_is_no_fall():
    heldout = np.array([1.0, np.nan, 1.0, 1.0, np.nan, 0.5])
    found = events_of_curves(np.zeros(6, dtype=int), np.arange(100, 700, 100), heldout, heldout, sustain=2)
    assert (found.grok_step[0], found.grok_step_lower[0], found.ungrok_step[0]) == (300, 200, 600)


def test_thresholds_of_phases_are_parameters():
    one = np.zeros(3, dtype=int), np.array([100, 200, 300]), np.array([0.5, 0.8, 0.8]), np.array([0.1, 0.1, 0.7])
    assert events_of_curves(*one).phase == ["confusion"]
    assert events_of_curves(*one, phase_accuracy=0.75).phase == ["memorization"]
    assert events_of_curves(*one, phase_accuracy=0.6, phase_gap_steps=100).phase == ["grokking"]
    assert events_of_curves(*one, phase_accuracy=0.6, phase_gap_steps=101).phase == ["comprehension"]


def test_no_curves_are_no_events():
    none = np.zeros(0)
    found = events_of_curves(none, none, none, none)
    assert len(found.trial_index) == len(found.phase) == len(found.grok_step) == 0


def events(curves: pa.Table, **thresholds) -> Events:
    names = ("trial_index", "step", "train_exact_match", "heldout_exact_match")
    return events_of_curves(*(column(curves, name) for name in names), **thresholds)


def test_trials_take_their_events_by_index_and_divergence_from_their_own_phase():
    curves = pa.table(
        {
            "trial_index": [3, 3, 5],
            "step": [100, 200, 100],
            "train_exact_match": [0.95, 1.0, 0.1],
            "heldout_exact_match": [0.0, None, 0.1],
        }
    )
    trials = trials_of(3, trial_index=[5, 3, 4], phase=["diverged", "grokking", None])
    found = events(curves)
    assert list(phases(trials)) == ["diverged", "grokking", None]
    assert list(phases(trials, found)) == ["diverged", "memorization", None]
    assert align(trials, found, found.memorization_step)[1] == 200
    assert np.isnan(align(trials, found, found.memorization_step)[[0, 2]]).all()


def test_a_stricter_definition_says_which_curves_ended_too_soon_for_it():
    curves = pa.table(
        {"trial_index": [0, 1, 2], "step": [9, 9, 9], "train_exact_match": [1.0] * 3, "heldout_exact_match": [0.99] * 3}
    )
    trials = trials_of(3, grok_step=[9, 9, None], continue_training=[False, True, False])
    assert list(cut_short(trials, events(curves, threshold=0.999, sustain=1))) == [True, False, False]
    assert not cut_short(trials, events(curves, threshold=0.99, sustain=1)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.5}, r"threshold is 1.5, but must be in \(0, 1\]"),
        ({"phase_accuracy": 2}, r"phase_accuracy is 2, but must be in \(0, 1\]"),
        ({"phase_accuracy": 0}, r"phase_accuracy is 0, but must be in \(0, 1\]"),
        ({"phase_accuracy": "a"}, r"phase_accuracy is 'a', but must be in \(0, 1\]"),
        ({"sustain": 0}, "sustain is 0, but must be a whole number above 0"),
    ],
)
def test_impossible_thresholds_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        events_of_curves(np.array([0]), np.array([1]), np.array([0.1]), np.array([0.1]), **change)


@pytest.mark.parametrize(("index", "step"), [([1, 0], [1, 1]), ([0, 0], [2, 1]), ([0, 0], [1, 1])])
def test_unsorted_curves_are_refused(index, step):
    with pytest.raises(ConfigError, match="sorted by trial_index and step"):
        events_of_curves(np.array(index), np.array(step), np.zeros(2), np.zeros(2))
