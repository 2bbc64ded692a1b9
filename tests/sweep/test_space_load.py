"""Search spaces from files: the shipped ones, the original's, overrides from the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from grokray.errors import ConfigError
from grokray.sweep.config import SweepConfig
from grokray.sweep.load import load_sweep, load_text

SHIPPED = Path(__file__).parents[2] / "search_spaces"

ORIGINAL = """
project: grokking
program: grokking/cli.py
method: grid
metric:
  name: step
  goal: minimize
parameters:
  operation:
    value: "x/y"
  training_fraction:
    value: [0.2, 0.4, 0.6, 0.8]
  num_layers:
    value: [1, 2, 3]
  dim_model:
    value: 128
  num_heads:
    value: 4
  max_bit_length_train:
    value: 97
  batch_size:
    value: [128, 512, 1024]
  learning_rate:
    value: [1e-4, 5e-4, 1e-3, 5e-3]
  weight_decay:
    value: [0.1, 1]
  dropout:
    value: [0., 0.2, 0.4]
  num_steps:
    value: 20000
  device:
    value: cuda
"""

SMALL = """
method: random
num_trials: 3
parameters:
  task_type: {values: [classification, sequence]}
  base: {values: [2, 10], when: {task_type: sequence}}
  weight_decay: {distribution: log_uniform_values, min: 0.01, max: 3}
"""


def small(*overrides: str, num_trials: int | None = None) -> SweepConfig:
    options = {} if num_trials is None else {"num_trials": num_trials}
    return load_text(SMALL, "small.yaml", "small", overrides=overrides, options=options)


def test_the_originals_sweep_file_is_accepted_as_it_is(tmp_path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(ORIGINAL)
    config = load_sweep(path)
    assert (config.name, config.device, config.metric.name) == ("sweep", "cuda", "grok_step")
    assert config.num_configurations() == 864
    trials = [config.trial_config(parameters, seed=0) for parameters in config.grid()]
    assert len({trial.id for trial in trials}) == 864
    assert {(t.operation, t.modulus, t.operand_limit, t.num_steps) for t in trials} == {("x/y_mod", 97, 97, 20_000)}
    assert config.notes == (
        "program: ignored",
        "metric: step is taken as grok_step",
        "a list under value is taken as values: training_fraction, num_layers, batch_size, learning_rate, "
        "weight_decay, dropout",
        "parameters.device is taken as device",
        "project is taken as tracking.project",
    )


def test_the_shipped_grid_is_the_originals(tmp_path) -> None:
    original = load_text(ORIGINAL, "original.yaml", "original")
    shipped = load_sweep(SHIPPED / "grid.yaml")
    ids = [[config.trial_config(p, seed=0).id for p in config.grid()] for config in (original, shipped)]
    assert ids[0] == ids[1]
    assert shipped.notes == ()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("device=cpu", ("cpu", (4,), "minimal", "auto")),
        ("seeds=2", ("cuda", (0, 1), "minimal", "auto")),
        ("tracking.wandb=disabled", ("cuda", (4,), "disabled", "auto")),
        ("tracking={wandb: maximal}", ("cuda", (4,), "maximal", "auto")),
        ("tracking.mode=offline", ("cuda", (4,), "minimal", "offline")),
    ],
)
def test_what_the_original_has_among_the_parameters_may_be_set_by_its_own_name(override: str, said: tuple) -> None:
    text = ORIGINAL.rstrip() + "\n  seed: {value: 4}\n  wandb_tracking: {value: minimal}\n"
    config = load_text(text, "sweep.yaml", "sweep", overrides=[override])
    assert (config.device, config.seeds, config.tracking.wandb, config.tracking.mode) == said
    assert config.tracking.project == "grokking"


def test_wandb_keys() -> None:
    text = """
method: bayes
run_cap: 7
entity: someone
description: text
command: [python, train.py]
early_terminate: {type: hyperband, min_iter: 3}
metric: {name: validation_loss}
parameters:
  seed: {values: [4, 5]}
  multitask: {value: false}
  wandb_tracking: {value: minimal}
  learning_rate: {distribution: log_uniform, min: -7, max: -5}
