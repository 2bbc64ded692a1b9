"""Weights of pruned and audited trials, and what the audit says about the scheduler."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from grokray.analysis.intervals import wilson
from grokray.analysis.times import times_of
from grokray.analysis.weights import inverse_probability_weights, scheduler_audit, stop_steps
from grokray.errors import ConfigError
from tests.analysis.tables import trials_of


def table(rows: list[tuple], **columns: list) -> pa.Table:
    """Of outcome, step of grokking, stop_step, audited and probability; each its own configuration."""
    outcome, grok_step, stop_step, audited, probability = map(list, zip(*rows, strict=True))
    size = len(rows)
    return pa.table(
        {
            "configuration": list(range(size)),
            "outcome": pa.array(outcome, pa.string()),
            "censor_reason": pa.array([o if g is None else None for o, g in zip(outcome, grok_step, strict=True)]),
            "grok_step": pa.array(grok_step, pa.int64()),
            "grok_step_lower": pa.array([None if g is None else g - 100 for g in grok_step], pa.int64()),
            "duration_steps": [g or s or 5_000 for g, s in zip(grok_step, stop_step, strict=True)],
            "num_steps": [5_000] * size,
            "stop_step": pa.array(stop_step, pa.int64()),
            "audited": pa.array(audited, pa.bool_()),
            "audit_probability": pa.array(probability, pa.float64()),
            **columns,
        }
    )


ROWS = [
    ("grokked", 900, None, False, None),
    ("budget", None, None, False, None),
    ("pruned", None, 1_000, False, 0.25),
    ("budget", None, 1_000, True, 0.25),
    ("grokked", 3_000, 1_000, True, 0.25),
    (None, None, 1_000, False, 0.25),  # told to stop, and still running
]


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_weights(kind):
    trials = table(ROWS)
    assert inverse_probability_weights(trials if kind == "arrow" else trials.to_pandas()).tolist() == [1, 1, 0, 4, 4, 0]


def test_tables_without_an_audit():
    trials = table(ROWS[:3]).drop_columns(["stop_step", "audited", "audit_probability"])
    assert inverse_probability_weights(trials).tolist() == [1, 1, 0]
    audit = scheduler_audit(trials)
    assert (audit.to_be_stopped, audit.pruned, audit.audited) == (1, 1, 0)
    assert audit.warning is not None
    assert audit.warning.startswith("1 trial was pruned and none that the scheduler wanted to stop ran on")
    assert np.isnan(audit.false_stop_rate.value)
    assert np.isnan(audit.grokkers_killed.value)


def test_a_fair_audit_gives_back_all_trials():
    generator = np.random.default_rng(0)
    unwanted = generator.random(20_000) < 0.6
    audited = unwanted & (generator.random(20_000) < 0.2)
    rows = [
        ("budget" if a or not u else "pruned", None, 1_000 if u else None, bool(a), 0.2 if u else None)
        for u, a in zip(unwanted, audited, strict=True)
    ]
    assert inverse_probability_weights(table(rows)).sum() == pytest.approx(20_000, rel=0.03)


def test_the_false_stop_rate():
    killed = [("pruned", None, 1_000, False, 0.2)] * 40
    ran_on = [("budget", None, 1_000, True, 0.2)] * 8 + [("grokked", 3_000, 1_000, True, 0.2)] * 2
    unfinished = [(None, None, 1_000, True, 0.2)]
    audit = scheduler_audit(table([("grokked", 900, None, False, None)] * 10 + killed + ran_on + unfinished))
    assert (audit.trials, audit.to_be_stopped, audit.pruned, audit.audited) == (61, 51, 40, 11)
    assert (audit.finished, audit.grokked_later) == (10, 2)
    rate = audit.false_stop_rate
    assert (rate.value, rate.lower, rate.upper) == pytest.approx((0.2, *wilson(0.2, 10)))
    # 8 of the 40 would have grokked; 12 did.
    assert audit.grokkers_killed.value == pytest.approx(8 / 20)
    assert audit.grokkers_killed.lower < 0.2
    assert audit.grokkers_killed.upper > 0.6
    assert audit.warning is None


def test_sweeps_of_different_audit_fractions_stand_for_their_own_pruned_trials():
    """Of 100 slow trials of each sweep half of those of the first were audited, and 1 in 10 of the second's, where all
    would have grokked."""
    first = [("pruned", None, 1_000, False, 0.5)] * 50 + [("budget", None, 1_000, True, 0.5)] * 50
    second = [("pruned", None, 1_000, False, 0.1)] * 90 + [("grokked", 3_000, 1_000, True, 0.1)] * 10
    audit = scheduler_audit(table(first + second))
    assert audit.false_stop_rate.value == pytest.approx(0.5)
    assert audit.grokkers_killed.value == pytest.approx(90 / 100)


def test_where_nothing_grokked_nothing_was_killed_that_is_known():
    rows = [("pruned", None, 1_000, False, 0.5)] * 3 + [("budget", None, 1_000, True, 0.5)] * 3
    killed = scheduler_audit(table(rows)).grokkers_killed
    assert np.isnan([killed.value, killed.lower, killed.upper]).all()
    assert killed.note == "no trial grokked, so there is none that could have been killed"


def test_nothing_pruned_nothing_killed():
    audit = scheduler_audit(table(ROWS[:2]))
    assert (audit.grokkers_killed.value, audit.grokkers_killed.upper) == (0, 0)
    assert audit.warning is None


def test_a_probability_must_be_one():
    with pytest.raises(ConfigError, match="audit_probability of audited trial 0 is 0.0, but must be in"):
        inverse_probability_weights(table([("budget", None, 1_000, True, 0.0)]))


def test_times_of_each_outcome():
    rows = [
        ("grokked", 900, None, False, None),
        ("budget", None, None, False, None),
        ("diverged", None, None, False, None),
        ("failed", None, None, False, None),
    ]
    trials = table(rows, duration_steps=[900, 5_000, 300, 400], configuration=[0, 0, 1, 1])
    times = times_of(trials)
    # Diverging ends all hope: not until the whole budget.
    assert times.lower.tolist() == [800, 5_000, 5_000, 400]
    assert times.upper.tolist() == [900, np.inf, np.inf, np.inf]
    assert times.cluster.tolist() == [0, 0, 1, 1]
    assert not times.is_plain
    assert times_of(trials, while_training=True).lower.tolist() == [800, 5_000, 300, 400]
    from_pandas = times_of(trials.to_pandas())
    assert from_pandas.lower.tolist() == times.lower.tolist()


def test_pruned_trials_are_watched_until_they_were_stopped():
    times = times_of(table(ROWS, duration_steps=[900, 5_000, 1_200, 5_000, 3_000, 1_100])).until_stopped()
    assert times.lower.tolist() == [800, 5_000, 1_000, 5_000, 2_900, 1_000]
    assert times.upper.tolist() == [900, np.inf, np.inf, np.inf, 3_000, np.inf]
    assert times.weight.tolist() == [1, 1, 1, 4, 4, 1]
    assert times.stop.tolist() == [np.inf, np.inf, np.inf, 1_000, 1_000, np.inf]


def test_what_ended_before_its_stop_counts_once():
    """Both grokked before, and trained on; the third has come no further yet."""
    rows = [("pruned", 900, 1_000, False, 0.25), ("budget", 900, 1_000, True, 0.25), (None, None, 1_000, True, 0.25)]
    times = times_of(table(rows, duration_steps=[1_000, 5_000, 1_000])).until_stopped()
    assert times.upper.tolist() == [900, 900, np.inf]
    assert (times.weight.tolist(), times.stop.tolist()) == ([1, 1, 1], [np.inf] * 3)


def test_stops_that_nobody_was_audited_for_are_none():
    assert stop_steps(table(ROWS)).tolist() == [np.inf, np.inf, 1_000, 1_000, 1_000, 1_000]
    assert np.isinf(stop_steps(table(ROWS[:3]))).all()
    assert np.isinf(stop_steps(table(ROWS).drop_columns(["stop_step"]))).all()
    other_sweep = [("pruned", None, 700, False, 0.0)]
    assert stop_steps(table([*ROWS, *other_sweep]))[-1] == np.inf


def test_a_missing_column_is_named():
    with pytest.raises(ConfigError, match="no column num_steps"):
        times_of(table(ROWS).drop_columns(["num_steps"]))


def test_the_records_own_empty_table():
    from grokray.records.schema import TRIALS_SCHEMA

    times = times_of(TRIALS_SCHEMA.empty_table())
    assert len(times) == 0
    assert scheduler_audit(TRIALS_SCHEMA.empty_table()).trials == 0


def test_an_audited_trial_that_grokked_at_a_lost_step_is_none_that_did_not_grok():
    trials = trials_of(
        3,
        grok_step=[500, None, None],
        outcome=["grokked", "grokked", "budget"],
        stop_step=100,
        audited=True,
        audit_probability=0.5,
    )
    found = scheduler_audit(trials)
    assert (found.audited, found.finished, found.grokked_later) == (3, 2, 1)
