"""Measures of a user's own: what a file may hold, what trials have of it, and that trials feel nothing of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.text import Text

import grokray
from grokray.cli.curves import parting
from grokray.cli.main import main
from grokray.cli.sweep_options import sweep_of
from grokray.cli.tables import unmeasured
from grokray.errors import ConfigError, ExecutionError
from grokray.records.folder import SweepFolder
from grokray.records.journal import Event
from grokray.records.journal_reader import JournalReader
from grokray.records.schema import CONFIG_FIELDS, CURVES_SCHEMA, TRIALS_SCHEMA
from grokray.records.state import SweepState
from grokray.records.store import Store
from grokray.records.trial_state import Fault
from grokray.sweep.assignment import Assignment
from grokray.sweep.config import SweepConfig
from grokray.sweep.inputs import MEASURES as KEPT
from grokray.sweep.inputs import copy_of_measures, keep, measures_of
from grokray.sweep.load import load_sweep
from grokray.sweep.measure_file import OF_TRIALS, RESERVED, measures_in, numbers_of
from grokray.sweep.messages import WorkerOptions
from grokray.sweep.parcel import Parcel
from grokray.sweep.progress import progress_of
from grokray.sweep.trainer import Trainer
from grokray.tasks.malformed import Malformed
from grokray.trial import MEASURES, TrialConfig
from tests.engine.conftest import small
from tests.records.records_helpers import memory_store
from tests.sweep.sweeps import GRID, curves, write

NORM = "def norm(trained):\n    return trained.model.token_embedding.weight.norm()\n"
WORDS = ["--modulus=7", "--num_layers=1", "--dim_model=8", "--num_heads=1", "--num_steps=30", "--eval_interval=10"]


def small_trial(**changes: object) -> TrialConfig:
    return small(**{"num_layers": 1, "num_steps": 60, "eval_interval": 20} | changes)


def trained_with(folder: Path, text: str, *configs: TrialConfig, keep_checkpoints: str = "none") -> list[Event]:
    """The events of trials that run to their end with the measures of that text."""
    trainer = Trainer(Store.from_uri(folder), role="test", measures=measures_in(text, "mine.py"))
    more = {"keep_checkpoints": keep_checkpoints, "checkpoint_interval": 20}
    for config in configs:
        trainer.start(Assignment(trial_id=config.id, config=config.model_dump(), **more))
    while trainer.trials:
        trainer.turn()
    trainer.close()
    return [event for chunk in JournalReader(trainer.store).chunks() for event in chunk]


def measurements(events: list[Event], config: TrialConfig) -> list[Event]:
    return [e for e in events if e["event"] == "measurement" and e["trial_id"] == config.id]


def metrics(events: list[Event], config: TrialConfig) -> list[dict[str, float]]:
    return [event["metrics"] for event in measurements(events, config)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("def f(", r"is no Python: '\(' was never closed, line 1"),
        ("x = 1\0", "is no Python"),
        (f"x = {'-' * 30_000}1", "is nested too deeply"),
        (f"x = {'1+' * 40_000}1", "is nested too deeply"),
        ("class Odd(Exception):\n    def __str__(self): raise SystemExit\nraise Odd", r"fails: Odd \(mine.py:3\)"),
        ("\n\nimport nothing_of_that_name", r"running it fails: ModuleNotFoundError: .*nothing.* \(mine.py:3\)"),
        ("raise SystemExit(3)", r"running it fails: SystemExit: 3 \(mine.py:1\)"),
        ("raise GeneratorExit", r"running it fails: GeneratorExit \(mine.py:1\)"),
        ("", "has no measure"),
        ("from math import floor\nclass Norm: pass\ndef _norm(t): pass", "has no measure"),
        ("def f(a, b): pass", r"f\(a, b\): a measure takes one argument"),
        ("def f(): pass", r"f\(\): a measure takes one argument"),
        ("def weight_norm(t): pass", "weight_norm has the name of a column"),
        ("globals()['a b'] = lambda t: 1", "function is called 'a b', but a name must be of letters"),
        (
            "class _Odd:\n    __signature__ = 3\n    def __call__(self): return 1\nodd = _Odd()\ndef step(t): pass",
            "step has",
        ),
        ("def train_loss(t): pass", "train_loss has the name of a column"),
        ("def step(t): pass", "step has the name of a column"),
        ("def outcome(t): pass", "outcome has the name of a column that trials have already"),
        ("def examples(t): pass", "examples has the name of a column that trials have already"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_rule(text, rule):
    with pytest.raises(Malformed, match=rule):
        measures_in(text, "/somewhere/mine.py")


def test_measures_are_what_the_file_defines_itself():
    text = """
