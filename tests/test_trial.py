from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from grokray.trial import TrialConfig


def test_equal_configs_have_equal_ids_and_every_field_counts():
    base = TrialConfig()
    assert TrialConfig(weight_decay=1.0).id == base.id
    changed = {
        "operation": "x+y_mod",
        "training_fraction": 0.4,
        "num_layers": 3,
        "norm": "post",
        "dropout": 0.1,
        "learning_rate": 3e-4,
        "num_steps": 5,
        "init_seed": 1,
        "split_seed": 1,
        "order_seed": 1,
        "eval_interval": 10,
        "continue_training": True,
    }
    ids = {TrialConfig(**{name: value}).id for name, value in changed.items()}
    assert len(ids | {base.id}) == len(changed) + 1


def test_ids_are_the_same_on_every_machine_and_in_every_version():
    """A change here orphans the folders of every sweep there is: raise TRIAL_VERSION only if training changed."""
    assert TrialConfig().id == "ede0de8074924080"
    assert TrialConfig(operation="x+y_mod", weight_decay=0.3, init_seed=7).id == "6a415827f464ac7a"


def test_whole_numbers_have_an_upper_bound():
    counts = ("warmup_steps", "num_steps", "eval_interval", "eval_train_rows", "sustain")
    TrialConfig(**dict.fromkeys(counts, 2**31 - 1))
    whole = [
        name
        for name, field in TrialConfig.model_fields.items()
        if int in (field.annotation, *get_args(field.annotation))
    ]
    assert {*counts} <= {*whole}
    for name in whole:
        with pytest.raises(ValidationError, match="less than"):
            TrialConfig(**{name: 10**20})


@pytest.mark.parametrize(
    "fields", [{"training_fraction": 1.0}, {"dropout": 1.0}, {"learning_rate": 0.0}, {"num_heads": 3}, {"unknown": 1}]
)
def test_what_no_trial_can_have_is_refused(fields):
    with pytest.raises(ValidationError):
        TrialConfig(**fields)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        TrialConfig().num_steps = 3
