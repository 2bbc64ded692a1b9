from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from optuna.storages import InMemoryStorage

from grokray.analysis.findings.importance import _summary
from grokray.analysis.importance import MAX_CONFIGURATIONS, Importance, _draw, _draws, _median, _values, importance
from grokray.analysis.outcomes import outcomes
from grokray.analysis.space import Axis, Space
from tests.analysis.tables import trials_of

FRACTION = Axis(name="training_fraction", low=0.2, high=0.8)
DECAY = Axis(name="weight_decay", kind="log", low=0.01, high=1)
DROPOUT = Axis(name="dropout", low=0.0, high=0.4)
TASK = Axis(name="task_type", values=("classification", "sequence"), probabilities=(0.5, 0.5))
BASE = Axis(name="base", values=(2, 10), probabilities=(0.5, 0.5), when={"task_type": ("sequence",)})


def sweep(rng, configurations: int = 400, **columns):
    """The step hangs on the fraction most, on the decay a little, and on the dropout not at all."""
    u, v, w = rng.random((3, configurations))
    step = 1000 * np.exp(-3 * u - 0.7 * v + 0.05 * rng.normal(size=configurations))
    fields = {"training_fraction": 0.2 + 0.6 * u, "weight_decay": 0.01 * 100**v, "dropout": 0.4 * w}
    return trials_of(configurations, **{**fields, "grok_step": step.astype(int).tolist(), **columns})


def test_both_estimators_find_what_matters():
    found = importance(sweep(np.random.default_rng(0)), Space(axes=(DROPOUT, DECAY, FRACTION)), replicates=4)
    assert list(found.fanova) == ["training_fraction", "weight_decay", "dropout"]
    # Squares of the slopes: 9 against 0.49, if it were additive and nothing else.
    assert found.fanova["training_fraction"].value == pytest.approx(9 / 9.49, abs=0.06)
    assert found.fanova["weight_decay"].value == pytest.approx(0.49 / 9.49, abs=0.04)
    assert found.ped_anova["training_fraction"].value > 0.7
    assert found.ped_anova["dropout"].value < 0.15
    for estimates in (found.fanova, found.ped_anova):
        assert sum(one.value for one in estimates.values()) == pytest.approx(1)
        assert all(one.lower <= one.upper for one in estimates.values())
    assert (found.configurations, found.notes) == (400, ())


def test_it_is_a_function_of_its_seed():
    trials, space = sweep(np.random.default_rng(0), 60), Space(axes=(DECAY, FRACTION))
    assert importance(trials, space, replicates=2, seed=3) == importance(trials, space, replicates=2, seed=3)


def test_conditions_choices_and_grokked_or_not():
    rng = np.random.default_rng(0)
    sequence, ten = rng.random(400) < 0.5, rng.random(400) < 0.5
    grokked = sequence & ten | ~sequence & (rng.random(400) < 0.1)
    trials = sweep(
        rng,
        task_type=np.where(sequence, "sequence", "classification").tolist(),
        base=[None if not s else 10 if t else 2 for s, t in zip(sequence, ten, strict=True)],
        grok_step=[500 if yes else None for yes in grokked],
    )
    found = importance(trials, Space(axes=(TASK, BASE, DROPOUT)), "grokked", replicates=2)
    assert next(iter(found.fanova)) == "base"
    assert found.fanova["dropout"].value < 0.15
    assert max(found.ped_anova, key=lambda name: found.ped_anova[name].value) in ("base", "task_type")
    assert found.notes == ("base: filled in where absent, so part of it is its parent's importance",)