from __future__ import annotations
from dataclasses import dataclass
from functools import partial
from math import floor
import torch

@dataclass
class Scale:
    by: float
    def __call__(self, trained): return self.by

def _helper(a, b): pass

@torch.no_grad()
def second(trained, times=2): return times

first = lambda trained: 1
scale = Scale(3.0)
third = partial(second, times=3)
zeros = partial(torch.zeros, 1)
globals()[3] = first
"""
    found = measures_in(text, "mine.py")
    assert [*found.measures] == ["second", "first", "scale", "third"]
    assert [measure(None) for measure in found.measures.values()] == [2, 1, 3.0, 3]


def test_a_file_is_compiled_with_no_future_but_its_own():
    text = "def f(t: float): return 1\nkind = f.__annotations__['t']\nassert kind is {}, kind\n"
    assert [*measures_in(text.format("float"), "mine.py").measures] == ["f"]
    with_one = "from __future__ import annotations\n" + text.replace("is {}", "== 'float'")
    assert [*measures_in(with_one, "mine.py").measures] == ["f"]


def test_no_measure_has_the_name_of_a_column():
    assert {*CURVES_SCHEMA.names, *MEASURES} == RESERVED
    of_trials = {*TRIALS_SCHEMA.names} - {*CONFIG_FIELDS} - RESERVED
    assert {*of_trials, "examples"} == OF_TRIALS


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (2, {"m": 2.0}),
        (True, {"m": 1.0}),
        (None, {}),
        (torch.tensor(0.5, requires_grad=True), {"m": 0.5}),
        (torch.tensor([0.5]), {"m": 0.5}),
        (np.float32(0.5), {"m": 0.5}),
        (np.array([0.5]), {"m": 0.5}),
        ({"a": 1, 2: torch.tensor(2.0), "none": None}, {"m_a": 1.0, "m_2": 2.0}),
        ({}, {}),
    ],
)
def test_what_a_measure_may_return(value, numbers):
    found = numbers_of("m", value)
    assert found == numbers
    assert all(type(number) is float for number in found.values())


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ([1.0], "returned list, but must return a number"),
        ("1", "returned str"),
        (1j, "returned complex"),
        (10**400, "returned int"),
        (torch.zeros(2, 3), r"returned Tensor of shape \(2, 3\)"),
        (np.zeros(0), r"returned ndarray of shape \(0,\)"),
        ({"a": {"b": 1}}, "returned dict"),
        ({"a b": 1}, "returned 'a b', but a name must be of letters"),
        ({"": 1}, "but a name must be of letters"),
        ({"\ud800": 1}, "but a name must be of letters"),
        ({1: 1, "1": 2}, "two numbers of one name"),
    ],
)
def test_what_it_may_not(value, rule):
    with pytest.raises(TypeError, match=rule):
        numbers_of("m", value)
    with pytest.raises(TypeError, match="weight_norm is another column"):
        numbers_of("weight", {"norm": 1})
    with pytest.raises(TypeError, match="grok_step is another column"):
        numbers_of("grok", {"step": 1})


def test_a_measure_sees_the_trained_model_at_its_step_and_its_data(tmp_path):
    text = """
def own(trained):
    table, rows = trained.dataset.table, trained.dataset.split.heldout
    targets, logits = table.targets[rows], trained.model(table.tokens[rows])
    right = logits.argmax(-1).gather(1, table.positions[rows]) == targets
    return {"match": right.double().mean(), "step": trained.step, "loss": trained.metrics["train_loss"],
            "decay": trained.config.weight_decay, "training": trained.model.training}
