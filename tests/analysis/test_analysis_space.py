from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from grokray.analysis.robustness import robustness
from grokray.analysis.space import Axis, Space, narrowed, space_of_sweep, space_of_trials
from tests.analysis.tables import grokking, trials_of

TASK = Axis(name="task_type", values=("classification", "sequence"), probabilities=(0.5, 0.5))
BASE = Axis(name="base", values=(2, 10), probabilities=(0.5, 0.5), when={"task_type": ("sequence",)})
DECAY = Axis(name="weight_decay", kind="log", low=0.01, high=1)


def fingerprint(method: str = "random", **parameters) -> dict[str, str]:
    specs = {f"parameters.{name}": json.dumps(spec) for name, spec in parameters.items()}
    return {"method": json.dumps(method), "parameters": json.dumps(list(parameters)), **specs}


def test_trials_lie_at_their_quantiles_and_absent_parameters_nowhere():
    trials = trials_of(
        3,
        task_type=["classification", "sequence", "sequence"],
        base=[None, 10, 2],
        weight_decay=[0.01, 0.1, 1.0],
    )
    points = Space(axes=(TASK, BASE, DECAY)).points(trials)
    assert points[:, 0].tolist() == [0, 1, 1]
    assert np.isnan(points[0, 1])
    assert points[1:, 1].tolist() == [1, 0]
    assert points[:, 2] == pytest.approx([0, 0.5, 1])


def test_even_points_are_of_the_spaces_measure():
    even = Space(axes=(TASK, BASE, DECAY)).even(1024)
    sequence = even[:, 0] == 1
    assert sequence.mean() == pytest.approx(0.5, abs=0.01)
    assert np.isnan(even[~sequence, 1]).all()
    assert np.mean(even[sequence, 1]) == pytest.approx(0.5, abs=0.02)
    assert stats.kstest(even[:, 2], "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("spec", "value", "quantile"),
    [
        ({"distribution": "uniform", "min": 0.2, "max": 0.8}, 0.35, 0.25),
        ({"distribution": "log_uniform_values", "min": 0.01, "max": 100}, 1, 0.5),
        ({"distribution": "log_uniform", "min": -2, "max": 2}, math.e, 0.75),
        ({"distribution": "int_uniform", "min": 1, "max": 4}, 2, 0.375),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}, 0, 1 / 6),
        ({"distribution": "q_uniform", "min": 0.2, "max": 1.1, "q": 0.5}, 1, 0.75),
        ({"distribution": "q_uniform", "min": 1, "max": 4}, 2, 0.375),
        ({"distribution": "normal", "mu": 1, "sigma": 2}, 3, stats.norm.cdf(1)),
        ({"distribution": "normal", "mu": 0, "sigma": 1, "min": 0}, 1, 2 * (stats.norm.cdf(1) - 0.5)),
        ({"distribution": "log_normal", "mu": 0, "sigma": 1}, 1, 0.5),
    ],
)
def test_each_distribution_has_its_quantiles(spec, value, quantile):
    trials = trials_of(2, weight_decay=[value, value])
    (axis,) = space_of_sweep(fingerprint(weight_decay=spec), trials).axes
    assert axis.to_unit(np.array([float(value)]))[0] == pytest.approx(quantile)
    assert axis.from_unit(np.array([quantile]))[0] == pytest.approx(value)


def test_the_space_of_a_sweep_leaves_out_what_is_fixed_and_puts_parents_first():
    trials = trials_of(2, task_type=["classification", "sequence"], base=[None, 2])
    found = space_of_sweep(
        fingerprint(
            "tpe",
            base={"values": [2, 10], "when": {"task_type": "sequence"}},
            modulus={"value": 97},
            task_type={"values": ["classification", "sequence"], "probabilities": [0.25, 0.75]},
        ),
        trials,
    )
    assert found.method == "tpe"
    assert [axis.name for axis in found.axes] == ["task_type", "base"]
    assert found.axes[0].probabilities == (0.25, 0.75)
    assert found.axes[1].when == {"task_type": ("sequence",)}
    assert found.notes == ()