"""
    config = load_text(text, "f.yaml", "f")
    assert (config.method, config.num_trials, config.seeds) == ("tpe", 7, (4, 5))
    assert (config.tracking.wandb, config.metric.name, config.scheduler.type) == ("minimal", "heldout_loss", "fifo")
    assert list(config.parameters) == ["learning_rate"]
    assert (config.tracking.entity, config.tracking.project) == ("someone", "grokray")
    remarks = (
        "description, command",
        "run_cap",
        "early_terminate",
        "bayes",
        "metric: validation_loss is taken as heldout_loss",
        "exponents",
        "tracking",
        "seeds",
        "entity",
    )
    assert len(config.notes) == len(remarks)
    for note, remark in zip(config.notes, remarks, strict=True):
        assert remark in note
    assert load_text(config.to_yaml(), "f.yaml", "f") == config


def test_a_remark_is_there_once_though_the_sweeps_own_file_is_read_again() -> None:
    text = SMALL + "  dropout: {distribution: log_uniform, min: -9, max: -1}\nrun_cap: 5\n"
    config = load_text(text, "f.yaml", "f")
    assert "run_cap: ignored beside num_trials" in config.notes
    assert load_text(config.to_yaml(), "f.yaml", "f").notes == config.notes


def test_it_is_remarked_what_a_metric_is_taken_as() -> None:
    text = SMALL + "metric: [{name: validation/accuracy}, {name: grok_step}]\nscheduler: {type: asha, metric: val_loss,"
    assert load_text(text + " grace_period: 100}\n", "f.yaml", "f").notes == (
        "metric: validation/accuracy is taken as heldout_exact_match",
        "metric: val_loss is taken as heldout_loss",
    )


@pytest.mark.parametrize(
    ("operation", "trials"),
    [
        ("operation: {value: [x/y_mod, x+y_mod]}\n  multitask: {value: true}", ["x/y_mod,x+y_mod"]),
        ("operation: {value: 'x/y, x+y_mod'}\n  multitask: {value: true}", ["x/y_mod,x+y_mod"]),
        ("operation: {values: [[x/y_mod, x+y_mod], x-y]}", ["x/y_mod,x+y_mod", "x-y"]),
        ("operation: {value: [x/y_mod, x+y_mod]}", ["x/y_mod", "x+y_mod"]),
        ("operation: {value: [x+y, x-y], distribution: constant}", ["x+y", "x-y"]),
        ("operation: {value: x+y}\n  multitask: {values: [false], distribution: constant}", ["x+y"]),
        ("operation: {values: [x+y, x-y]}\n  multitask: {value: false}", ["x+y", "x-y"]),
    ],
)
def test_several_operations_are_one_multitask_trial_or_as_many_trials(operation: str, trials: list[str]) -> None:
    config = load_text(f"method: grid\nparameters:\n  {operation}\n", "f.yaml", "f")
    assert [config.trial_config(choice, 0).operation for choice in config.grid()] == trials
    assert load_text(config.to_yaml(), "f.yaml", "f") == config


def test_robust_is_the_search_that_it_says() -> None:
    config = load_sweep(SHIPPED / "robust.yaml")
    assert (config.method, config.num_trials, config.seeds) == ("sobol", 2000, (0, 1, 2))
    assert config.parameters["base"].when == {"task_type": ("sequence",)}
    assert (config.scheduler.type, config.resources.gpu) == ("grok_asha", 0.02)


def test_quickstart_has_enough_trials() -> None:
    config = load_sweep(SHIPPED / "quickstart.yaml")
    assert config.num_configurations() * len(config.seeds) >= 16


def test_loading_imports_nothing_heavy() -> None:
    # So that `--dry-run` and errors are quick, also where torch takes seconds to load.
    code = (
        "import sys; from grokray.sweep.load import load_sweep; import grokray.sweep.schema; "
        f"load_sweep({str(SHIPPED / 'robust.yaml')!r}); "
        "print(sorted({'torch', 'ray', 'optuna', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


VAIN = """
method: grid
parameters:
  operation: {values: [x+y_mod, s5]}
  task_type: {value: classification}
  base: {values: [2, 10]}
  modulus: {value: 11}
  gradient_filter: {values: [none, grokfast_ema]}
  grokfast_lambda: {values: [2, 3]}