"""
    config = small_trial(eval_start=True)
    found = metrics(trained_with(tmp_path, text, config), config)
    assert [one["own_step"] for one in found] == [0, 20, 40, 60]
    for one in found:
        assert one["own_match"] == one["heldout_exact_match"]
        assert one["own_loss"] == one["train_loss"]
        assert (one["own_decay"], one["own_training"]) == (config.weight_decay, 0.0)


def test_it_is_what_load_models_gives(tmp_path):
    words = [*WORDS, f"--measure_file={tmp_path}/mine.py", "--keep_checkpoints=all", "--checkpoint_interval=10"]
    (tmp_path / "mine.py").write_text(NORM)
    assert main(["train", "--eval_start", *words, f"--out={tmp_path}/out", "--quiet"]) == 0
    there = curves(tmp_path / "out")
    models = {m.step: m for m in grokray.load_models(tmp_path / "out")}
    assert there["step"].to_pylist() == [*models] == [0, 10, 20, 30]
    assert there["norm"].to_pylist() == [m.model.token_embedding.weight.norm().item() for m in models.values()]
    assert models[30].metrics["norm"] == there["norm"].to_pylist()[-1]


SPOILING = """
import random, numpy, torch

def spoils(trained):
    for tensors in trained.checkpoint.tensors.values():
        for tensor in tensors.values():
            tensor.fill_(7.0)
    for parameter in trained.parameters.values():
        parameter.fill_(7.0)
    with torch.no_grad():
        trained.model.head.weight.fill_(7.0)
    trained.metrics.clear()
    torch.manual_seed(1), numpy.random.seed(1), random.seed(1)
    return 0

def sees(trained):
    return trained.model.token_embedding.weight.norm() + trained.model.head.weight.norm()
"""
SEEING = "def sees" + SPOILING.split("def sees")[1]


def test_trials_feel_nothing_of_a_measure_and_measures_nothing_of_each_other(tmp_path):
    configs = [small_trial(seed=seed, dropout=0.1) for seed in range(2)]
    kept = {"keep_checkpoints": "last+best"}
    plain = trained_with(tmp_path / "plain", SEEING, *configs, **kept)
    spoilt = trained_with(tmp_path / "spoilt", SPOILING, *configs, **kept)
    for config in configs:
        without = [{k: v for k, v in m.items() if k != "spoils"} for m in metrics(spoilt, config)]
        assert without == metrics(plain, config)
        for which in ("last", "best"):
            one, other = (
                grokray.load_model(Store.from_uri(tmp_path / name).path("checkpoints/" + file))
                for name, events in (("plain", plain), ("spoilt", spoilt))
                for file in [_checkpoint(events, config, which)]
            )
            for name, tensor in one.parameters.items():
                assert torch.equal(tensor, other.parameters[name])


SETTING = """
import torch
torch.set_default_dtype(torch.float64)

def sets(trained):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.set_default_device("meta")
    return torch.zeros(()).dtype == torch.float64

def sees(trained):
    return torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
"""


def settings() -> tuple[object, ...]:
    numbers = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    exact = torch.are_deterministic_algorithms_enabled()
    return *numbers, exact, torch.get_float32_matmul_precision(), torch.get_default_device()


def test_what_a_measure_sets_for_all_of_torch_holds_for_itself_alone(tmp_path):
    before = settings()
    config = small_trial()
    found = metrics(trained_with(tmp_path / "setting", SETTING, config), config)
    assert settings() == before
    assert [(one.pop("sets"), one.pop("sees")) for one in found] == [(1.0, 1.0)] * 3
    plain = metrics(trained_with(tmp_path / "plain", NORM, config), config)
    assert found == [{k: v for k, v in one.items() if k != "norm"} for one in plain]


def test_a_precision_of_one_backend_is_taken_back_too(tmp_path):
    text = "import torch\ndef sets(trained):\n    torch.backends.cuda.matmul.fp32_precision = 'tf32'\n    return 1\n"
    before, config = settings(), small_trial()
    found = trained_with(tmp_path, text + "def sees(trained): return 1", config)
    assert settings() == before
    assert [(one["sets"], one["sees"]) for one in metrics(found, config)] == [(1, 1)] * 3
    assert torch.backends.cuda.matmul.fp32_precision != "tf32"


def test_the_working_directory_is_that_of_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import os\nos.chdir('/')\ndef f(t):\n    os.chdir('/')\n    return 1\n")
    assert main(["train", *WORDS, "--measure_file=mine.py", "--out=out", "--quiet"]) == 0
    assert Path.cwd() == tmp_path
    assert curves(tmp_path / "out")["f"].to_pylist() == [1, 1, 1]


def test_torch_is_as_it_comes_after_a_file_that_loads_it(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\ntorch.set_default_dtype(torch.float64)\n"
        "torch.set_float32_matmul_precision('high')\ndef f(t): return 1\n"
    )
    code = f"""