@pytest.mark.parametrize("choices", [10, 40])
def test_a_choice_of_many_values_weighs_what_it_does(choices):
    """One value in ten is harder, the others are alike; and the time does not grow with their number."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, choices, 400)
    u, v, w = rng.random((3, 400))
    step = 1000 * np.exp(-2 * u - v + 1.5 * (base % 10 == 5) + 0.3 * rng.normal(size=400))
    trials = sweep(
        rng,
        base=(base + 2).tolist(),
        training_fraction=0.2 + 0.6 * u,
        weight_decay=0.01 * 100**v,
        dropout=0.4 * w,
        grok_step=step.astype(int).tolist(),
    )
    many = Axis(name="base", values=tuple(range(2, choices + 2)), probabilities=(1 / choices,) * choices)
    found = importance(trials, Space(axes=(DROPOUT, DECAY, FRACTION, many)), replicates=1)
    assert list(found.fanova) == ["training_fraction", "base", "weight_decay", "dropout"]
    # Variances of its parts: 4 / 12, 1.5² · 0.1 · 0.9, 1 / 12.
    truth = np.array([4 / 12, 1.5**2 * 0.09, 1 / 12, 0])
    assert [one.value for one in found.fanova.values()] == pytest.approx((truth / truth.sum()).tolist(), abs=0.1)


def test_values_are_those_of_the_search():
    from grokray.sweep.objective import value_of_trial
    from grokray.sweep.sections import Metric

    trials = trials_of(
        4,
        grok_step=[800, None, None, None],
        outcome=["grokked", "budget", "diverged", "pruned"],
        final_heldout_loss=[0.1, 1.0, 7.0, None],
        num_steps=2000,
    )
    values, chance = _values(trials, outcomes(trials), "grok_step")
    metric = Metric(name="grok_step", goal="minimize")
    for row, value in zip(trials.to_pylist(), values, strict=True):
        expected = value_of_trial(
            metric,
            max_steps=2000,
            metrics={"heldout_loss": row["final_heldout_loss"]},
            events={"grok_step": row["grok_step"]},
            ran=row["outcome"] != "diverged",
            stopped=row["outcome"] == "pruned",
        )
        assert np.exp(value) == pytest.approx(expected)
    assert chance.tolist() == [1, 1, 1, 1]


def test_medians_of_groups_against_plain_ones():
    rng = np.random.default_rng(0)
    group = np.sort(rng.integers(0, 40, 300))
    group = np.unique(group, return_inverse=True)[1]
    values, copies = rng.normal(size=300), rng.integers(1, 4, 300)
    found = _median(values, copies.astype(float), group)
    for number in range(group.max() + 1):
        inside = group == number
        assert found[number] == pytest.approx(np.median(np.repeat(values[inside], copies[inside])))
    assert np.isnan(_median(np.array([1.0, 2.0]), np.array([1.0, 0.0]), np.array([0, 1]))[1])


def test_audited_configurations_are_drawn_more_often():
    trials = trials_of(
        4,
        outcome=["budget", "budget", "pruned", "failed"],
        audited=[False, True, False, False],
        audit_probability=[None, 0.25, 0.25, None],
    )
    assert _values(trials, outcomes(trials), "grok_step")[1].tolist() == [1, 4, 0, 0]


def audited(rng, configurations: int = 60):
    """Half of the trials were to be stopped, a third of these ran on; two parameters matter alike."""
    u, v, w = rng.random((3, configurations))
    step = 1000 * np.exp(-2 * u - 2 * v + 0.4 * rng.normal(size=configurations))
    wanted = step > np.median(step)
    ran_on = wanted & (rng.random(configurations) < 1 / 3)
    grok_step = [None if stop else int(one) for one, stop in zip(step, wanted & ~ran_on, strict=True)]
    return trials_of(
        configurations,
        training_fraction=0.2 + 0.6 * u,
        weight_decay=0.01 * 100**v,
        dropout=0.4 * w,
        grok_step=grok_step,
        outcome=["pruned" if one is None else "grokked" for one in grok_step],
        audited=ran_on,
        audit_probability=np.where(wanted, 1 / 3, np.nan),
    )


def test_other_seeds_agree_within_their_intervals_where_weights_differ():
    trials, space = audited(np.random.default_rng(0)), Space(axes=(FRACTION, DECAY, DROPOUT))
    one, other = (importance(trials, space, replicates=15, seed=seed) for seed in (0, 1))
    for side in ("fanova", "ped_anova"):
        first, second = getattr(one, side), getattr(other, side)
        assert first != second
        for name, estimate in first.items():
            assert estimate.lower < second[name].value < estimate.upper
            # One draw alone may lie anywhere in the interval; the mean of many lies where those of other seeds do.
            assert abs(estimate.value - second[name].value) < 0.5 * (estimate.upper - estimate.lower)
        assert sum(getattr(one, f"{side}_first").values()) == pytest.approx(1)
        assert getattr(one, f"{side}_first")["dropout"] < 0.5


def test_a_draw_takes_configurations_by_their_weights():
    rng, known, chance = np.random.default_rng(0), np.array([1, 2, 4]), np.array([9.0, 1.0, 3.0, 9.0, 2.0])
    drawn = np.concatenate([_draw(known, chance, rng) for _ in range(4000)])
    counts = np.bincount(drawn, minlength=5) / len(drawn)
    # Of the 27 equally likely bootstraps, the mean share of each one's weight.
    again = np.stack(np.meshgrid(known, known, known), axis=-1).reshape(-1, 3)
    weights = chance[again] / chance[again].sum(axis=1, keepdims=True)
    expected = [(weights * (again == one)).sum(axis=1).mean() for one in range(5)]
    assert counts == pytest.approx(expected, abs=0.01)


def test_more_configurations_have_fewer_draws():
    assert _draws(50, None) == {"fanova": 30, "ped_anova": 100}
    assert _draws(MAX_CONFIGURATIONS, None) == {"fanova": 10, "ped_anova": 20}
    assert _draws(50, 3) == {"fanova": 3, "ped_anova": 3}


@pytest.mark.parametrize(
    ("fanova", "ped_anova", "summary"),
    [
        ((0.95, 0.05), (0.9, 0.1), "Both put a first."),
        ((0.95, 0.05), (0.0, 1.0), "fANOVA puts a first, PED-ANOVA puts b first."),
        ((0.95, 0.05), (0.4, 0.6), "fANOVA puts a first, PED-ANOVA puts b first in 60 % of the draws only."),
        (
            (0.8, 0.2),
            (0.4, 0.6),
            "The order is not sure: fANOVA puts a first in 80 % of the draws only, PED-ANOVA puts b first in 60 % of "
            "the draws only.",
        ),
    ],
)
def test_the_headline_names_what_is_sure_alone(fanova, ped_anova, summary):
    firsts = {
        "fanova_first": dict(zip("ab", fanova, strict=True)),
        "ped_anova_first": dict(zip("ab", ped_anova, strict=True)),
    }
    found = Importance(of="grok_step", fanova={}, ped_anova={}, **firsts, configurations=50, notes=())
    assert _summary(found) == summary


def test_many_configurations_are_sampled_and_it_says_so():
    trials = sweep(np.random.default_rng(0), MAX_CONFIGURATIONS + 1)
    found = importance(trials, Space(axes=(FRACTION, DROPOUT)), replicates=1)
    assert found.notes == (f"of 2,001 configurations {MAX_CONFIGURATIONS:,} were drawn at random",)
    assert found.fanova["training_fraction"].value > 0.8


@pytest.mark.parametrize(
    ("trials", "axes", "reason"),
    [
        (sweep(np.random.default_rng(0), 19), (FRACTION, DECAY), "19 configurations are too few: 20 are needed"),
        (sweep(np.random.default_rng(0), 1), (FRACTION, DECAY), "1 configuration is too few: 20 are needed"),
        (sweep(np.random.default_rng(0), 30), (FRACTION,), "1 parameter varies"),
        (
            sweep(np.random.default_rng(0), 30, grok_step=[9] * 30),
            (FRACTION, DECAY),
            "all configurations are worth the",
        ),
    ],
)
def test_what_cannot_be_said_has_its_reason(trials, axes, reason):
    found = importance(trials, Space(axes=axes))
    assert found.fanova == found.ped_anova == {}
    assert found.notes[0].startswith(reason)


def test_the_rest_of_the_analysis_does_not_import_optuna():
    names = "phases, diagram, critical, robustness, variance, comparison, delay, importance"
    code = f"import sys; from grokray.analysis import {names}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "grokray.analysis.importance" in loaded
    assert not {"optuna", "torch", "ray"} & {*loaded}


def test_no_failure_ranks_before_a_success_with_a_longer_budget():
    """Of sweeps with different budgets read together."""
    trials = trials_of(
        3, num_steps=[5000, 20_000, 5000], grok_step=[None, 15_000, None], final_heldout_loss=[5, 0, 0.1]
    )
    value, _ = _values(trials, outcomes(trials), "grok_step")
    assert np.argsort(value).tolist() == [1, 2, 0]


def test_where_no_trial_grokked_nothing_is_important_for_its_step():
    loss = np.linspace(0.1, 5, 40)
    trials = trials_of(40, weight_decay=loss, dropout=loss[::-1] / 10, final_heldout_loss=loss)
    found = importance(trials)
    assert (found.fanova, found.notes[0]) == ({}, "no trial grokked")


def test_a_choice_counts_by_how_likely_its_values_are():
    """A step of 1 that one trial in ten has, beside a range that does as much: 0.09 against 1 / 12 of the variance."""
    rng, size = np.random.default_rng(1), 300
    dropout, other = rng.uniform(0, 0.4, size), rng.random(size) < 0.1
    trials = trials_of(
        size,
        operation=np.where(other, "x-y_mod", "x+y_mod").tolist(),
        dropout=dropout,
        grok_step=np.exp(7 + other + dropout / 0.4).astype(int).tolist(),
    )
    choice = Axis(name="operation", values=("x+y_mod", "x-y_mod"), probabilities=(0.9, 0.1))
    space = Space(axes=(choice, Axis(name="dropout", low=0, high=0.4)), method="random")
    found = importance(trials, space, replicates=1).fanova["operation"].value
    assert found == pytest.approx(0.09 / (0.09 + 1 / 12), abs=0.05)  # 0.75 where both are taken as equally likely


def test_a_study_copies_no_trial(monkeypatch):
    """Optuna's storage would: half of the time of all draws."""

    def copied(*_, **__):
        raise AssertionError("a trial is copied into the storage")

    monkeypatch.setattr(InMemoryStorage, "create_new_trial", copied)
    found = importance(sweep(np.random.default_rng(0), 40), Space(axes=(DECAY, FRACTION)), replicates=1)
    assert found.fanova
    assert found.ped_anova
