from __future__ import annotations

import pytest

from grokray.events import EventTracker


def watch(curve, **options) -> EventTracker:
    """curve: (step, train accuracy, held-out accuracy)."""
    tracker = EventTracker(**options)
    for step, train, heldout in curve:
        tracker.observe(step, train, heldout)
    return tracker


def test_a_spike_is_not_grokking_and_the_streak_counts_from_its_first_evaluation():
    tracker = watch(
        [(100, 0.5, 0.0), (200, 1.0, 1.0), (300, 1.0, 0.5), (400, 1.0, 0.99), (500, 1.0, 1.0), (600, 1.0, 1.0)]
    )
    assert (tracker.memorization_step, tracker.memorization_step_lower) == (200, 100)
    assert (tracker.grok_step, tracker.grok_step_lower) == (400, 300)
    assert tracker.grok_delay == 200


def test_events_at_the_first_evaluation_are_bounded_by_the_start():
    tracker = watch([(50, 1.0, 1.0)], sustain=1)
    assert (tracker.grok_step, tracker.grok_step_lower, tracker.memorization_step_lower) == (50, 0, 0)


def test_two_of_three_is_not_yet_grokking():
    assert not watch([(100, 1.0, 1.0), (200, 1.0, 1.0)]).grokked
    assert watch([(100, 1.0, 1.0), (200, 1.0, 1.0), (300, 1.0, 1.0)]).grokked


def test_ungrokking_is_the_first_fall_after_grokking():
    tracker = watch([(100, 1.0, 1.0), (200, 1.0, 0.95), (300, 1.0, 0.5), (400, 1.0, 0.2)], sustain=1)
    assert tracker.ungrok_step == 300
    assert watch([(100, 1.0, 0.2), (200, 1.0, 1.0)], sustain=1).ungrok_step is None


def test_a_low_threshold_is_also_what_must_be_fallen_below():
    curve = [(100, 1.0, 0.7), (200, 1.0, 0.75)]
    assert watch(curve, sustain=1, threshold=0.6).ungrok_step is None
    assert watch([*curve, (300, 1.0, 0.5)], sustain=1, threshold=0.6).ungrok_step == 300


@pytest.mark.parametrize(
    ("curve", "phase"),
    [
        ([(100, 0.5, 0.1), (200, 0.89, 0.2)], "confusion"),
        ([(100, 0.95, 0.1), (2000, 1.0, 0.8)], "memorization"),
        ([(100, 0.95, 0.1), (1100, 1.0, 0.9)], "grokking"),
        ([(100, 0.95, 0.1), (1000, 1.0, 0.9)], "comprehension"),
        ([(100, 0.95, 0.95)], "comprehension"),
    ],
)
def test_phases_as_liu_et_al_have_them(curve, phase):
    assert watch(curve).phase == phase


def test_divergence_is_a_phase_of_its_own():
    tracker = watch([(100, 1.0, 1.0)])
    tracker.diverged = True
    assert tracker.phase == "diverged"


def test_a_tracker_goes_on_from_its_state():
    curve = [(100, 0.5, 0.0), (200, 1.0, 1.0), (300, 1.0, 1.0), (400, 1.0, 1.0), (500, 1.0, 0.1)]
    for cut in range(len(curve)):
        tracker = EventTracker(**watch(curve[:cut]).state())
        for evaluation in curve[cut:]:
            tracker.observe(*evaluation)
        assert tracker == watch(curve)
