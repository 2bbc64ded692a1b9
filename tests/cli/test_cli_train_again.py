"""`grokray train --resume` and `--from-trial`: the same trial once more, and whether its curve is the same."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import grokray.engine.stack as of_stack
from grokray.cli.curves import curve_of, parting
from grokray.cli.main import main
from grokray.cli.run_options import run_of
from grokray.cli.train_folder import folder_of_train
from grokray.cli.train_run import as_sweep
from grokray.cli.train_source import source_of
from grokray.engine.backends import backend_for
from grokray.errors import ConfigError
from grokray.records.folder import SweepFolder
from grokray.records.tables import read_trials
from grokray.sweep.kept import full_id
from grokray.sweep.load import load_sweep
from grokray.sweep.runner import run_sweep
from grokray.sweep.sections import Tracking
from grokray.tasks.resolve import resolve
from tests.sweep.sweeps import HEAD

TINY = [
    *("--operation", "x+y_mod", "--modulus", "7", "--num_layers", "1", "--dim_model", "8", "--num_heads", "1"),
    *(
        "--batch_size",
        "16",
        "--learning_rate",
        "1e-2",
        "--eval_interval",
        "10",
        "--num_steps",
        "40",
        "--dropout",
        "0.1",
    ),
]
SWEEP = (
    HEAD
    + """\
  learning_rate: {values: [1e-3, 3e-2]}
  dropout: {values: [0.0, 0.2]}
  num_steps: {value: 120}
trial:
  {eval_interval: 20, checkpoint_interval: 60, threshold: 1.0, sustain: 100, keep_checkpoints: last+best, examples: 2}
scheduler: {type: asha, grace_period: 40, reduction_factor: 2, metric: train_loss}
"""
)


def error(capsys, *words: str) -> list[str]:
    capsys.readouterr()
    assert main(["train", *words]) == 2
    return capsys.readouterr().err.splitlines()


def id_of(folder: Path) -> str:
    (trial_id,) = SweepFolder.open(folder).state().trials
    return trial_id


def curve(folder: Path) -> dict:
    return curve_of(SweepFolder.open(folder), id_of(folder))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A folder of `grokray train` whose trial has ended."""
    folder = tmp_path_factory.mktemp("tiny") / "o"
    assert main(["train", *TINY, "--out", str(folder), "--quiet"]) == 0
    return folder


# -- resume