def test_a_sweeps_own_fingerprint_is_understood(tmp_path):
    from grokray.sweep.load import load_sweep

    config = load_sweep("search_spaces/robust.yaml")
    trials = trials_of(2, task_type=["classification", "sequence"], base=[None, 64])
    space = space_of_sweep(config.fingerprint(), trials)
    assert [axis.name for axis in space.axes] == ["task_type", "base", "weight_decay", "dropout", "training_fraction"]
    assert (space.axes[2].kind, space.axes[2].low, space.axes[2].high) == ("log", 0.01, 3)


def test_one_folder_of_data_is_no_parameter():
    trials = trials_of(2, weight_decay=[0.1, 1.0], data_dir="elsewhere")
    data = {"holds": ["ab12"], "distribution": "constant"}
    space = space_of_sweep(fingerprint("tpe", data_dir=data, weight_decay={"values": [0.1, 1.0]}), trials)
    assert ([axis.name for axis in space.axes], space.method, space.notes) == (["weight_decay"], "tpe", ())


def test_how_trials_are_watched_is_no_parameter():
    space = space_of_trials(trials_of(4, threshold=[0.3, 0.6, 0.3, 0.6], dropout=[0.0, 0.0, 0.1, 0.1]))
    assert [axis.name for axis in space.axes] == ["dropout"]


def test_names_of_the_original_are_replaced_by_what_varies():
    trials = trials_of(3, modulus=[97, 101, 97], operation=["x+y", "x+y", "x-y"], dropout=[0, 0.1, 0.2])
    found = space_of_sweep(
        fingerprint(
            prime={"values": [97, 101]},
            operation={"values": ["x+y_binary", "x-y"]},
            dropout={"distribution": "uniform", "min": 0, "max": 0.5},
        ),
        trials,
    )
    assert {axis.name for axis in found.axes} == {"modulus", "operation", "dropout"}
    assert [note.split(":")[0] for note in found.notes] == ["prime, operation"]


def test_a_guessed_space_has_conditions_and_leaves_out_what_follows():
    rng = np.random.default_rng(0)
    sequence = rng.random(60) < 0.5
    trials = trials_of(
        60,
        task_type=np.where(sequence, "sequence", "classification").tolist(),
        base=[int(rng.choice([2, 10])) if yes else None for yes in sequence],
        fixed_sequence_length=sequence,
        weight_decay=np.exp(rng.uniform(-5, 1, 60)),
        dropout=rng.uniform(0, 0.4, 60),
    )
    axes = {axis.name: axis for axis in space_of_trials(trials).axes}
    assert list(axes) == ["task_type", "base", "dropout", "weight_decay"]
    assert axes["base"].when == {"task_type": ("sequence",)}
    assert (axes["weight_decay"].kind, axes["dropout"].kind) == ("log", "uniform")


def test_probabilities_of_a_whole_grid_sum_to_one():
    space = Space(axes=(TASK, BASE), method="grid")
    points = space.points(trials_of(3, task_type=["classification", "sequence", "sequence"], base=[None, 2, 10]))
    assert space.probabilities(points).tolist() == [0.5, 0.25, 0.25]
    assert Space(axes=(TASK, DECAY)).probabilities(np.array([[0, 0.5], [1, np.nan]])).tolist() == [0, 0.5]


@pytest.mark.parametrize(
    "spec",
    [
        {"distribution": "int_uniform", "min": 1, "max": 4},
        {"distribution": "q_uniform", "min": 0.2, "max": 1.1, "q": 0.25},
        {"distribution": "q_log_uniform_values", "min": 1.7, "max": 7.2, "q": 1},
        {"distribution": "q_log_uniform", "min": 0, "max": 2},
        {"distribution": "q_normal", "mu": 2, "sigma": 1, "q": 1},
        {"distribution": "q_normal", "mu": 2, "sigma": 1, "q": 0.5, "min": 0.8, "max": 2.4},
        {"distribution": "q_log_normal", "mu": 0.5, "sigma": 0.3, "q": 0.5, "max": 4},
    ],
)
def test_the_multiples_of_a_range_are_as_likely_as_the_search_draws_them(spec):
    from grokray.sweep.parameters import Parameter

    drawn = Parameter.model_validate(spec)
    values, counts = np.unique([drawn.from_unit(u) for u in (np.arange(20_000) + 0.5) / 20_000], return_counts=True)
    (axis,) = space_of_sweep(fingerprint(weight_decay=spec), trials_of(2, weight_decay=[values[0], values[1]])).axes
    chances = axis.chances(axis.to_unit(values.astype(float)))
    assert len(values) > 2
    assert chances == pytest.approx(counts / 20_000, abs=2e-4)
    assert chances.sum() == pytest.approx(1, abs=1e-4)  # of tails the farthest are left out


