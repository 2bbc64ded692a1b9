"""A search space in use: grids, conditions, Optuna, Sobol points, trials, the resolved file, the fingerprint."""

import itertools

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from grokray.errors import ConfigError
from grokray.sweep import space
from grokray.sweep.config import SweepConfig
from grokray.sweep.load import load_text
from grokray.sweep.parameters import Parameter
from grokray.sweep.sections import Asha
from grokray.trial import TrialConfig

CONDITIONAL = """
method: {method}
num_trials: 40
seeds: [0, 1]
parameters:
  digit_order: {{values: [most_first, least_first], when: {{base: [2, 10]}}}}
  task_type: {{values: [classification, sequence]}}
  base: {{values: [2, 10, 64], when: {{task_type: sequence}}}}
  modulus: {{value: 23}}
  training_fraction: {{values: [0.3, 0.5]}}
"""


def load(text: str, *overrides: str) -> SweepConfig:
    return load_text(text, "f.yaml", "f", overrides=overrides)


def conditional(method: str = "grid") -> SweepConfig:
    return load(CONDITIONAL.format(method=method))


def is_consistent(parameters: dict) -> bool:
    has_base = parameters["task_type"] == "sequence"
    has_order = has_base and parameters["base"] in (2, 10)
    return ("base" in parameters) == has_base and ("digit_order" in parameters) == has_order


def test_grid_is_the_product_in_file_order() -> None:
    config = load(
        "method: grid\nparameters:\n  num_layers: {values: [2, 1]}\n  base: {value: 7}\n  batch_size: {min: 5, max: 7}"
    )
    assert list(config.grid()) == [
        {"num_layers": n, "base": 7, "batch_size": b} for n, b in itertools.product([2, 1], [5, 6, 7])
    ]
    assert config.grid_size() == config.num_configurations() == 6


def test_conditions_collapse_a_grid() -> None:
    config = conditional()
    grid = list(config.grid())
    # Each fraction: one classification; sequences in base 2 and 10 in two orders, in base 64 without one.
    assert len(grid) == config.grid_size() == 2 * (1 + 2 * 2 + 1)
    assert all(is_consistent(parameters) for parameters in grid)
    assert len({frozenset(parameters.items()) for parameters in grid}) == len(grid)


def test_num_trials_limits_a_grid() -> None:
    config = load(CONDITIONAL.format(method="grid"), "num_trials=5")
    assert list(config.grid()) == list(conditional().grid())[:5]
    assert config.num_configurations() == 5


def test_the_size_of_a_huge_grid_is_known_at_once() -> None:
    spec = "{distribution: q_uniform, min: 0.1, max: 0.9, q: 0.00001}"
    names = ("training_fraction", "dropout", "weight_decay")
    text = "method: grid\nparameters:\n" + "\n".join(f"  {name}: {spec}" for name in names)
    config = load(text, "num_trials=5")
    assert space.count(config.parameters, Parameter.grid_values) == 80_001**3
    assert config.grid_size() == 5
    assert next(config.grid()) == dict.fromkeys(names, 0.1)
    with pytest.raises(ConfigError, match=f"holds {80_001**3:,} configurations, but must hold at most 10,000,000"):
        load(text)


def test_a_grid_of_more_values_than_a_length_can_tell() -> None:
    text = "method: grid\nparameters: {init_seed: {min: 0, max: 9223372036854775807}}"
    config = load(text, "num_trials=2")
    assert [choice["init_seed"] for choice in config.grid()] == [0, 1]
    with pytest.raises(ConfigError, match="but must hold at most 10,000,000"):
        load(text)


def test_optuna_is_asked_only_for_what_is_there() -> None:
    config = conditional("tpe")
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    seen = []
    for _ in range(config.num_configurations()):
        trial = study.ask()
        parameters = config.sample(trial)
        assert is_consistent(parameters)
        assert set(trial.params) == set(parameters) - {"modulus"}
        study.tell(trial, 1.0)
        seen.append(frozenset(parameters.items()))
    assert len(set(seen)) > 5


def test_units_reach_every_corner() -> None:
    config = conditional("sobol")
    assert config.dimensions() == 4
    points = itertools.product([0.1, 0.4, 0.9], repeat=4)
    reached = {frozenset(config.from_units(point).items()) for point in points}
    assert reached == {frozenset(parameters.items()) for parameters in conditional().grid()}


def test_the_wrong_number_of_units_is_a_defect() -> None:
    with pytest.raises(ValueError, match="zip"):
        conditional().from_units([0.5])


def test_a_dimension_is_the_same_parameter_whatever_the_conditions() -> None:
    config = conditional("sobol")
    for u in (0.1, 0.9):
        assert config.from_units([0.5, u, 0.5, 0.9])["training_fraction"] == 0.5


def test_trial_config_merges_the_trial_section_and_the_seed() -> None:
    config = load(CONDITIONAL.format(method="grid") + "trial: {eval_interval: 50, sustain: 2, threshold: 0.9}")
    trial = config.trial_config({"task_type": "classification", "modulus": 23}, seed=7)
    assert trial == TrialConfig(
        modulus=23, operand_limit=23, eval_interval=50, sustain=2, threshold=0.9,
        init_seed=7, split_seed=7, order_seed=7,
    )  # fmt: skip
    assert config.trial_config({"modulus": 23, "init_seed": 1}, seed=7).init_seed == 1


def test_trial_config_refuses_what_no_trial_can_have() -> None:
    with pytest.raises(ConfigError, match="modulus is 24"):
        conditional().trial_config({"modulus": 24}, seed=0)