def test_an_interrupted_trial_goes_on_as_the_same_command_would(tmp_path, capsys):
    out = tmp_path / "o"
    words = [*TINY, "--eval_interval", "20", "--num_steps", "800", "--examples", "1"]
    words += ["--keep_checkpoints", "all", "--checkpoint_interval", "60"]
    command = [sys.executable, "-m", "grokray", "train", *words, "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while not process.stdout.readline().startswith("       100"):
            pass
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130

    assert main(["train", "--resume", str(out)]) == 0
    told = capsys.readouterr().out
    assert "going on from step" in told
    assert main(["train", *words, "--out", str(tmp_path / "undisturbed"), "--quiet"]) == 0
    assert curve(out) == curve(tmp_path / "undisturbed")
    examples = [next((folder / "examples").iterdir()).read_text() for folder in (out, tmp_path / "undisturbed")]
    assert examples[0] == examples[1]
    names = [{p.name for p in folder.glob("checkpoints/*/0*.pt")} for folder in (out, tmp_path / "undisturbed")]
    assert {int(name[:10]) for name in names[1]} == set(range(60, 800, 60))
    assert {int(name[:10]) for name in names[1]} <= {int(name[:10]) for name in names[0]}

    assert error(capsys, "--resume", str(out)) == [f"error: the trial in {out} has ended: budget, at step 800"]


@pytest.mark.parametrize(("option", "wanted"), [(None, "minimal"), ("disabled", "disabled"), ("max", "maximal")])
def test_it_is_tracked_on_as_its_folder_says_unless_an_option_does(option, wanted, tmp_path):
    told = Tracking(wandb="minimal", mode="offline", project="mine", tensorboard=True)
    config = resolve({"operation": "x+y_mod", "modulus": 7})
    folder_of_train(str(tmp_path), as_sweep(config, told), config, {})
    of_command = dict.fromkeys(("checkpoint_interval", "keep_checkpoints", "examples", "measure_file"))
    source = source_of({}, resume=str(tmp_path), from_trial=None, out=None)
    run = run_of(
        *(source, "train"),
        **{"device": "cpu", "compile": "auto", "threads": "1", "tensorboard": False, "wandb_tracking": option},
        **of_command,
    )
    assert run.tracking == told.model_copy(update={"wandb": wanted})


def test_a_folder_of_a_version_that_knew_fewer_parameters(tmp_path, tiny, capsys):
    old = tmp_path / "old"
    shutil.copytree(tiny, old)
    meta = json.loads((old / "meta.json").read_text())
    for name in ("beta1", "init_scale"):
        del meta["fingerprint"][f"parameters.{name}"]
        meta["fingerprint"]["parameters"] = meta["fingerprint"]["parameters"].replace(f', "{name}"', "")
        text = (old / "sweep.yaml").read_text()
        (old / "sweep.yaml").write_text(re.sub(rf"  {name}:\n    value: .*\n", "", text))
        assert name not in (old / "sweep.yaml").read_text() + json.dumps(meta)
    (old / "meta.json").write_text(json.dumps(meta))
    (message,) = error(capsys, "--resume", str(old))
    assert message.startswith(f"error: the trial in {old} has ended: ")
    assert main(["train", *TINY, "--out", str(old), "--quiet"]) == 0
    assert curve(old) == curve(tiny)
    assert error(capsys, *TINY, "--dropout", "0.2", "--out", str(old))[0].endswith(
        "holds a sweep of another search space:"
    )


def test_what_cannot_be_gone_on_with(tmp_path, tiny, capsys):
    (line,) = error(capsys, "--resume", str(tmp_path / "none"))
    assert "is no sweep's folder: it holds no meta.json" in line
    assert error(capsys, "--resume", str(tiny), "--dropout", "0.3", "--out", "x", "--from-trial", "a", "b") == [
        "error: --resume goes on with a trial as it is, so --dropout, --from-trial, --out must be left out"
    ]
    assert error(capsys, "--from-trial", str(tiny), "a", "--num_steps", "3") == [
        "error: --from-trial repeats a trial as it is, so --num_steps must be left out"
    ]


def test_a_sweep_is_not_gone_on_with_by_train(begun, tmp_path, capsys):
    begun()
    line, hint = error(capsys, "--resume", str(tmp_path / "out"))
    assert line == f"error: {tmp_path}/out holds a sweep, but must be a folder of grokray train"
    assert hint.startswith("hint: grokray sweep FILE --out DIR")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--keep_checkpoints", "some"],
            "--keep_checkpoints is 'some', but must be one of none, last, best, last+best",
        ),
        (["--examples", "-1"], "--examples is -1, but must be at least 0"),
        (["--examples", "1000000"], "--examples is 1000000, but must be at most 100000"),
        (["--examples", "few"], "--examples is 'few', but must be a whole number"),
    ],
)
def test_wrong_options(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = error(capsys, *TINY, *words)
    assert line.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


# -- from a sweep's trial


def test_a_trial_repeated_has_the_same_curve(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (trial_id,) = SweepFolder.open(tiny).state().trials
    assert main(["train", "--from-trial", str(tiny), trial_id[:4], "--quiet"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"curve is identical to that in {tiny}: 4 measurements, up to step 40"
    assert curve(tmp_path / "results/train" / trial_id) == curve(tiny)


def changed(folder: Path, target: Path, change) -> Path:
    """A copy whose journal says otherwise."""
    shutil.copytree(folder, target)
    for part in (target / "journal").iterdir():
        events = [json.loads(line) for line in part.read_text().splitlines()]
        kept = [event for event in events if change(event) is not False]
        part.write_text("".join(json.dumps(event) + "\n" for event in kept))
    return target


def test_a_curve_that_differs_is_said_to_and_where_and_by_how_much(tiny, tmp_path, capsys):
    was = {}

    def worse(event):
        if event["event"] == "measurement" and event["step"] >= 20:
            was[event["step"]] = event["metrics"]["heldout_loss"]
            event["metrics"]["heldout_loss"] += 0.5

    other = changed(tiny, tmp_path / "other", worse)
    words = ["train", "--from-trial", str(other), id_of(tiny), "--out", str(tmp_path / "again"), "--quiet"]
    assert main(words) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    expected = f"first at step 20: heldout_loss is {was[20]!r}, was {was[20] + 0.5!r} (by 0.5)"
    assert last == f"curve differs from that in {other} {expected}"
    assert main(words) == 1  # and once more, now that it has been repeated


def test_a_curve_that_is_shorter_or_longer(tiny, tmp_path, capsys):
    shorter = changed(tiny, tmp_path / "shorter", lambda e: not (e["event"] == "measurement" and e["step"] == 40))
    assert main(["train", "--from-trial", str(shorter), id_of(tiny), "--out", str(tmp_path / "a"), "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("first at step 40: it had ended before")
    unfinished = changed(shorter, tmp_path / "unfinished", lambda e: e["event"] not in ("finish", "end"))
    assert main(["train", "--from-trial", str(unfinished), id_of(tiny), "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("3 measurements, up to step 30, where it is unfinished")


def with_kernels(folder: Path, target: Path, compiled: bool | None, change=lambda event: None) -> Path:
    """A copy whose journal says that such kernels trained the trial; None as if nobody had said."""

    def say(event):
        if event["event"] == "kernels":
            event["compiled"] = compiled
            return compiled is not None
        return change(event)

    return changed(folder, target, say)


@pytest.fixture
def wanted(monkeypatch) -> list[bool]:
    """Whether kernels were to be compiled, stack by stack; all are eager, so that none is."""
    wanted = []

    def backend(*args, compiled: bool):
        wanted.append(compiled)
        return backend_for(*args, compiled=False)

    monkeypatch.setattr(of_stack, "backend_for", backend)
    return wanted


@pytest.mark.parametrize("compiled", [True, False])
def test_a_trial_is_repeated_with_the_kernels_that_it_had(compiled, tiny, tmp_path, wanted, capsys):
    other = with_kernels(tiny, tmp_path / "other", compiled)
    assert main(["train", "--from-trial", str(other), id_of(tiny), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert wanted == [compiled]
    (trial,) = SweepFolder.open(tmp_path / "a").state().trials.values()
    assert trial.compiled is compiled
    assert collected(tmp_path / "a") == [compiled]


def test_an_option_overrides_the_kernels_that_a_repeated_trial_had(tiny, tmp_path, wanted, capsys):
    words = ["train", "--from-trial", str(with_kernels(tiny, tmp_path / "other", True))]
    assert main([*words, id_of(tiny), "--compile", "off", "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert wanted == [False]


def test_a_trial_of_an_older_folder_is_repeated_as_its_search_space_says(tiny, tmp_path, wanted, capsys):
    older = with_kernels(tiny, tmp_path / "older", None)
    text = (older / "sweep.yaml").read_text()
    assert "compile: auto" in text
    (older / "sweep.yaml").write_text(text.replace("compile: auto", "compile: 'on'"))
    assert main(["train", "--from-trial", str(older), id_of(tiny), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert wanted == [True]


@pytest.mark.parametrize(("compiled", "option"), [(True, "off"), (False, "on"), (True, "auto"), (False, "auto")])
def test_a_trial_goes_on_with_the_kernels_that_it_began_with(compiled, option, tiny, tmp_path, wanted, capsys):
    def unfinished(event):
        return event["event"] not in ("finish", "end", "checkpoint")

    other = with_kernels(tiny, tmp_path / "other", compiled, unfinished)
    shutil.rmtree(other / "checkpoints")  # from the start once more: its kernels are known all the same
    assert main(["train", "--resume", str(other), "--compile", option, "--quiet"]) == 0
    assert wanted == [compiled]
    assert collected(other) == [compiled]


def collected(folder: Path) -> list[bool | None]:
    return read_trials(SweepFolder.open(folder))["compiled"].to_pylist()


def test_trials_that_cannot_be_repeated(tiny, begun, tmp_path, capsys):
    (trial_id,) = SweepFolder.open(tiny).state().trials
    assert error(capsys, "--from-trial", str(tiny), "zz") == [
        f"error: there is no trial in {tiny} whose id begins with 'zz'; there is {trial_id}"
    ]
    line, hint = error(capsys, "--from-trial", str(tiny), trial_id, "--out", str(tiny))
    assert line == f"error: {tiny} holds the trial that is to be repeated"
    assert hint == "hint: --out DIR names another folder"
    begun()
    ids = list(SweepFolder.open(tmp_path / "out").state().trials)
    no_start = "error: trial is '', but must be a trial's id, or how it begins"
    assert error(capsys, "--from-trial", str(tmp_path / "out"), "") == [no_start]
    with pytest.raises(ConfigError, match="'a' begins the id of 2 trials: ab, ac"):
        full_id("a", ["ac", "ab", "b"], "trial")
    assert "has not been measured yet" in error(capsys, "--from-trial", str(tmp_path / "out"), ids[3])[0]
    assert "is no sweep's folder" in error(capsys, "--from-trial", str(tmp_path / "none"), "a")[0]
    assert "requires 2 arguments" in error(capsys, "--from-trial", str(tiny))[0]
    assert main(["collect", str(tmp_path / "out")]) == 0
    SweepFolder.open(tmp_path / "out").store.delete_tree("journal")
    line, hint = error(capsys, "--from-trial", str(tmp_path / "out"), ids[0])
    assert line == f"error: {tmp_path}/out holds tables but no journal, which alone tells how a trial was trained"
    assert hint == "hint: `grokray analyze` and `grokray report` read the tables"


@pytest.mark.parametrize(
    ("field", "what"),
    [('"colour":7', "this one cannot read colour"), ('"dropout":0.5', "here its config means [0-9a-f]{16}")],
)
def test_a_trial_of_another_version_is_not_repeated(field, what, tiny, tmp_path, capsys):
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    (part,) = other.glob("journal/driver-*")
    part.write_text(part.read_text().replace('"dropout":0.1', field))
    (line,) = error(capsys, "--from-trial", str(other), id_of(tiny), "--out", str(tmp_path / "a"))
    assert re.fullmatch(f"error: trial {id_of(tiny)} of {other} is of another version: {what}", line)


def test_where_curves_part():
    one = {10: {"a": 1.0, "b": None}, 20: {"a": 2.0, "b": 0.5}}
    assert parting(one, one, ended=True) is None
    assert parting(one, {**one, 30: {}}, ended=False) is None
    assert parting(one, {**one, 30: {}}, ended=True) == "step 30: it had ended before"
    assert parting(one, {10: one[10]}, ended=True) == "step 20: it was measured then, but not now"
    assert parting(one, {**one, 10: {"a": 1.0, "b": 3.0}}, ended=True) == "step 10: b is 3.0, was no number"
    assert parting(one, {**one, 20: {"a": 1.75, "b": 0.0}}, ended=True) == "step 20: a is 1.75, was 2.0 (by 0.25)"


@pytest.mark.ray
def test_trials_of_a_sweep_repeated_alone_are_the_same(one_core, tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    out = tmp_path / "out"
    run_sweep(load_sweep(tmp_path / "tiny.yaml"), out)
    trials = SweepFolder.open(out).state().trials
    assert len(trials) == 8
    by_outcome = {trial.outcome: trial for trial in trials.values()}
    assert set(by_outcome) == {"budget", "pruned"}
    for outcome, trial in by_outcome.items():
        words = ["train", "--from-trial", str(out), trial.trial_id, "--out", str(tmp_path / outcome), "--quiet"]
        capsys.readouterr()
        assert main(words) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith(f"curve is identical to that in {out}: ")
        assert last.endswith("where it is pruned") == (outcome == "pruned")
        assert max(curve(tmp_path / outcome)) == 120

    for trial in trials.values():
        kinds = {path.name[:4]: int(path.name[5:15]) for path in (out / "checkpoints" / trial.trial_id).iterdir()}
        assert set(kinds) == {"last", "best"}
        assert kinds["last"] == trial.last_step
        lines = [json.loads(line) for line in (out / f"examples/{trial.trial_id}.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == sorted([*range(20, trial.last_step + 1, 20)] * 4)
        assert main(["eval", str(out), "--trial", trial.trial_id, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["metrics"] == trial.last_metrics
        assert found["as_the_run_measured"]
    assert "holds checkpoints of 8 trials" in error_of_eval(capsys, str(out))


def error_of_eval(capsys, *words: str) -> str:
    assert main(["eval", *words]) == 2
    return capsys.readouterr().err