"""


def test_a_parameter_that_no_trial_has_a_use_for_is_remarked() -> None:
    config = load_text(VAIN, "vain.yaml", "vain")
    assert config.notes == ("base is given, but no trial has a use for it",)
    assert load_text(config.to_yaml(), "again.yaml", "again").notes == config.notes


def test_a_plain_operation_with_a_modulus_is_told_from_the_modular_one() -> None:
    text = "method: grid\nparameters: {operation: {value: x+y}, prime: {value: 97}}\n"
    said = "prime is given, but no trial has a use for it: x+y is plain, and x+y_mod modulo it"
    assert load_text(text, "f.yaml", "f").notes == (said,)


def test_a_signal_may_be_measured_by_what_is_searched() -> None:
    config = load_text(
        "name: s\nmethod: grid\nparameters:\n  operation: {value: x+y_mod}\n"
        "  measure: {values: [weight_norm, 'weight_norm,logit_scale']}\n"
        "scheduler: {type: grok_asha, grace_period: 3, signal: weight_norm_contraction}\n",
        "s.yaml",
        "s",
    )
    assert config.grid_size() == 2


def test_a_measure_that_no_trial_has_a_use_for_is_remarked() -> None:
    config = load_text(
        VAIN, "vain.yaml", "vain", overrides=["trial.measure=[fourier_gini]", "parameters.task_type=sequence"]
    )
    assert config.notes == ("measure fourier_gini is given, but no trial has a use for it",)


@pytest.mark.parametrize("method", ["random", "grid"])
@pytest.mark.parametrize(
    ("override", "unused"),
    [
        ("parameters.task_type=sequence", ""),
        ("parameters.operation=s5", "base modulus"),
        ("parameters.gradient_filter=none", "base grokfast_lambda"),
        ("trial.measure=[fourier_gini]", "base"),
    ],
)
def test_use_is_that_of_any_trial(method: str, override: str, unused: str) -> None:
    config = load_text(VAIN, "vain.yaml", "vain", overrides=[override, f"method={method}"], options={"num_trials": 5})
    assert [note.split()[0] for note in config.notes] == unused.split()


def test_names() -> None:
    assert small().name == "small"
    assert small("name=My sweep 2").name == "My sweep 2"
    assert load_text(SMALL, "a.yaml", "../ödd (1)").name == "ödd-1"
    assert load_text(SMALL, "a.yaml", "((").name == "sweep"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("num_trials=4", lambda c: c.num_trials == 4),
        ("num_trials=1e3", lambda c: c.num_trials == 1000),
        ("trial.eval_interval=50", lambda c: c.trial.eval_interval == 50),
        ("seeds=[3, 4]", lambda c: c.seeds == (3, 4)),
        ("scheduler={type: asha, grace_period: 5}", lambda c: c.scheduler.grace_period == 5),
        ("parameters.weight_decay=1", lambda c: c.parameters["weight_decay"].spec() == {"value": 1}),
        ("parameters.weight_decay.value=1", lambda c: c.parameters["weight_decay"].spec() == {"value": 1}),
        ("parameters.weight_decay=[1, 2]", lambda c: c.parameters["weight_decay"].spec() == {"values": [1, 2]}),
        ("parameters.weight_decay={min: 0.1, max: 0.2}", lambda c: c.parameters["weight_decay"].max == 0.2),
        ("parameters.weight_decay.max=9", lambda c: c.parameters["weight_decay"].max == 9),
        ("parameters.operation=x+y", lambda c: c.parameters["operation"].values == ("x+y",)),
        ("parameters.base=7", lambda c: c.parameters["base"].spec() == {"value": 7, "when": {"task_type": "sequence"}}),
        ("parameters.list_rows=null", lambda c: c.parameters["list_rows"].values == (None,)),
        ("trial.eval_train_rows=null", lambda c: c.trial.eval_train_rows is None),
        ("parameters.dropout = 0.1", lambda c: c.parameters["dropout"].values == (0.1,)),
    ],
)
def test_overrides(override: str, expected) -> None:
    assert expected(small(override))


def test_another_type_of_scheduler_leaves_out_what_it_has_not() -> None:
    text = SMALL + "scheduler: {type: grok_asha, grace_period: 7, reduction_factor: 4, stop_share: 0.2, fit_by: 9}\n"

    def scheduler(*overrides: str):
        return load_text(text, "f.yaml", "f", overrides=overrides).scheduler

    assert scheduler("scheduler.type=fifo").type == "fifo"
    whole = "scheduler={type: asha, grace_period: 7, reduction_factor: 4}"
    assert scheduler("scheduler.type=asha") == scheduler(whole)
    assert scheduler("scheduler.type=grok_asha").stop_share == 0.2
    with pytest.raises(ConfigError, match="unknown key scheduler.stop_share"):
        scheduler("scheduler.type=asha", "scheduler.stop_share=0.3")
    with pytest.raises(ConfigError, match="unknown key scheduler.grace_periode"):
        load_text(SMALL + "scheduler: {type: asha, grace_periode: 7}", "f.yaml", "f", overrides=["scheduler.type=fifo"])


def test_precedence_is_file_then_overrides_in_order_then_num_trials() -> None:
    assert small("num_trials=4", "num_trials=5").num_trials == 5
    assert small("num_trials=4", num_trials=6).num_trials == 6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("num_trials", "--set num_trials: an override must be key=value"),
        ("=4", "--set =4: an override must be key=value"),
        ("trial..sustain=3", "--set trial..sustain=3: an override must be key=value"),
        ("parameters.modulus=", "--set parameters.modulus=: parameters.modulus has no value, but must have one; null"),
        ("trial.sustain= ", "--set trial.sustain= : trial.sustain has no value, but must have one"),
        ("num_trials=many", "--set num_trials=many: num_trials is 'many', but must be a whole number"),
        ("num_trails=4", "--set num_trails=4: unknown key num_trails; the nearest is num_trials"),
        ("method.x=4", "--set method.x=4: method has no keys of its own"),
        ("seeds=[1", "--set seeds=[1: this is not YAML"),
        ("seed=.inf", "--set seed=.inf: seed is .inf, but must be a finite number"),
        (
            "parameters.dropout.values=[0, .nan]",
            "--set parameters.dropout.values=[0, .nan]: parameters.dropout.values[1] is .nan, but must be a finite",
        ),
        ("parameters.base=1", "--set parameters.base=1: base is 1, but must be at least 2"),
        ("parameters.dropot=1", "--set parameters.dropot=1: dropot is no parameter of a trial; the nearest is dropout"),
        ("parameters.dropout.mean=1", "--set parameters.dropout.mean=1: parameters.dropout.mean is 1, but is no key"),
        ("parameters.weight_decay.min=4", "--set parameters.weight_decay.min=4: parameters.weight_decay.min is 4, but"),
    ],
)
def test_errors_name_the_override(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small(override)
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(message)


def test_num_trials_of_the_command_line_is_named_as_such() -> None:
    with pytest.raises(ConfigError, match="--num-trials 0: num_trials is 0, but must be at least 1"):
        small(num_trials=0)


def test_file_and_override_errors_stand_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(SMALL + "sedes: 3", "f.yaml", "f", overrides=["trial.sustain=0", "seeds=[1"])
    assert [problem.place for problem in caught.value.problems] == [
        "f.yaml:8:1",
        "--set seeds=[1",
        "--set trial.sustain=0",
    ]
    assert {problem.field for problem in caught.value.problems} == {"sedes", None, "trial.sustain"}


def test_a_sampled_check_still_tries_each_value() -> None:
    # Far more corners than are tried, and the bad value behind three conditions.
    text = f"""
