"""Covariates out of trials.parquet: units, zeros, absences, what is left out and why."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from grokray.analysis.aft import best_aft
from grokray.analysis.cox import fit_cox
from grokray.analysis.design import CAUSES, Design, design_of
from grokray.analysis.effects import find
from grokray.analysis.times import times_of
from grokray.records.schema import CONFIG_FIELDS, TRIALS_SCHEMA
from grokray.trial import TrialConfig


def column(design: Design, name: str) -> np.ndarray:
    return design.matrix[:, design.names.index(name)]


def test_units():
    trials = pa.table(
        {
            "weight_decay": [0.5, 1.0, 2.0, 1.0, 0.5],
            "dropout": [0.0, 0.1, 0.1, 0.3, 0.2],
            "training_fraction": [0.3, 0.5, 0.4, 0.5, 0.7],
            "learning_rate": [1e-4, 1e-2, 1e-3, 1e-3, 1e-2],
            "num_layers": [1, 2, 4, 1, 1],
            "norm": ["pre", "pre", "post", "pre", "post"],
            "modulus": [97] * 5,
        }
    )
    design = design_of(trials)
    assert dict(zip(design.names, design.labels, strict=True)) == {
        "weight_decay": "a doubling of weight_decay",
        "dropout": "dropout + 0.1",
        "training_fraction": "training_fraction + 0.1",
        "num_layers": "num_layers + 1",
    }
    assert column(design, "weight_decay").tolist() == [-1, 0, 1, 0, -1]
    assert column(design, "dropout") == pytest.approx([0, 1, 1, 3, 2])
    # Five trials and an intercept leave room for four columns.
    assert set(design.left_out) == {"learning_rate", "norm = post"}


def test_texts_against_the_most_frequent_and_wide_numbers_in_doublings():
    design = design_of(pa.table({"norm": ["pre", "pre", "post", "input"], "learning_rate": [1e-4, 1e-2, 1e-3, 1e-2]}))
    assert design.labels == ("norm input instead of pre", "norm post instead of pre", "a doubling of learning_rate")
    assert design.indicator == (True, True, False)
    assert column(design, "norm = post").tolist() == [0, 0, 1, 0]


def test_of_equally_frequent_texts_the_default_stands_for_the_others_unless_none_of_it_grokked():
    optimizers = {"optimizer": ["adam", "adamw", "muon", "sgd"] * 3}
    assert design_of(pa.table(optimizers)).labels[0] == "optimizer adam instead of adamw"
    grokked = [False, False, True, False] * 3
    found = design_of(pa.table({**optimizers, "event_observed": grokked}))
    assert [label.split(" instead of ")[1] for label in found.labels] == ["muon"] * 3


def test_no_weight_decay_is_apart():
    design = design_of(pa.table({"weight_decay": [0.0, 0.25, 4.0, 0.0, 1.0]}))
    assert design.labels == ("a doubling of weight_decay", "weight_decay 0 instead of 1")
    assert column(design, "weight_decay").tolist() == [0, -2, 2, 0, 0]
    assert column(design, "weight_decay = 0").tolist() == [1, 0, 0, 1, 0]


def test_no_weight_decay_or_one_value():
    design = design_of(pa.table({"weight_decay": [0.0, 2.0, 0.0]}))
    assert design.names == ("weight_decay = 0",)
    assert design.left_out == {"weight_decay": "it does not vary above 0"}
    some = design_of(pa.table({"base": pa.array([None, 2, 4], pa.int64())})).select(np.array([True, True, False]))
    assert some.independent().left_out["base"] == "it does not vary where there is one"


def test_trials_without_a_base():
    bases = pa.array([None, None, 2, 8, 32], pa.int64())
    kinds = ["classification"] * 2 + ["sequence"] * 3
    design = design_of(pa.table({"base": bases, "task_type": kinds}))
    assert column(design, "base").tolist() == [3, 3, 1, 3, 5]
    assert column(design, "task_type = classification").tolist() == [1, 1, 0, 0, 0]
    assert design.left_out == {"no base": "it says no more than task_type = classification"}


def test_seeds_and_budgets_are_no_causes():
    assert not {"init_seed", "split_seed", "order_seed", "num_steps", "eval_interval"} & {*CAUSES}
    assert {*CAUSES} <= {*CONFIG_FIELDS}


def test_too_many_levels_and_flags():
    table = pa.table({"operation": [f"expr:x + {k}" for k in range(30)], "fixed_sequence_length": [True, False] * 15})
    design = design_of(table)
    assert design.left_out == {"operation": "it has 30 values, but must have at most 20"}
    assert design.labels == ("fixed_sequence_length true instead of false",)


def test_the_records_own_empty_table():
    design = design_of(TRIALS_SCHEMA.empty_table())
    assert design.matrix.shape == (0, 0)


def test_what_follows_from_others_is_left_out():
    x, y = np.array([1.0, 2, 3, 5]), np.array([0.0, 1, 0, 1])
    design = Design.of(x=x, one=np.ones(4), sum=2 * x - y + 7, y=y).independent()
    assert design.names == ("x", "sum")
    assert design.left_out == {"one": "it does not vary", "y": "it says no more than x, sum"}


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_a_sweep_over_everything_with_the_records_own_columns(kind):
    generator = np.random.default_rng(0)
    rows = []
    for number in range(300):
        base = [None, 2, 10, 64][number % 4]
        config = TrialConfig(
            task_type="classification" if base is None else "sequence",
            base=base,
            digit_order=None if base is None else "most_first",
            fixed_sequence_length=base is not None,
            weight_decay=0.0 if number % 10 == 0 else 10 ** generator.uniform(-2, 0.5),
            dropout=generator.uniform(0, 0.4),
            training_fraction=generator.uniform(0.2, 0.8),
            init_seed=number,
        )
        grokked = number % 10 != 0 and generator.random() < config.training_fraction
        grok_step = int(generator.integers(1, 200)) * 100 if grokked else None
        rows.append(
            {name: None for name in TRIALS_SCHEMA.names}
            | config.model_dump()
            | {"trial_id": config.id, "trial_index": number, "configuration": number // 3, "state": "ended"}
            | {"outcome": "grokked" if grokked else "budget", "censor_reason": None if grokked else "budget"}
            | {"grok_step": grok_step, "grok_step_lower": grok_step and grok_step - 100}
            | {"duration_steps": grok_step or 20_000, "event_observed": grokked, "steps_trained": 20_000}
        )
    trials = pa.Table.from_pylist(rows, schema=TRIALS_SCHEMA)
    given = trials if kind == "arrow" else trials.to_pandas()
    design, times = design_of(given), times_of(given)
    assert design.names == (
        *("weight_decay", "weight_decay = 0", "dropout", "training_fraction", "base", "task_type = classification"),
    )
    assert {*design.left_out} == {"digit_order = none", "fixed_sequence_length = false", "no base"}
    for fit in (*best_aft(times, design), fit_cox(times, design)):
        assert find(fit.effects, "weight_decay = 0").reason == "none of the 30 trials with it grokked"
        assert [effect.name for effect in fit.effects if effect.reason] == ["weight_decay = 0"]
        assert (fit.trials, fit.certain) == (270, 30)
    assert find(best_aft(times, design)[0].effects, "training_fraction").upper < 1
