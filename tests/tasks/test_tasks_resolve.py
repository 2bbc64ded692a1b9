"""The door: translations, canonical form, and every problem named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grokray.errors import ConfigError
from grokray.tasks import ALIASES, OPERATIONS, operations_of
from grokray.tasks.draft import PARAMETERS
from grokray.tasks.resolve import left_out, resolve
from grokray.trial import TrialConfig


def problems(**parameters: Any) -> dict[str | None, str]:
    """Field to message; fails where a field is named twice."""
    with pytest.raises(ConfigError) as caught:
        resolve(parameters)
    found = {problem.field: problem.message for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems)
    return found


def test_nothing_given_is_the_default_trial() -> None:
    assert resolve({}) == TrialConfig()


@pytest.mark.parametrize("task_type", ["classification", "sequence"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_resolved_trial_resolves_to_itself(operation: str, task_type: str) -> None:
    config = resolve({"operation": operation, "task_type": task_type, "seed": 4})
    assert resolve(config.model_dump()) == config
    assert (config.modulus is None) == (OPERATIONS[operation].kind != "modular")


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ({"operation": "x/y"}, {}),
        ({"prime": 97}, {}),
        ({"prime": 113}, {"modulus": 113, "operand_limit": 113}),
        ({"prime": 113, "modulus": 113}, {"modulus": 113}),
        ({"base": 7, "digit_order": "least_first", "fixed_sequence_length": True}, {}),
        ({"task_type": "sequence"}, {"task_type": "sequence", "base": 10, "digit_order": "most_first"}),
        ({"operation": "x-y", "modulus": 98}, {"operation": "x-y"}),
        ({"operation": "x-y", "prime": 101}, {"operation": "x-y", "operand_limit": 97}),
        ({"seed": 3}, {"init_seed": 3, "split_seed": 3, "order_seed": 3}),
        ({"seed": 3, "split_seed": 0}, {"init_seed": 3, "order_seed": 3}),
        ({"seed": 0}, {}),
        ({"modulus": None, "operand_limit_out": None, "seed": None, "max_bit_length_train": None}, {}),
        ({"batch_size": 512.0, "num_steps": 2e4, "weight_decay": 1}, {}),
        ({"batch_size": np.int64(64), "weight_decay": np.float32(0.5)}, {"batch_size": 64, "weight_decay": 0.5}),
        ({"weight_decay": -0.0}, {"weight_decay": 0}),
        ({"operation": "x,y_abs_diff"}, {"operation": "xy_abs_diff"}),
        ({"operation": "x,y_max"}, {"operation": "expr:max(x, y)"}),
        ({"operation": "x,y_min"}, {"operation": "expr:min(x, y)"}),
        (
            {"operation": "x+y_binary_flipped"},
            {"operation": "x+y", "task_type": "sequence", "base": 2, "digit_order": "least_first"},
        ),
        (
            {"operation": "x+y_binary", "base": 5, "task_type": "sequence"},
            {"operation": "x+y", "task_type": "sequence", "base": 5},
        ),
        ({"operation": "x/y_binary"}, {"operation": "x/y_mod", "task_type": "sequence", "base": 2}),
    ],
)
def test_equal_trials_have_equal_ids(written: dict[str, Any], same: dict[str, Any]) -> None:
    assert resolve(written).id == resolve(same).id
    assert resolve(written) == resolve(same)


def test_another_trial_has_another_id() -> None:
    assert resolve({"task_type": "sequence"}).id != resolve({"task_type": "sequence", "base": 2}).id


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ({"max_bit_length_train": 97, "max_bit_length_val_out": 100}, (97, 100, 101)),
        ({"max_bit_length_train": 97}, (97, None, 97)),
        ({"max_bit_length_train": 50, "max_bit_length_val_out": 60, "modulus": 97}, (50, 60, 97)),
        ({"operand_limit": 50, "max_bit_length_val_out": 60}, (50, 60, 61)),
        ({"task_type": "sequence", "max_bit_length_train": 6}, (64, None, 67)),
        ({"task_type": "sequence", "max_bit_length_train": 6, "max_bit_length_val_out": 7}, (64, 128, 131)),
        ({"operation": "x-y", "task_type": "sequence", "max_bit_length_train": 6.0}, (64, None, None)),
        ({"operation": "x-y", "max_bit_length_train": 6, "max_bit_length_val_out": 7}, (6, 7, None)),
        ({"operation": "x+y_binary", "max_bit_length_train": 6}, (64, None, None)),
    ],
)
def test_bit_lengths_have_the_original_s_meaning(written: dict[str, Any], sizes: tuple[int | None, ...]) -> None:
    config = resolve(written)
    assert (config.operand_limit, config.operand_limit_out, config.modulus) == sizes


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        ({"operation": "x+y_mdo"}, "operation", "but there is no such operation; the nearest is x+y_mod"),
        (
            {"operation": "zebra"},
            "operation",
            "operation is 'zebra', but there is no such operation; there are x+y_mod, ",
        ),
        ({"operation": "a5_squared"}, "operation", "but there is no such operation"),
        (
            {"operation": "d1001"},
            "operation",
            "but there is no such operation; groups are s3 to s6, a4 to a6, d3 to d1000",
        ),
        ({"operation": "a5conj"}, "operation", "each also with _conjugate or _aba"),
        (
            {"operation": "zebra"},
            "operation",
            "arc, s3 to s6, a4 to a6, d3 to d1000 (also with _conjugate or _aba) and expr:FORMULA",
        ),
        (
            {"frozen_parts": ["head", "blocks", "embeddings"]},
            "frozen_parts",
            "but must leave out one of embeddings, blocks, head, or nothing is trained",
        ),
        ({"frozen_parts": []}, "frozen_parts", "frozen_parts is '', but must not be empty"),
        ({"frozen_parts": "body"}, "frozen_parts", "must name only embeddings, blocks, head; body is none of them"),
        ({"initial_parts": "head"}, "initial_parts", "'head', but means nothing where no initial_checkpoint is given"),
        (
            {"embedding_learning_rate": -1},
            "embedding_learning_rate",
            "embedding_learning_rate is -1.0, but must be at least 0",
        ),
        ({"learning_rat": 1}, "learning_rat", "learning_rat is not a parameter; the nearest is learning_rate"),
        ({"max_bit_length": 1}, "max_bit_length", "the nearest is max_bit_length_train"),
        ({"modulus": 98}, "modulus", "modulus is 98, but x/y_mod needs a prime; the nearest are 97 and 101"),
        ({"operation": "x/y", "prime": 4}, "prime", "prime is 4, but x/y_mod needs a prime; the nearest are 3 and 5"),
        (
            {"modulus": 65_536, "operand_limit": 97, "task_type": "sequence"},
            "modulus",
            "modulus is 65536, but x/y_mod needs a prime; the nearest is 65521",
        ),
        ({"prime": 97, "modulus": 101}, "prime", "prime is 97, but modulus is 101"),
        ({"operand_limit": 120}, "operand_limit", "operand_limit is 120, but must be at most the modulus, which is 97"),
        ({"modulus": 101, "operand_limit": 97, "operand_limit_out": 102}, "operand_limit_out", "at most the modulus"),
        (
            {"operation": "x-y", "operand_limit_out": 97},
            "operand_limit_out",
            "operand_limit_out is 97, but must be above operand_limit, which is 97",
        ),
        ({"training_fraction": 1.2}, "training_fraction", "training_fraction is 1.2, but must be less than 1"),
        ({"training_fraction": 0}, "training_fraction", "training_fraction is 0.0, but must be greater than 0"),
        ({"training_fraction": 1e-5}, "training_fraction", "of 9,312 pairs must leave at least one to train on"),
        (
            {"operation": "x-y", "operand_limit": 2, "training_fraction": 1 - 1e-16},
            "training_fraction",
            "and one to hold out",
        ),
        (
            {"operation": "x+y_mod,x/y_mod", "modulus": 2, "training_fraction": 0.3},
            "training_fraction",
            "of 2 pairs must leave at least one to train on",  # the sums are four
        ),
        (
            {"operation": "x+y", "operand_limit": 97, "operand_limit_out": 2001},
            "operand_limit_out",
            "operand_limit_out is 2001, which makes 4,004,001 pairs, but must make at most 4,000,000",
        ),
        (
            {"operation": "expr:x // (y - 5)", "operand_limit": 5, "operand_limit_out": 6},
            "operation",
            "at x = 0, y = 5",
        ),
        ({"optimizer": ["adamw"]}, "optimizer", 'optimizer is ["adamw"], but must be one of'),
        ({"base": 1, "task_type": "sequence"}, "base", "base is 1, but must be at least 2"),
        ({"batch_size": "64"}, "batch_size", "batch_size is '64', but must be a whole number"),
        ({"batch_size": True}, "batch_size", "batch_size is true, but must be a whole number"),
        ({"batch_size": 2.5}, "batch_size", "batch_size is 2.5, but must be a whole number"),
        ({"batch_size": None}, "batch_size", "batch_size is null, but must be a whole number"),
        ({"batch_size": [1, 2]}, "batch_size", "batch_size is [1, 2], but must be a whole number"),
        ({"sustain": 10**20}, "sustain", f"sustain is {10**20}, but must be at most 2147483647"),
        ({"operation": ""}, "operation", "operation is '', but there is no such operation; there are "),
        ({"operation": ","}, "operation", "operation is ',', but must name an operation on either side of each comma"),
        (
            {"operation": "x+y,"},
            "operation",
            "operation is 'x+y,', but must name an operation on either side of each comma",
        ),
        ({"num_steps": float("inf")}, "num_steps", "num_steps is inf, but must be a whole number"),
        ({"learning_rate": "1e-3"}, "learning_rate", "learning_rate is '1e-3', but must be a number"),
        ({"learning_rate": float("nan")}, "learning_rate", "learning_rate is nan, but must be finite"),
        ({"weight_decay": 10**400}, "weight_decay", "weight_decay is 100000"),
        ({"weight_decay": True}, "weight_decay", "weight_decay is true, but must be a number"),
        ({"continue_training": 1}, "continue_training", "continue_training is 1, but must be true or false"),
        ({"task_type": "seq"}, "task_type", "must be one of 'classification' or 'sequence'"),
        ({"operation": 3}, "operation", "operation is 3, but must be a text"),
        ({"seed": -1}, "seed", "seed is -1, but must be at least 0"),
        ({"precision": "tf32", "dtype": "float64"}, "precision", "but must be float32 where dtype is float64"),
        ({"num_heads": 3}, "num_heads", "num_heads is 3, but must divide dim_model, which is 128"),
        (
            {"operation": "x+y_binary", "task_type": "classification"},
            "task_type",
            "task_type is 'classification', but operation x+y_binary means sequence",
        ),
        (
            {"operation": "x+y_binary_flipped", "digit_order": "most_first"},
            "digit_order",
            "digit_order is 'most_first', but operation x+y_binary_flipped means least_first",
        ),
        (
            {"max_bit_length_train": 97, "operand_limit": 50},
            "max_bit_length_train",
            "max_bit_length_train is 97, which means operand_limit 97, but operand_limit is 50",
        ),
        ({"max_bit_length_val_out": 100}, "max_bit_length_val_out", "needs max_bit_length_train or operand_limit"),
        ({"max_bit_length_train": 1}, "max_bit_length_train", "must be at least 2"),
        ({"task_type": "sequence", "max_bit_length_train": 17}, "max_bit_length_train", "at most 16"),
        (
            {"operation": "x+y_binary", "max_bit_length_train": 11},
            "max_bit_length_train",
            "max_bit_length_train is 11, which makes 4,194,304 pairs, but must make at most 4,000,000",
        ),
        (
            {"task_type": "sequence", "modulus": 9973},
            "modulus",
            "modulus is 9973, which makes 99,450,756 pairs, but must make at most 4,000,000",
        ),
        (
            {"modulus": 9973, "operand_limit": 97},
            "modulus",
            "modulus is 9973, which makes a vocabulary of 9,975, but must make at most 8,192",
        ),
    ],
)
def test_one_fault_is_one_problem_with_value_and_rule(written: dict[str, Any], field: str, message: str) -> None:
    found = problems(**written)
    assert list(found) == [field], found
    assert message in found[field]


def test_all_problems_are_found_at_once() -> None:
    found = problems(
        modulus=98, training_fraction=1.2, num_heads=3, learning_rat=1, batch_size="64", operand_limit_out=5, seed="x"
    )
    assert set(found) == {
        "modulus",
        "training_fraction",
        "num_heads",
        "learning_rat",
        "batch_size",
        "operand_limit_out",
        "seed",
    }


def test_what_follows_from_a_fault_is_not_reported_as_well() -> None:
    assert list(problems(modulus="101x", operand_limit=100, operand_limit_out=101)) == ["modulus"]
    assert list(problems(task_type="seq", max_bit_length_train=6, max_bit_length_val_out=7)) == ["task_type"]
    assert list(problems(prime=97, modulus="97x", max_bit_length_train="x")) == ["modulus", "max_bit_length_train"]
    assert list(problems(num_heads="x", dim_model=30)) == ["num_heads"]
    assert list(problems(precision="tf32", dtype="float")) == ["dtype"]
    assert list(problems(operation="parity", list_length="x", parity_bits=41)) == ["list_length"]


def test_bounds_are_what_may_still_be() -> None:
    assert resolve({"operation": "x+y", "operand_limit": 2000}).operand_limit == 2000, "4,000,000 pairs"
    assert resolve({"operation": "x+y_mod", "modulus": 8190, "operand_limit": 97}).modulus == 8190, "8,192 tokens"


def test_parameters_are_the_clear_names_and_the_original_s() -> None:
    extra = {"prime", "seed", "max_bit_length_train", "max_bit_length_val_out", "multitask"}
    assert set(PARAMETERS) == set(TrialConfig.model_fields) | extra
    assert len(PARAMETERS) == len(set(PARAMETERS))


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_resolves(name: str) -> None:
    operation = resolve({"operation": name}).operation
    assert operation in OPERATIONS or operation.startswith("expr:")


@pytest.mark.parametrize(("name", "answer"), [("x,y_max", 9), ("x,y_min", 4)])
def test_the_original_s_maximum_and_minimum_take_nothing_away(name: str, answer: int) -> None:
    (operation,) = operations_of(resolve({"operation": name}).operation)
    assert operation.answer(4, 9, None) == operation.answer(9, 4, None) == answer


def test_the_parameters_given_are_left_as_they_are() -> None:
    given = {"operation": "x/y", "prime": 101, "batch_size": 64.0}
    resolve(given)
    assert given == {"operation": "x/y", "prime": 101, "batch_size": 64.0}


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        (
            {"base": 3, "digit_order": "least_first", "fixed_sequence_length": True, "weight_decay": 1.0},
            "base digit_order fixed_sequence_length",
        ),
        ({"base": 3, "task_type": "sequence", "digit_order": "least_first", "operation": "x+y"}, ""),
        ({"operation": "s5", "modulus": 11, "weight_decay": 0.5}, "modulus"),
        ({"operation": "s5", "prime": 11}, "prime"),
        ({"operation": "x/y", "prime": 97, "multitask": False, "seed": 3}, ""),
        ({"grokfast_alpha": 0.9, "grokfast_lambda": 2.0}, "grokfast_alpha"),
        ({"grokfast_alpha": 0.9, "gradient_filter": "grokfast_ema"}, ""),
        ({"optimizer": "sgd", "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}, "beta2 epsilon"),
        ({"optimizer": "muon", "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}, ""),
        ({"learning_rate_end": 0.1}, "learning_rate_end"),
        ({"learning_rate_end": 0.1, "learning_rate_schedule": "linear"}, ""),
        ({"measure": ["weight_norm"], "base": None, "learning_rate": np.float64(1e-2)}, ""),
        ({"measure": []}, ""),
        ({"measure": "weight_norm,fourier_gini"}, ""),
        ({"measure": "softmax_collapse"}, ""),
        ({"measure": "softmax_collapse", "loss": "stablemax"}, ""),
        ({"arc_context": 2, "list_length": 3}, "arc_context list_length"),
        ({"embedding_learning_rate": 0.0, "frozen_parts": ["head", "blocks"]}, ""),
        (
            {"embedding_learning_rate": 0.1, "embedding_weight_decay": 0.0, "frozen_parts": "embeddings"},
            "embedding_learning_rate embedding_weight_decay",
        ),
        ({"initial_checkpoint": None, "initial_parts": "blocks"}, "initial_parts"),
        ({"initial_checkpoint": "w.pt", "initial_parts": ["head", "blocks", "embeddings"]}, ""),
        ({"initial_checkpoint": "w.pt", "init_scale": 2.0, "embedding_scale": 2.0}, "init_scale embedding_scale"),
        (
            {"initial_checkpoint": "w.pt", "initial_parts": "embeddings", "init_scale": 2.0, "embedding_scale": 2.0},
            "embedding_scale",
        ),
        ({"initial_checkpoint": "w.pt", "initial_parts": "head", "init_scale": 2.0, "embedding_scale": 2.0}, ""),
    ],
)
def test_what_a_trial_has_no_use_for_is_known(given: dict[str, Any], unused: str) -> None:
    assert left_out(given, resolve(given)) == {*unused.split()}


def test_logits_that_are_no_probabilities_do_not_collapse() -> None:
    given = {"loss": "mse", "measure": "softmax_collapse,weight_norm"}
    assert left_out(given, resolve(given)) == {"measure softmax_collapse"}


@pytest.mark.parametrize("given", [{"task_type": "sequence"}, {"operation": "s5"}, {"operation": "x+y"}])
def test_residues_are_measured_in_classifications_modulo_p_only(given: dict[str, Any]) -> None:
    given = {**given, "measure": "fourier_gini,weight_norm"}
    assert left_out(given, resolve(given)) == {"measure fourier_gini"}


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ({"operation": "s5,x+y_mod"}, 97),
        ({"operation": "s5,x+y_mod", "modulus": 211}, 120),
        ({"operation": "s4,s5"}, 24),
        ({"operation": "x+y", "max_bit_length_train": 2}, 2),
        ({"operation": "x+y", "task_type": "sequence", "max_bit_length_train": 1}, 2),
    ],
)
def test_operands_are_such_as_every_task_has(written: dict[str, Any], limit: int) -> None:
    assert resolve(written).operand_limit == limit