method: random
num_trials: 3
parameters:
  task_type: {{values: [sequence, classification]}}
  fixed_sequence_length: {{values: [true, false], when: {{task_type: sequence}}}}
  batch_size: {{values: {list(range(1, 200))}}}
  num_layers: {{values: [1, 2, 3, 4], when: {{fixed_sequence_length: true}}}}
  num_heads: {{values: [4, 5], when: {{num_layers: 4}}}}
  dim_model: {{value: 128}}
"""
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f.yaml", "f")
    assert str(caught.value) == "f.yaml:9:3: num_heads is 5, but must divide dim_model, which is 128"


SHORT = """
method: grid
parameters: {num_steps: {values: [100, 14000]}, modulus: {value: 11}}
trial: {eval_interval: 5000}
"""
BOTH = "at most 1 measurement in num_steps 100 at eval_interval 5,000, but sustain is 3"


@pytest.mark.parametrize("method", ["grid", "random"])
@pytest.mark.parametrize(
    ("override", "notes"),
    [
        ("num_steps=100", [f"no trial can be seen to grok: {BOTH}"]),
        ("modulus=11", [f"some trials cannot be seen to grok: {BOTH}"]),
        ("num_steps=[10001, 14000]", []),
        ("sustain=[1, 2]", ["some trials cannot be seen to grok: " + BOTH.replace("3", "2")]),
    ],
)
def test_trials_too_short_to_grok_are_remarked(method: str, override: str, notes: list[str]) -> None:
    overrides = [f"parameters.{override}", f"method={method}"]
    config = load_text(SHORT, "short.yaml", "short", overrides=overrides, options={"num_trials": 5})
    assert list(config.notes) == notes