import sys
from grokray.sweep.measure_file import measures_in
assert "torch" not in sys.modules
measures_in(open({str(tmp_path / "mine.py")!r}).read(), "mine.py")
torch = sys.modules["torch"]
print(torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_default_device())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("torch.float32 highest cpu\n", "")


def _checkpoint(events: list[Event], config: TrialConfig, which: str) -> str:
    names = [e["name"] for e in events if e["event"] == "checkpoint" and e["trial_id"] == config.id]
    return next(name.removeprefix("checkpoints/") for name in reversed(names) if f"{which}-" in name)


def test_random_numbers_are_those_of_the_trial_and_step_alone_or_in_company(tmp_path):
    text = """
import random, numpy, torch
def drawn(trained): return {"torch": torch.rand(()), "numpy": numpy.random.rand(), "plain": random.random()}
"""
    configs = [small_trial(seed=seed) for seed in range(3)]
    state = torch.random.get_rng_state()
    together = trained_with(tmp_path / "together", text, *configs)
    assert torch.equal(torch.random.get_rng_state(), state)
    alone = trained_with(tmp_path / "alone", text, configs[1])
    assert metrics(together, configs[1]) == metrics(alone, configs[1])
    seen = [m[f"drawn_{kind}"] for config in configs for m in metrics(together, config) for kind in ("torch", "numpy")]
    assert len(set(seen)) == len(seen) == 18


FAILING = """
def now_and_then(trained):
    if trained.step == 40:
        raise ValueError(f"at {trained.step}")
    return trained.step

def norm(trained): return 1

def norm_of(trained): return {"a": 1}

def norm_of_a(trained): return 2
"""


def test_what_a_measure_raises_costs_that_number_alone_and_is_said(tmp_path):
    config = small_trial()
    events = trained_with(tmp_path, FAILING, config)
    found = measurements(events, config)
    assert [e["metrics"].get("now_and_then") for e in found] == [20, None, 60]
    assert [e["metrics"]["norm"] for e in found] == [1, 1, 1]
    twice = "TypeError: norm_of_a was measured already"
    assert [e["faults"].pop("norm_of_a").startswith(twice) for e in found] == [True] * 3
    assert [e["faults"] for e in found] == [{}, {"now_and_then": "ValueError: at 40 (mine.py:4)"}, {}]
    assert "norm" not in found[0]["faults"]


@pytest.mark.parametrize(
    ("raised", "fault"),
    [
        ("Mute()", r"Mute \(mine\.py:9\)"),
        ("asyncio.CancelledError()", r"CancelledError \(mine\.py:9\)"),
        ("GeneratorExit('no')", r"GeneratorExit: no \(mine\.py:9\)"),
        ("AssertionError()", r"AssertionError \(mine\.py:9\)"),
        ("Quitting()", r"Quitting \(mine\.py:9\)"),
        (r"ValueError('\ud800 \x1b[31m é')", r"ValueError: \\ud800 \\x1b\[31m é \(mine\.py:9\)"),
        ("ValueError('x' * 100_000)", r"ValueError: x{287}… \(mine\.py:9\)"),
    ],
)
def test_whatever_it_raises_costs_that_number_alone(raised, fault, tmp_path):
    text = f"""import asyncio
class Mute(Exception):
    def __str__(self): raise ValueError("no text")
class Quitting(Exception):
    def __str__(self): raise SystemExit(4)

def fails(trained):
    if trained.step == 40:
        raise {raised}
    return 1
"""
    config = small_trial()
    found = measurements(trained_with(tmp_path, text, config), config)
    assert [e["metrics"].get("fails") for e in found] == [1, None, 1]
    assert re.fullmatch(fault, found[1]["faults"]["fails"])