def test_a_grid_of_whole_numbers_is_whole():
    layers = {"distribution": "int_uniform", "min": 1, "max": 3}
    trials = trials_of(3, num_layers=[1, 2, 3], grok_step=[None, 100, 100])
    found = robustness(trials, space_of_sweep(fingerprint("grid", num_layers=layers), trials))
    assert (found.adaptive, found.share.value) == (False, pytest.approx(2 / 3))
    short = trials.slice(0, 2)
    assert robustness(short, space_of_sweep(fingerprint("grid", num_layers=layers), short)).adaptive


def test_of_whole_numbers_a_part_ends_where_its_trials_end_unless_some_are_missing():
    layers = {"distribution": "int_uniform", "min": 1, "max": 10}
    trials = trials_of(8, num_layers=[3, 4, 5, 6, 7, 8, 9, 10])
    (axis,) = narrowed(space_of_sweep(fingerprint("grid", num_layers=layers), trials), trials).axes
    assert (axis.low, axis.high) == (2.5, 10.5)
    sparse = trials_of(4, num_layers=[3, 5, 6, 10])
    (axis,) = narrowed(space_of_sweep(fingerprint("grid", num_layers=layers), sparse), sparse).axes
    assert (axis.low, axis.high) == (0.5, 10.5)


@pytest.mark.parametrize("configurations", [10, 40])
def test_no_range_of_few_configurations_says_what_the_others_say(configurations):
    rng = np.random.default_rng(1)
    columns = {name: np.repeat(rng.uniform(0.2, 0.8, configurations), 3) for name in ("training_fraction", "dropout")}
    columns |= {"weight_decay": np.exp(np.repeat(np.linspace(-4, 1, configurations), 3))}
    trials = trials_of(3 * configurations, configuration=np.repeat(np.arange(configurations), 3), **columns)
    assert {axis.name for axis in space_of_trials(trials).axes} == columns.keys()


def test_what_always_changes_with_another_one_is_left_out():
    layers = np.repeat([1, 2, 3], 4)
    trials = trials_of(12, num_layers=layers, dim_model=layers * 32, weight_decay=np.tile([0.1, 0.2, 0.5, 1], 3))
    assert {axis.name for axis in space_of_trials(trials).axes} == {"num_layers", "weight_decay"}


def test_a_part_of_a_space_is_what_its_trials_span():
    whole = Space(
        axes=(
            Axis(name="task_type", values=("classification", "sequence"), probabilities=(0.5, 0.5)),
            Axis(name="base", values=(2, 10, 64), probabilities=(0.2, 0.2, 0.6), when={"task_type": ("sequence",)}),
            Axis(name="weight_decay", kind="log", low=0.01, high=1),
            Axis(name="dropout", low=0, high=0.4),
        ),
        method="grid",
    )
    decays, dropouts = np.geomspace(0.1, 0.98, 21), np.linspace(0.01, 0.39, 21)
    trials = trials_of(21, task_type="sequence", base=[2, 64, 64] * 7, weight_decay=decays, dropout=dropouts)
    base, decay, dropout = narrowed(whole, trials).axes
    assert (base.values, base.probabilities, base.when) == ((2, 64), pytest.approx((0.25, 0.75)), {})
    assert (decay.low, decay.high) == (pytest.approx(0.1 / 9.8 ** (1 / 40)), 1)
    assert (dropout.low, dropout.high) == (0, 0.4)
    alike = trials_of(3, task_type=["sequence", "classification", "sequence"], base=[2, None, 2])
    assert [axis.name for axis in narrowed(whole, alike).axes] == ["task_type"]
    mixed = trials_of(3, task_type=["sequence", "classification", "sequence"], base=[2, None, 10])
    (_, base) = narrowed(whole, mixed).axes
    assert base.when == {"task_type": ("sequence",)}