def test_parameters_may_hold_what_is_usually_under_trial() -> None:
    config = load("method: grid\nparameters: {sustain: {values: [1, 3]}}\ntrial: {eval_interval: 10}")
    assert [config.trial_config(p, 0).sustain for p in config.grid()] == [1, 3]
    assert load(config.to_yaml()) == config


FULL = (
    CONDITIONAL.format(method="tpe")
    + """
  weight_decay: {distribution: log_uniform_values, min: 1e-2, max: 3}
  dropout: {distribution: normal, mu: 0.1, sigma: 0.1, min: 0, max: 0.4}
  num_steps: {value: 1e3}
name: everything, or nearly
"""
)


@pytest.mark.parametrize(
    "text",
    [
        CONDITIONAL.format(method="grid"),
        FULL.replace(", or", " or")
        + """
metric: {name: validation/loss}
scheduler: {type: asha, grace_period: 100, metric: train_loss}
execution: process
resources: {cpu: 2, gpu: 0.5}
compile: off
device: cpu
tracking: {wandb: max, mode: offline, project: my project, entity: me, tensorboard: true}
seed: 9
notes: ["yes", "1e3", 'a: "b"']
""",
        CONDITIONAL.format(method="grid")
        + """
metric: [{name: step}, {name: heldout_exact_match}, {name: robustness}]
scheduler: {type: grok_asha, grace_period: 1e2, patience: 5e2, signal: fourier_gini, audit_fraction: 0}
trial: {measure: [fourier_gini]}
""",
    ],
)
def test_the_resolved_file_loads_back_to_an_equal_config(text: str) -> None:
    config = load(text)
    again = load(config.to_yaml())
    assert again == config
    assert again.to_yaml() == config.to_yaml()
    assert list(again.parameters) == list(config.parameters)


def test_defaults_are_written_out() -> None:
    text = conditional().to_yaml()
    for line in ("method: grid", "  checkpoint_interval: 1000", "  cpu: 0.05", "execution: fused", "  wandb: disabled"):
        assert line in text.split("\n")


def test_goals_and_resources_have_fitting_defaults() -> None:
    text = CONDITIONAL.format(method="random")
    assert load(text).metric.model_dump() == {"name": "grok_step", "goal": "minimize"}
    assert load(text + "metric: {name: validation/accuracy}").metric.model_dump() == {
        "name": "heldout_exact_match",
        "goal": "maximize",
    }
    asha = load(text + "scheduler: {type: asha, grace_period: 1e2, metric: training_loss}").scheduler
    assert isinstance(asha, Asha)
    assert (asha.type, asha.metric, asha.goal, asha.grace_period) == ("asha", "train_loss", "minimize", 100)
    assert load(text + "execution: process").resources.cpu == 1
    assert load(text + "execution: process\nresources: {gpu: 1}").resources.model_dump() == {"cpu": 1, "gpu": 1}
    assert load(text, "seeds=3").seeds == (0, 1, 2)


def test_the_fingerprint_changes_with_the_search_only() -> None:
    config = conditional("random")
    same = ["trial.retries=0", "trial.checkpoint_interval=7", "resources.cpu=0.5", "device=cpu", "name=other"]
    same += [
        "compile=off",
        "execution=process",
        "tracking.wandb=minimal",
        "trial.keep_checkpoints=true",
        "resources={}",
    ]
    for override in same:
        assert load(CONDITIONAL.format(method="random"), override).fingerprint() == config.fingerprint(), override
    other = {
        "num_trials=41": "num_trials",
        "seeds=[0]": "seeds",
        "seed=1": "seed",
        "method=sobol": "method",
        "parameters.modulus=29": "parameters.modulus",
        "trial.sustain=2": "trial.sustain",
        "metric.goal=maximize": "metric.goal",
    }
    for override, key in other.items():
        changed = load(CONDITIONAL.format(method="random"), override).fingerprint()
        assert {k for k in changed if changed[k] != config.fingerprint().get(k)} == {key}


def test_a_second_metric_and_audits_are_part_of_the_search_and_older_folders_know_neither() -> None:
    text = CONDITIONAL.format(method="random") + "scheduler: {type: asha, grace_period: 100, audit_fraction: 0}\n"
    config = load(text)
    assert "scheduler.audit_fraction" not in config.fingerprint()
    audited = load(text, "scheduler.audit_fraction=0.1").fingerprint()
    assert {k: v for k, v in audited.items() if k not in config.fingerprint()} == {"scheduler.audit_fraction": "0.1"}
    one = load(text + "metric: [{name: grok_step}]\n")
    assert one.fingerprint() == config.fingerprint()
    two = load(text + "metric: [{name: grok_step}, {name: robustness}]\n")
    assert [(m.name, m.goal) for m in two.metrics] == [("grok_step", "minimize"), ("robustness", "maximize")]
    assert two.fingerprint().keys() - config.fingerprint().keys() == {"metric[1].name", "metric[1].goal"}


def test_configs_made_in_python_obey_the_same_rules() -> None:
    config = SweepConfig.model_validate({"name": "x", "method": "grid", "parameters": {"modulus": {"value": 23}}})
    assert list(config.grid()) == [{"modulus": 23}]
    with pytest.raises(ValidationError, match="num_trials is missing"):
        SweepConfig.model_validate({"name": "x", "method": "tpe", "parameters": {"modulus": {"value": 23}}})
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3


@given(us=st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4))
def test_units_respect_conditions(us: list[float]) -> None:
    assert is_consistent(CONDITIONAL_CONFIG.from_units(us))


CONDITIONAL_CONFIG = conditional("sobol")