def test_ctrl_c_in_a_measure_is_no_fault_of_it(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained_with(tmp_path, "def f(trained): raise KeyboardInterrupt", small_trial())


def test_faults_are_counted_whatever_order_they_are_read_in():
    def measured(step: int, error: str) -> Event:
        base = {"t": 0.0, "event": "measurement", "trial_id": "a", "attempt": 0, "step": step, "metrics": {}}
        return {**base, "faults": {"m": error}}

    events = [measured(20, "b"), measured(40, "a"), measured(60, "c")]
    for order in (events, events[::-1]):
        state = SweepState()
        state.apply_all(order)
        assert state.faults == {"m": Fault(times=3, error="a")}
    lines = [*unmeasured(progress_of(state, 1))]
    assert lines == [Text("not measured: m 3 ×, as a")]


def space(tmp_path: Path, text: str = NORM, path: str = "mine.py", more: str = "") -> Path:
    (tmp_path / "mine.py").write_text(text)
    return write(tmp_path, GRID, **{"trial: {": f"trial: {{measure_file: {path}, {more}"})


def test_a_space_whose_measures_cannot_be_taken_is_refused_at_its_place(tmp_path):
    def refusal(text: str, path: str = "mine.py") -> str:
        with pytest.raises(ConfigError) as error:
            load_sweep(space(tmp_path, text, path))
        (problem,) = error.value.problems
        assert str(problem.place).endswith("tiny.yaml:16:9")
        return problem.message

    assert refusal("def f(t): return t.x").endswith(
        "mine.py, but its f fails before the first step of a trial: AttributeError: 'Restored' object has no "
        "attribute 'x' (mine.py:1)"
    )
    assert refusal("def f(").endswith("is no Python: '(' was never closed, line 1")
    assert refusal(NORM, "other.py").endswith("but there is no such file")
    assert refusal(NORM, "3") == "trial.measure_file is 3, but must be a text"


def test_it_is_tried_with_every_kind_of_task_but_not_where_there_are_other_faults(tmp_path):
    text = "def f(t):\n    assert t.config.task_type == 'classification', 'a sequence'\n    return 1\n"
    kinds = "  task_type: {values: [classification, sequence]}\n  operation:"
    path = space(tmp_path, text)
    path.write_text(path.read_text().replace("  operation:", kinds))
    with pytest.raises(ConfigError, match="AssertionError: a sequence"):
        load_sweep(path)
    with pytest.raises(ConfigError) as error:
        load_sweep(path, ["parameters.num_heads=3"])
    assert "measure_file" not in str(error.value)


def test_a_dry_run_says_how_long_they_take(tmp_path, capsys):
    slow = "import time\n\ndef slow(trained):\n    time.sleep(0.2)\n    return 1\n"
    assert main(["sweep", str(space(tmp_path, NORM + slow)), "--dry-run", f"--out={tmp_path}/out"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("measures of your own")]
    found = re.fullmatch(r"measures of your own: norm, slow, ([\d.]+) ms each time of the first trial", line)
    assert found is not None
    assert float(found[1]) >= 200


def test_it_defines_no_trial_and_no_sweep(tmp_path):
    config = load_sweep(space(tmp_path))
    plain = load_sweep(write(tmp_path))
    assert config.trial.measure_file == f"{tmp_path}/mine.py"
    assert config.fingerprint() == plain.fingerprint()
    choice = next(config.grid())
    assert config.trial_config(choice, 0) == plain.trial_config(choice, 0)


def test_it_goes_along_to_a_cluster(tmp_path):
    config = load_sweep(space(tmp_path))
    with Parcel(config=config, out="s3://bucket/x").packed() as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["measures.py", "tiny.yaml"]
        sent = load_sweep(folder / "tiny.yaml")
        assert sent.trial.measure_file == str(folder / "measures.py")
        assert (folder / "measures.py").read_text() == NORM


def begun(tmp_path: Path, config: SweepConfig) -> SweepFolder:
    folder = SweepFolder.create_or_open(tmp_path / "out", config.to_yaml(), config.fingerprint(), {})
    keep(folder.store, config)
    return folder


def load(path: Path, out: Path) -> SweepConfig:
    return sweep_of(str(path), None, None, None, lambda config: str(out))


def test_the_folder_has_the_file_as_it_is_now_and_goes_on_without_the_original(tmp_path):
    path, out = space(tmp_path), tmp_path / "out"
    folder = begun(tmp_path, load(path, out))
    (tmp_path / "mine.py").write_text(NORM.replace("norm(trained)", "other(trained)"))
    begun(tmp_path, load(path, out))
    assert "other" in folder.store.read_bytes(KEPT).decode()
    (tmp_path / "mine.py").unlink()
    with pytest.raises(ConfigError, match="no such file"):
        load(path, tmp_path / "another")
    config = load(path, out)
    assert config.stand_ins == {f"{tmp_path}/mine.py": f"{out}/{KEPT}"}
    begun(tmp_path, config)
    assert "other" in folder.store.read_bytes(KEPT).decode()
    path.write_text(path.read_text().replace("mine.py", "slip.py"))
    with pytest.raises(ConfigError, match=r"slip.py, but there is no such file"):
        load(path, out)


def test_a_file_that_has_gone_since_it_was_tried_out_is_an_error_of_ours(tmp_path):
    config = load_sweep(space(tmp_path))
    (tmp_path / "mine.py").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"trial.measure_file is .*mine.py, but is no text in UTF-8"):
        measures_of(config)


@pytest.mark.ray
@pytest.mark.parametrize("execution", ["fused", "process"])
def test_a_sweep_has_them_in_its_curves_and_repeats_a_trial_with_them(execution, one_core, tmp_path, capsys):
    failing = NORM + "def late(trained):\n    assert trained.step < 40, 'late'\n    return trained.step\n"
    changes = {"300": "40", "[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3]", "[0, 0.2]": "[0.2]", "name: tiny": "name: own"}
    path = space(tmp_path, failing)
    for old, new in changes.items():
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    path.write_text(f"{path.read_text()}execution: {execution}\nresources: {{cpu: 1}}\n")
    assert main(["sweep", str(path), "--out", f"{tmp_path}/out"]) == 0
    there = curves(tmp_path / "out")
    assert there.num_rows == 8
    assert there["norm"].null_count == 0
    assert there["late"].to_pylist() == [20, None] * 4
    assert "not measured: late 4 ×, as AssertionError: late (mine.py:4)" in capsys.readouterr().out
    trial = there["trial_id"][0].as_py()
    again = ["train", "--from-trial", f"{tmp_path}/out", trial, "--quiet"]
    assert main([*again, f"--out={tmp_path}/plain"]) == 0  # what lies in the folder of another is not run
    assert "curve is identical" in capsys.readouterr().out
    assert "norm" not in curves(tmp_path / "plain").column_names
    assert main([*again, f"--out={tmp_path}/again", f"--measure_file={tmp_path}/out/{KEPT}"]) == 0
    assert "curve is identical" in capsys.readouterr().out
    assert curves(tmp_path / "again")["norm"].to_pylist() == there["norm"].to_pylist()[:2]
    assert main(["status", f"{tmp_path}/out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["not_measured"]
    assert found == {"late": {"times": 4, "error": "AssertionError: late (mine.py:4)"}}


def test_train_takes_them_by_an_option_and_goes_on_with_them(tmp_path, capsys):
    (tmp_path / "bad.py").write_text("def f(t): return 'x'")
    assert main(["train", *WORDS, f"--measure_file={tmp_path}/bad.py", f"--out={tmp_path}/out"]) == 2
    assert "bad.py, but its f fails before the first step of a trial: TypeError" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.py").write_text(NORM + "def late(t):\n    return 1 / (t.step - 20)\n")
    assert main(["train", *WORDS, f"--measure_file={tmp_path}/mine.py", f"--out={tmp_path}/out"]) == 0
    told = capsys.readouterr().err
    assert told == "not measured: late, as ZeroDivisionError: division by zero (mine.py:4)\n"
    assert curves(tmp_path / "out")["norm"].null_count == 0
    assert curves(tmp_path / "out")["late"].to_pylist() == [-0.1, None, 0.1]


def test_a_plot_shows_them(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(NORM)
    assert main(["train", *WORDS, f"--measure_file={tmp_path}/mine.py", f"--out={tmp_path}/out", "--quiet"]) == 0
    assert main(["plot", f"{tmp_path}/out"]) == 0
    (svg,) = (tmp_path / "out/plots").glob("*.svg")
    assert ">norm</text>" in svg.read_text()


def test_curves_that_lack_a_measure_of_ones_own_are_the_same(tmp_path):
    then = {10: {"train_loss": 1.0, "norm": 2.0}}
    assert parting(then, {10: {"train_loss": 1.0}}, ended=True) is None
    assert parting({10: {"train_loss": 1.0}}, then, ended=True) is None
    assert parting(then, {10: {"train_loss": 1.0, "norm": 3.0}}, ended=True) == "step 10: norm is 3.0, was 2.0 (by 1)"
    assert parting({10: {"train_loss": 1.0, "weight_norm": 1.0}}, {10: {"train_loss": 1.0}}, ended=True) is not None


def test_an_interrupted_trial_goes_on_with_its_measures(tmp_path):
    config, store = small_trial(num_steps=80), Store.from_uri(tmp_path)
    told = Assignment(trial_id=config.id, config=config.model_dump(), checkpoint_interval=20)
    first = Trainer(store, role="first", measures=measures_in(NORM, "m.py"))
    first.start(told)
    while not (first.engine.trial_steps >= 40):
        first.turn()
    first.stop(config.id, save=True)
    first.close()
    second = Trainer(store, role="second", measures=measures_in(NORM, "m.py"))
    assert second.start(told) >= 40
    while second.trials:
        second.turn()
    second.close()
    events = [event for chunk in JournalReader(store).chunks() for event in chunk]
    found = {e["step"]: e["metrics"]["norm"] for e in measurements(events, config)}
    assert [*found] == [20, 40, 60, 80]
    whole = trained_with(tmp_path / "whole", NORM, config)
    assert [*found.values()] == [m["norm"] for m in metrics(whole, config)]


DOC = Path(grokray.__file__).parents[1] / "docs/measures.md"


@pytest.mark.parametrize("changes", [{}, {"task_type": "sequence", "base": 2, "operation": "x+y"}])
def test_the_documents_example_measures_what_it_says(changes, tmp_path):
    (text,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    config = small_trial(**changes)
    found = metrics(trained_with(tmp_path, text, config, keep_checkpoints="last"), config)[-1]
    trained = grokray.load_model(next(tmp_path.glob(f"checkpoints/{config.id}/last-*")))
    weight = trained.model.blocks[0].ffn1.weight.detach()
    assert found["embedding_norm"] == trained.parameters["token_embedding"].norm().item()
    assert found["stable_rank_0"] == pytest.approx(
        (weight**2).sum().item() / torch.linalg.svdvals(weight)[0].item() ** 2, rel=1e-4
    )
    margins = []
    table = trained.dataset.table
    for row in trained.dataset.split.heldout.tolist():
        logits = trained.model(table.tokens[[row]])[0].detach()
        for place, right in zip(table.positions[row].tolist(), table.targets[row].tolist(), strict=True):
            if right >= 0:
                others = torch.cat([logits[place, :right], logits[place, right + 1 :]])
                margins.append((logits[place, right] - others.max()).item())
    assert found["margin"] == pytest.approx(min(margins), abs=1e-5)
    assert (found["margin"] < 0) == (found["heldout_exact_match"] < 1)


def test_of_an_object_store_they_lie_in_the_cache(tmp_path, monkeypatch):
    store = memory_store("s3://bucket/measures-of-a-sweep")
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path / "cache"))
    assert copy_of_measures(store) is None
    store.write_atomic(KEPT, NORM.encode())
    found = copy_of_measures(store)
    assert found is not None
    assert Path(found).parent == tmp_path / "cache/inputs"
    assert Path(found).read_text() == NORM


def test_a_machine_that_lacks_what_they_need_says_so(tmp_path):
    options = WorkerOptions(store_uri=str(tmp_path), measures=["import nothing_of_that_name", "/home/me/mine.py"])
    with pytest.raises(ExecutionError, match=r"measure_file is /home/me/mine.py, but running it fails: .*:1\), on \w"):
        options.make_trainer("engine")
