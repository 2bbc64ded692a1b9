"""What is wrong in a search space is told with its place, its value, the rule and the nearest valid name."""

import pytest

from grokray.errors import ConfigError
from grokray.sweep.load import load_sweep, load_text

HEAD = "method: random\nnum_trials: 3\nparameters:\n"
TAIL = HEAD + "  dropout: {value: 0}\n"
TWO = HEAD + "  task_type: {values: [classification, sequence]}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f.yaml", "f")
    assert caught.value.exit_code == 2
    return str(caught.value).split("\n")


# Text, place, parts of the one message.
BAD = {
    "empty": ("", "1:1", "is empty, but must be a mapping"),
    "comment only": ("# nothing\n", "1:1", "is empty, but must be a mapping"),
    "list": ("[1, 2]", "1:1", "holds [1, 2], but must be a mapping"),
    "syntax": ("method: grid\na: [", "2:5", "this is not YAML"),
    "control character": ("method: grid\na: \x01", "2:1", "U+0001 is not allowed"),
    "two documents": ("a: 1\n---\nb: 2", "2:1", "this is not YAML"),
    "directive": ("%YAML 1.1\n---\na: yes", "2:1", "%YAML directive is not supported"),
    "deep": ("a: " + "[" * 30 + "]" * 30, "1:23", "nested deeper than 20 levels"),
    "alias in itself": ("a: &a [*a]", "1:4", "nested deeper than 20 levels"),
    "method": ("method: gird\nparameters: {dropout: {value: 0}}", "1:1", "method is 'gird'; the nearest is grid"),
    "no num_trials": ("parameters: {dropout: {value: 0}}\nmethod: tpe", "2:1", "num_trials is missing"),
    "num_trials": (TAIL.replace("3", "many"), "2:1", "num_trials is 'many', but must be a whole number"),
    "a number of very many digits": (
        TAIL + f"seed: 0x{'f' * 5000}",
        "5:7",
        "seed is 0xfff; ..., but must be a whole number of at most 1,000 digits",
    ),
    "half a trial": (TAIL.replace("3", "1.5"), "2:1", "num_trials is 1.5, but must be a whole number"),
    "no trials": (TAIL.replace("3", "0"), "2:1", "num_trials is 0, but must be at least 1"),
    "no method": ("num_trials: 3\nparameters: {dropout: {value: 0}}", "1:1", "method is missing; must be grid, random"),
    "no parameters": ("method: grid", "1:1", "parameters is missing"),
    "parameters empty": ("method: grid\nparameters: {}", "2:1", "parameters is {}, but must not be empty"),
    "parameters a number": ("method: grid\nparameters: 3", "2:1", "parameters is 3, but must be a mapping"),
    "unknown key": (TAIL + "sedes: [1]", "5:1", "unknown key sedes; the nearest is seeds"),
    "unknown inner key": (
        TAIL + "trial: {evl_interval: 3}",
        "5:9",
        "unknown key trial.evl_interval; the nearest is eval_interval",
    ),
    "doubled key": (TAIL + "parameters: {}", "5:1", "the key parameters is named twice: it stands in line 3"),
    "doubled parameter": (TAIL + "  dropout: {value: 0}", "5:3", "the key dropout is named twice: it stands in line 4"),
    "list as key": (TAIL + "? [a]\n: 3", "5:3", "a key must be a plain word"),
    "tag of all": ("!!set {method, parameters}\n", "1:1", "the tag tag:yaml.org,2002:set is not supported"),
    "tag": (TAIL + "name: !!python/name:os.system x", "5:7", "python/name:os.system is not supported"),
    "not finite": (TAIL + "trial: {threshold: .nan}", "5:20", "trial.threshold is .nan, but must be a finite number"),
    "name": (TAIL + "name: a/b", "5:1", "name is 'a/b', but must be 1 to 100 letters"),
    "seeds doubled": (TAIL + "seeds: [1, 1]", "5:1", "seeds is [1, 1], but must hold each seed once"),
    "seeds doubled, written otherwise": (
        TAIL + "seeds: [1, 1.0]",
        "5:1",
        "seeds is [1, 1.0], but must hold each seed once",
    ),
    "seeds text": (TAIL + "seeds: [1, a]", "5:12", "seeds[1] is 'a', but must be a whole number"),
    "no seeds": (TAIL + "seeds: 0", "5:1", "seeds is 0, but must be a list of seeds, or how many"),
    "negative seed": (TAIL + "seeds: [-1]", "5:9", "seeds[0] is -1, but must be at least 0"),
    "metric": (TAIL + "metric: {name: grok_stp}", "5:10", "metric.name is 'grok_stp'; the nearest is grok_step"),
    "metric a text": (TAIL + "metric: loss", "5:1", "metric is 'loss', but must be a mapping"),
    "one of several metrics": (
        TAIL + "metric:\n- {name: grok_step}\n- {name: heldout_los}",
        "7:4",
        "metric[1].name is 'heldout_los', but must be one of robustness",
    ),
    "a metric twice": (
        TAIL + "metric: [{name: grok_step}, {name: step}]",
        "5:1",
        "but must name each metric once, and grok_step is there twice",
    ),
    "no metric": (TAIL + "metric: []", "5:1", "metric is [], but must not be empty"),
    "many metrics": (
        TAIL + "metric: [{name: train_loss}, {name: grok_step}, {name: heldout_loss}, {name: grok_delay}, "
        "{name: memorization_step}]",
        "5:1",
        "but must hold at most 4",
    ),
    "robustness turned round": (
        TAIL + "metric: {name: robustness, goal: minimize}",
        "5:28",
        "metric.goal is 'minimize', but must be maximize for robustness",
    ),
    "goal": (TAIL + "metric: {name: step, goal: min}", "5:22", "metric.goal is 'min', but must be 'minimize' or"),
    "trial": (TAIL + "trial: {sustain: 0}", "5:9", "trial.sustain is 0, but must be at least 1"),
    "threshold": (TAIL + "trial: {threshold: 1.2}", "5:9", "trial.threshold is 1.2, but must be at most 1"),
    "flag": (
        TAIL + "trial: {keep_checkpoints: no}",
        "5:9",
        "is 'no', but must be one of none, last, best, last+best, all",
    ),
    "scheduler": (TAIL + "scheduler: {type: ash}", "5:1", "scheduler.type is 'ash', but must be 'fifo', 'asha' or"),
    "no type": (TAIL + "scheduler: {grace_period: 3}", "5:1", "scheduler.type is missing"),
    "no grace period": (TAIL + "scheduler: {type: asha}", "5:1", "scheduler.grace_period is missing"),
    "rung metric": (
        TAIL + "scheduler: {type: asha, grace_period: 3, metric: grok_step}",
        "5:42",
        "scheduler.metric is 'grok_step', but must be one of train_loss",
    ),
    "audit": (TAIL + "scheduler: {type: asha, grace_period: 3, audit_fraction: 1.1}", "5:42", "must be at most 1"),
    "signal": (
        TAIL + "scheduler: {type: grok_asha, grace_period: 3, signal: loss}",
        "5:47",
        "scheduler.signal is 'loss', but must be 'heldout_loss_slope', 'weight_norm_contraction' or 'fourier_gini'",
    ),
    "signal that is not measured": (
        TAIL + "scheduler: {type: grok_asha, grace_period: 3, signal: fourier_gini}\ntrial: {measure: weight_norm}",
        "5:47",
        "is fourier_gini, but needs it measured: add measure: [weight_norm, fourier_gini] under trial",
    ),
    "signal that some trials measure": (
        TAIL + "  measure: {values: ['', weight_norm]}\n"
        "scheduler: {type: grok_asha, grace_period: 3, signal: weight_norm_contraction}",
        "6:47",
        "but needs weight_norm in every value of parameters.measure",
    ),
    "everything stopped": (
        TAIL + "scheduler: {type: grok_asha, grace_period: 3, stop_share: 1}",
        "5:47",
        "scheduler.stop_share is 1, but must be below 1",
    ),
    "fused cores": (
        TAIL + "resources: {cpu: 2}",
        "5:13",
        "cpu is 2, but must be at most 1 for execution: fused",
    ),
    "no cores": (TAIL + "resources: {cpu: 0}", "5:13", "resources.cpu is 0, but must be above 0"),
    "half cores": (TAIL + "resources: {gpu: 1.5}\nexecution: process", "5:13", "must be a whole number if above 1"),
    "tracking": (TAIL + "tracking: {wandb: minimum}", "5:12", "is 'minimum'; the nearest is minimal"),
    "project": (TAIL + "tracking: {project: a/b}", "5:12", "tracking.project is 'a/b', but must be a text of 1 to 128"),
    "project of W&B": (TAIL + "project: 7", "5:1", "project is 7, but must be a text of 1 to 128"),
    "mode of W&B": (TAIL + "tracking: {mode: ofline}", "5:12", "the nearest is offline"),
    "bare value": (HEAD + "  dropout: 0.1", "4:3", "parameters.dropout is 0.1, but must be a mapping"),
    "no value": (HEAD + "  dropout: {}", "4:3", "must have value, values, min and max, or a distribution"),
    "misspelt value": (HEAD + "  dropout: {valu: 0}", "4:13", "parameters.dropout.valu; the nearest is value"),
    "both": (HEAD + "  dropout: {value: 0, values: [1]}", "4:23", "must not stand beside value"),
    "mapping as value": (HEAD + "  dropout: {value: {a: 1}}", "4:13", "parameters.dropout.value must be a single"),
    "list in list": (HEAD + "  dropout: {values: [0, [1]]}", "4:25", "dropout.values[1] is [1]; must be a single"),
    "no values": (HEAD + "  dropout: {values: []}", "4:13", "is [], but must hold at least one value"),
    "values a number": (HEAD + "  dropout: {values: 1}", "4:13", "dropout.values is 1, but must be a list"),
    "value twice": (HEAD + "  dropout: {values: [0, 0.0]}", "4:13", "must hold each value once"),
    "probabilities": (
        HEAD + "  dropout: {values: [0, 0.1], probabilities: [1]}",
        "4:31",
        "probabilities is [1], but must be as many as the values: 2",
    ),
    "sum": (
        HEAD + "  dropout: {values: [0, 0.1], probabilities: [1, 1]}",
        "4:31",
        "0 or more each and 1 in sum",
    ),
    "distribution": (
        HEAD + "  dropout: {distribution: unifrm, min: 0, max: 1}",
        "4:13",
        "parameters.dropout.distribution is 'unifrm'; the nearest is uniform",
    ),
    "no max": (
        HEAD + "  dropout: {distribution: uniform, min: 0}",
        "4:3",
        "must have max for the distribution",
    ),
    "stray min": (HEAD + "  dropout: {values: [0], min: 0}", "4:26", "does not belong to the distribution categorical"),
    "upside down": (
        HEAD + "  dropout: {min: 0.5, max: 0.1}",
        "4:13",
        "is 0.5, but must be below max, which is 0.1",
    ),
    "text as min": (HEAD + "  dropout: {min: low, max: 0.1}", "4:13", "min is 'low', but must be a number"),
    "huge": (HEAD + "  dropout: {min: 0, max: 1" + "0" * 400 + "}", "4:21", "must be a finite number"),
    "half layers": (
        HEAD + "  num_layers: {distribution: int_uniform, min: 1.5, max: 3}",
        "4:43",
        "min is 1.5, but must be a whole number",
    ),
    "no multiple": (
        HEAD + "  num_layers: {distribution: q_uniform, min: 5, max: 7, q: 4}",
        "4:57",
        "a multiple of 4",
    ),
    "sigma": (HEAD + "  dropout: {distribution: normal, sigma: 0}", "4:35", "sigma is 0, but must be above 0"),
    "log of 0": (
        HEAD + "  dropout: {distribution: log_uniform_values, min: 0, max: 1}",
        "4:47",
        "min is 0, but must be above 0",
    ),
    "exponent": (HEAD + "  dropout: {distribution: log_uniform, min: 0, max: 800}", "4:48", "it is an exponent"),
    "twice in a list under value": (
        HEAD + "  dropout:\n    distribution: constant\n    value: [0, 0]\n",
        "6:5",
        "parameters.dropout.value is [0, 0]; and 0 is there twice",
    ),
    "seeds of parameters doubled": (TAIL + "  seed: {values: [1, 1]}", "5:3", "parameters.seed is [1, 1]"),
    "seeds in a range": (TAIL + "  seed: {min: 0, max: 3}", "5:3", "seed must have value or values, and nothing else"),
    "seeds and a range": (TAIL + "  seed: {values: [0], min: 0}", "5:3", "must have value or values, and nothing else"),
    "tracking twice": (
        TAIL + "  wandb_tracking: {value: minimal}\ntracking: {wandb: disabled}",
        "5:3",
        "wandb_tracking stands under parameters and as tracking, but must be in one place",
    ),
    "a number among operations": (HEAD + "  operation: {values: [[x+y, 3]]}", "4:24", 'values[0] is ["x+y", 3]'),
    "unknown parameter": (HEAD + "  weight_decy: {value: 1}", "4:3", "weight_decy; the nearest is weight_decay"),
    "unknown operation": (HEAD + "  operation: {value: x/z_mod}", "4:3", "operation is 'x/z_mod'; x/y_mod"),
    "value no trial has": (HEAD + "  dropout: {values: [0.1, 1.0]}", "4:3", "dropout is 1.0, but must be less than 1"),
    "text for a number": (HEAD + "  learning_rate: {value: fast}", "4:3", "learning_rate is 'fast'; must be a number"),
    "composite modulus": (HEAD + "  modulus: {values: [97, 98]}", "4:3", "modulus is 98; needs a prime; 97 and 101"),
    "composite within a range": (HEAD + "  modulus: {min: 23, max: 24}", "4:3", "modulus is 24; needs a prime"),
    "heads": (
        HEAD + "  dim_model: {value: 128}\n  num_heads: {values: [4, 3]}",
        "5:3",
        "is 3; divide dim_model",
    ),
    "base 1": (
        TWO + "  base: {values: [1, 10], when: {task_type: sequence}}",
        "5:3",
        "base is 1; must be at least 2",
    ),
    "tail": (
        HEAD + "  dropout: {distribution: normal, mu: 0.2, sigma: 0.1}",
        "4:3",
        "must be at least 0; can be cut with min and max",
    ),
    "when a text": (HEAD + "  base: {value: 10, when: sequence}", "4:21", "must name another parameter and its value"),
    "when unknown": (
        TWO + "  base: {value: 4, when: {tsk_type: a}}",
        "5:27",
        "tsk_type; the nearest is task_type",
    ),
    "when never": (
        TWO + "  base: {value: 4, when: {task_type: sequnce}}",
        "5:27",
        "which it never is; the nearest is sequence",
    ),
    "when of a range": (
        HEAD + "  dropout: {min: 0.1, max: 0.3}\n  batch_size: {value: 64, when: {dropout: 0.2}}",
        "5:34",
        "must then have value or values",
    ),
    "circle": (
        HEAD + "  base: {value: 10, when: {num_layers: 1}}\n  num_layers: {value: 1, when: {base: 10}}",
        "4:21",
        "conditions go in a circle: base → num_layers → base",
    ),
    "grid of a range": (
        "method: grid\nparameters:\n  dropout: {min: 0.0, max: 0.5}",
        "3:3",
        "dropout is of the distribution uniform, but must be values, int_uniform or q_uniform",
    ),
    "a grid of very many": (
        "method: grid\nparameters:\n"
        + "".join(f"  {name}_noise: {{min: 0, max: 100}}\n" for name in ("weight", "input", "gradient"))
        + "  weight_decay: {min: 1, max: 899}",
        "2:1",
        f"the grid holds {101**3 * 899:,} configurations, but must hold at most 10,000,000; num_trials takes",
    ),
    "two places": (
        HEAD + "  sustain: {value: 3}\ntrial: {sustain: 3}",
        "4:3",
        "under parameters and under trial",
    ),
    "two devices": (TAIL + "  device: {values: [cpu, cuda]}", "5:3", "device must have one value"),
    "wrong device": (TAIL + "  device: {value: tpu}", "5:3", "must be 'auto', 'cpu' or 'cuda'"),
    "device twice": (TAIL + "  device: {value: cpu}\ndevice: cpu", "5:3", "stands under parameters and as device"),
    "multitask": (TAIL + "  multitask: {value: 3}", "5:3", "multitask is 3, but must be true or false"),
    "no multitask": (
        TAIL + "  operation: {value: 'x+y,x-y'}\n  multitask: {value: false}",
        "6:3",
        "multitask is false, but operation names 2",
    ),
    "run_cap": (TAIL.replace("num_trials: 3", "run_cap: few"), "2:1", "run_cap is 'few', but must be a whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_fault_one_message(case: str) -> None:
    text, place, parts = BAD[case]
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"f.yaml:{place}: ")
    for part in parts.split("; "):
        assert part in found[0]


COUNTS = ["trial.eval_interval", "trial.eval_train_rows", "trial.sustain", "trial.checkpoint_interval"]
COUNTS += ["scheduler.grace_period", "scheduler.patience", "scheduler.fit_by"]


@pytest.mark.parametrize("key", COUNTS)
def test_counts_have_an_upper_bound(key: str) -> None:
    text = TAIL + "scheduler: {type: grok_asha, grace_period: 1e3}"
    place = f"--set {key}={10**20}"
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f.yaml", "f", overrides=[f"{key}={10**20}"])
    assert str(caught.value) == f"{place}: {key} is {10**20}, but must be at most 2147483647"
    load_text(text, "f.yaml", "f", overrides=[f"{key}={2**31 - 1}"])


def test_all_faults_of_a_file_at_once() -> None:
    text = """method: tpe
num_trials: many
sedes: [1]
parameters:
  weight_decy: {value: 1}
  dropout: {min: 0.5, max: 0.1}
  learning_rate: {value: fast}
  modulus: {value: 98}
  base: {value: 10, when: {tsk_type: sequence}}
  num_layers: {value: 1}
  num_layers: {value: 2}
trial: {sustain: 0, evl_interval: 3}
"""
    assert [line.split(": ", 1)[0] for line in problems(text)] == [
        f"f.yaml:{place}" for place in ("2:1", "3:1", "5:3", "6:13", "7:3", "8:3", "9:28", "11:3", "12:9", "12:21")
    ]


def test_all_faults_of_the_seeds_are_found_together() -> None:
    assert problems(TAIL + "seeds: [0, 0, -1, 1.5, x]") == [
        'f.yaml:5:1: seeds is [0, 0, -1, 1.5, "x"], but must hold each seed once',
        "f.yaml:5:15: seeds[2] is -1, but must be at least 0",
        "f.yaml:5:19: seeds[3] is 1.5, but must be a whole number",
        "f.yaml:5:24: seeds[4] is 'x', but must be a whole number",
    ]


def test_what_depends_on_a_fault_is_no_fault() -> None:
    # num_heads 3 divides what the width was meant to be, and base hangs on the misspelt task_type.
    text = HEAD + "  dim_model: {valu: 96}\n  num_heads: {value: 3}\n  task_type: {values: [sequence], q: 3}\n"
    found = problems(text + "  base: {value: 4, when: {task_type: sequence}}")
    assert [line.split(": ", 1)[0] for line in found] == ["f.yaml:4:15", "f.yaml:6:35"]


def test_a_fault_hides_no_other_whose_name_holds_its_own() -> None:
    found = problems(HEAD + "  split: {valu: random}\n  split_seed: {value: -1}")
    assert found[1:] == ["f.yaml:5:3: split_seed is -1, but must be at least 0"]


def test_many_faults_of_one_kind_are_counted() -> None:
    found = problems(HEAD + "  num_heads: {values: [3, 5, 6, 7, 9]}")
    assert len(found) == 4
    assert found[3] == "f.yaml:4:3: num_heads: 2 more such problems"


def test_aliases_cannot_multiply_without_end() -> None:
    lines = ["a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "aliases stand for more than 20000 values" in problems("\n".join(lines))[0]


def test_a_long_line_is_refused_early() -> None:
    assert problems("method: grid\n" + "!" * 1_000_000)[0].startswith("f.yaml:2:1: a line of more than 100000 char")


def test_a_long_list_is_refused_early() -> None:
    assert "more than 20000 values" in problems("- 1\n" * 30_000)[0]


def test_conditions_on_too_many_combinations() -> None:
    values = str(list(range(1, 400)))
    parents = f"  num_steps: {{values: {values}}}\n  batch_size: {{values: {values}}}\n"
    found = problems(HEAD + parents + "  dropout: {value: 0, when: {num_steps: 1, batch_size: 1}}")
    assert found == ["f.yaml:3:1: conditions must hang on at most 100,000 combinations of values"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not UTF-8 text: byte 0"),
        (b"method: gr\xe9d", "is not UTF-8 text: byte 10"),
        (b"\x00" * 100, "this is not YAML"),
        (b"#" * 1_048_577, "is larger than 1048576 bytes"),
    ],
)
def test_files_that_are_no_text(tmp_path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    assert len(caught.value.problems) == 1
    assert reason in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.yaml", "no such file"),
        ("", "is a directory"),
        ("x" * 300, "cannot be read"),
        ("a\0b", "no such"),
    ],
)
def test_paths_that_are_no_file(tmp_path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_sweep(tmp_path / name)


NO_NEIGHBOUR = {
    "at the top": (TAIL + "xyzzy: 1", "unknown key xyzzy; the keys are name, method, metric, "),
    "of trial": (
        TAIL + "trial: {xyzzy: 1}",
        "unknown key trial.xyzzy; the keys of trial are eval_interval, eval_start, eval_train_rows, ",
    ),
    "of metric": (TAIL + "metric: {xyzzy: 1}", "unknown key metric.xyzzy; the keys of metric are name and goal"),
    "of fifo": (TAIL + "scheduler: {type: fifo, xyzzy: 1}", "the only key of scheduler is type"),
    "of asha": (
        TAIL + "scheduler: {type: asha, grace_period: 1, xyzzy: 1}",
        "the keys of scheduler are type, grace_period, reduction_factor, audit_fraction and metric",
    ),
    "of a parameter": (HEAD + "  dropout: {value: 0, xyzzy: 1}", "the keys of a parameter are value, values, "),
    "alone": (HEAD + "  dropout: {xyzzy: 1}", "is no key of a parameter; the keys are value, values, "),
    "parameter": (HEAD + "  xyzzy: {value: 1}", "xyzzy is no parameter of a trial; `grokray train --help` lists them"),
}


@pytest.mark.parametrize(("text", "message"), NO_NEIGHBOUR.values(), ids=NO_NEIGHBOUR.keys())
def test_where_no_valid_key_is_near_all_are_listed(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x.yaml", "x")
    [problem] = caught.value.problems
    assert message in problem.message