@pytest.mark.parametrize(
    ("used", "parameters", "columns"),
    [
        (
            "initial_optimizer",
            {"initial_checkpoint": [None, "a.pt"], "initial_optimizer": ["zero", "checkpoint"]},
            {"initial_checkpoint": [None, "a.pt", "a.pt"], "initial_optimizer": ["zero", "zero", "checkpoint"]},
        ),
        (
            "init_scale",
            {"initial_checkpoint": ["a.pt", None], "init_scale": [0.5, 2]},
            {"initial_checkpoint": ["a.pt", None, None], "init_scale": [1, 0.5, 2]},
        ),
        (
            "initial_parts",
            {"initial_checkpoint": [None, "a.pt"], "initial_parts": ["head, blocks", "head"]},
            {"initial_checkpoint": [None, "a.pt", "a.pt"], "initial_parts": [None, "blocks,head", "head"]},
        ),
        (
            "embedding_learning_rate",
            {"frozen_parts": ["head,embeddings", None], "embedding_learning_rate": [0, 1e-3]},
            {
                "frozen_parts": ["embeddings,head", None, None],
                "embedding_learning_rate": [None, 0.0, 1e-3],
            },
        ),
        (
            "grokfast_lambda",
            {"gradient_filter": ["none", "grokfast_ema"], "grokfast_lambda": [1, 3]},
            {"gradient_filter": ["none", "grokfast_ema", "grokfast_ema"], "grokfast_lambda": [2, 1, 3]},
        ),
        (
            "learning_rate_end",
            {"learning_rate_end": [0, 0.1], "learning_rate_schedule": ["constant", "cosine"]},
            {"learning_rate_end": [0, 0, 0.1], "learning_rate_schedule": ["constant", "cosine", "cosine"]},
        ),
    ],
)
def test_a_whole_grid_is_whole_though_values_that_nothing_uses_made_trials_equal(used, parameters, columns):
    trials = trials_of(3, **columns, grok_step=grokking([True, False, False]))
    space = space_of_sweep(fingerprint("grid", **{name: {"values": v} for name, v in parameters.items()}), trials)
    assert space.notes == ()
    found = robustness(trials, space)
    assert (found.adaptive, found.share.value) == (False, pytest.approx(0.5))
    assert {one.name: one.configurations.tolist() for one in found.profiles}[used] == [1, 1]


def test_a_condition_that_is_written_down_is_not_widened_to_all_that_would_have_a_use_for_it():
    parameters = {
        "initial_checkpoint": {"values": [None, "a.pt", "b.pt"]},
        "initial_parts": {"values": ["head", "blocks"], "when": {"initial_checkpoint": "b.pt"}},
    }
    columns = {
        "initial_checkpoint": [None, "a.pt", "b.pt", "b.pt"],
        "initial_parts": [None, "embeddings,blocks,head", "head", "blocks"],
    }
    trials = trials_of(4, **columns, grok_step=grokking([True, False, False, False]))
    space = space_of_sweep(fingerprint("grid", **parameters), trials)
    (axis,) = (axis for axis in space.axes if axis.name == "initial_parts")
    assert axis.when == {"initial_checkpoint": ("b.pt",)}
    assert space.notes == ()
    assert robustness(trials, space).share.value == pytest.approx(1 / 3)  # of even draws, as random search makes them


def test_where_parts_are_drawn_beside_a_checkpoint_the_scale_of_drawn_weights_has_its_use():
    parameters = {
        "initial_checkpoint": {"values": [None, "a.pt"]},
        "initial_parts": {"value": "blocks"},
        "init_scale": {"values": [0.5, 2]},
    }
    columns = {
        "initial_checkpoint": [None, None, "a.pt", "a.pt"],
        "initial_parts": [None, None, "blocks", "blocks"],
        "init_scale": [0.5, 2, 0.5, 2],
    }
    trials = trials_of(4, **columns, grok_step=grokking([False, False, False, True]))
    space = space_of_sweep(fingerprint("grid", **parameters), trials)
    assert {axis.name: axis.when for axis in space.axes} == {"initial_checkpoint": {}, "init_scale": {}}
    assert robustness(trials, space).share.value == pytest.approx(0.25)
