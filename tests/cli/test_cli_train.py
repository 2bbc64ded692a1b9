"""`grokray train`: options, one trial from its start to its records, and going on after an interruption."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from grokray.cli.main import main
from grokray.cli.train_lines import _loss
from grokray.cli.train_options import parameters_from, spell_out_flags, trial_from
from grokray.cli.train_run import as_sweep
from grokray.cli.usage import threads_of
from grokray.errors import ConfigError
from grokray.records.folder import SweepFolder
from grokray.records.tables import read_curves
from grokray.sweep.load import load_text
from grokray.tasks.draft import PARAMETERS
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig

TINY = [
    *("--modulus", "7", "--num_layers", "1", "--dim_model", "8", "--num_heads", "1", "--batch_size", "16"),
    *("--learning_rate", "1e-2", "--eval_interval", "10", "--num_steps", "40", "--training_fraction", "0.6"),
]
# A threshold so low that it is reached at once.
GROKS = [*TINY, "--num_steps", "2000", "--threshold", "0.1", "--sustain", "2"]
WITH_TIMES = {"wall_time_s"}


def curve(folder):
    rows = read_curves(SweepFolder.open(folder)).to_pylist()
    return [{k: v for k, v in row.items() if k not in (*WITH_TIMES, "attempt")} for row in rows]


def test_a_trial_from_its_start_to_its_records(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("trial ")
    assert [line.split()[0] for line in lines[3:7]] == ["10", "20", "30", "40"]
    assert "outcome: budget (all steps done, not grokked)" in lines
    (row,) = pq.read_table(out / "trials.parquet").to_pylist()
    assert (row["outcome"], row["steps_trained"], row["modulus"], row["state"]) == ("budget", 40, 7, "ended")
    assert [r["step"] for r in curve(out)] == [10, 20, 30, 40]
    assert main(["status", str(out)]) == 0
    assert "all trials have ended" in capsys.readouterr().out
    assert main(["collect", str(out)]) == 0
    assert "(4 rows in 1 file)" in capsys.readouterr().out


def test_an_option_that_the_trial_has_no_use_for_is_remarked(tmp_path, capsys):
    assert main(["train", *TINY, "--base", "3", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("note: the trial has no use for --base\ntrial ")
    words = [
        "--operation",
        "x+y",
        "--operand_limit",
        "7",
        "--modulus",
        "7",
        "--num_steps",
        "30",
        "--eval_interval",
        "10",
    ]
    assert main(["train", *words, "--dim_model", "8", "--num_heads", "1", "--out", str(tmp_path / "plain")]) == 0
    said = "note: the trial has no use for --modulus: x+y is plain, and x+y_mod modulo it\n"
    assert capsys.readouterr().out.startswith(said)


def test_a_trial_too_short_to_grok_is_remarked(tmp_path, capsys):
    assert main(["train", *TINY, "--sustain", "5", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("note: 4 measurements, but sustain is 5: it cannot grok\ntrial ")


def test_a_small_last_batch_is_said(tmp_path, capsys):
    small = "note: its epochs end with a batch of 1 row, whose noise may keep a trial from memorizing; drop_last leaves"
    for options, is_said in (([], True), (["--drop_last"], False)):
        out = str(tmp_path / "_".join(["t", *options]))
        assert main(["train", *TINY, "--batch_size", "12", *options, "--out", out]) == 0
        assert capsys.readouterr().out.startswith(small) == is_said


def test_the_folder_is_named_after_the_trial(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY, "--quiet"]) == 0
    (folder,) = (tmp_path / "results/train").iterdir()
    assert folder.name == pq.read_table(folder / "trials.parquet")["trial_id"][0].as_py()
    assert capsys.readouterr().out.startswith("outcome: budget")


def test_an_ended_trial_is_not_trained_again(tmp_path, capsys):
    words = ["train", *TINY, "--out", str(tmp_path / "out")]
    main(words)
    before = curve(tmp_path / "out")
    first = capsys.readouterr().out.split("outcome:")[1]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out == "outcome:" + first
    assert curve(tmp_path / "out") == before
    assert SweepFolder.open(tmp_path / "out").state().trials.popitem()[1].attempt == 0


def test_another_trial_in_the_same_folder_is_refused(tmp_path, capsys):
    main(["train", *TINY, "--out", str(tmp_path / "out"), "--quiet"])
    assert main(["train", *TINY, "--dropout", "0.3", "--out", str(tmp_path / "out")]) == 2
    assert "parameters.dropout" in capsys.readouterr().err


def test_memorization_and_grokking_are_told(tmp_path, capsys):
    assert main(["train", *GROKS, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    (row,) = pq.read_table(tmp_path / "out/trials.parquet").to_pylist()
    assert row["outcome"] == "grokked"
    assert f"memorized after step {row['memorization_step_lower']:,}, by step {row['memorization_step']:,}\n" in out
    assert f"grokked after step {row['grok_step_lower']:,}, by step {row['grok_step']:,}\n" in out
    assert out.count(" grokked after step") == 1


def test_lines_fit_60_columns_out_of_domain_included(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*TINY, "--operand_limit", "5", "--operand_limit_out", "7"]
    assert main(["train", *words, "--out", "o"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    header, cells = lines[2], lines[3]
    assert header.count("exact") == 3
    assert cells.count("%") == 3
    assert len(header) == len(cells)


def test_interrupted_and_gone_on_with_the_curve_is_that_of_an_undisturbed_run(tmp_path):
    words = [*TINY, "--num_steps", "1200", "--dropout", "0.1"]
    command = [sys.executable, "-m", "grokray", "train", *words, "--out", str(tmp_path / "a b")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        while not process.stdout.readline().startswith("       200"):
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    stopped = int(out.splitlines()[-1].split()[3].rstrip(",").replace(",", ""))
    assert err.splitlines()[0] == "interrupted"
    assert err.splitlines()[1].startswith("go on with: grokray train --modulus 7 ")
    assert err.splitlines()[1].endswith(f"--out '{tmp_path}/a b'")
    state = SweepFolder.open(tmp_path / "a b").state()
    (trial,) = state.trials.values()
    assert trial.checkpoint
    assert trial.checkpoint.step == stopped < 1200
    assert state.interrupted == {state.sessions[0].session}

    assert main(["train", *words, "--out", str(tmp_path / "a b")]) == 0
    assert main(["train", *words, "--out", str(tmp_path / "undisturbed")]) == 0
    assert curve(tmp_path / "a b") == curve(tmp_path / "undisturbed")
    (trial,) = SweepFolder.open(tmp_path / "a b").state().trials.values()
    assert (trial.attempt, trial.outcome, trial.last_step) == (1, "budget", 1200)


def test_every_parameter_is_an_option_in_both_spellings(capsys):
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"--{name[:18]}" in out for name in PARAMETERS)
    texts = {"data_dir", "data", "arc_subset", "arc_tasks", "arc_data_hash"}  # of arc; others leave them aside
    owners = {**dict.fromkeys(texts, "arc"), "data_file": "file"}
    for name in PARAMETERS:
        for spelling in (name, name.replace("_", "-")):
            assert main(["train", *(["--operation", owners[name]] if name in owners else []), f"--{spelling}=☃"]) == 2
            error = capsys.readouterr().err
            assert name in texts or f"error: --{name} is '☃', but " in error


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--training_fraction", "1.2"], ["--training_fraction is 1.2, but must be less than 1"]),
        (["--num-steps", "1.5"], ["--num_steps is 1.5, but must be a whole number"]),
        (["--operation", "x/z"], ["--operation is 'x/z', but there is no such operation"]),
        (["--prime", "98"], ["--prime is 98, but x/y_mod needs a prime; the nearest are 97 and 101"]),
        (["--continue_training=maybe"], ["--continue_training is 'maybe', but must be true or false"]),
        (["--fixed_sequence_length", "no"], ["--fixed_sequence_length is 'no', but must be true or false"]),
        (["--learning_rate", "nan"], ["--learning_rate is nan, but must be "]),
        (["--weight_decay", "-1"], ["--weight_decay is -1.0, but must be at least 0"]),
        (
            ["--dropout", "2", "--num_heads", "3"],
            ["--dropout is 2.0, but ", "--num_heads is 3, but must divide dim_model"],
        ),
        (["--device", "tpu"], ["--device is 'tpu', but must be auto, cpu, cuda, or such as cuda:1"]),
        (["--device", "cuda:99"], ["--device is cuda:99, but PyTorch finds "]),
        (["--compile", "sometimes"], ["--compile is 'sometimes', but must be one of auto, on, off"]),
        (["--threads", "0"], ["--threads is 0, but must be at least 1"]),
        (["--threads", f"{10**23}"], [f"--threads is {10**23}, but must be at most "]),
        (["--threads", "9" * 5000], [f"--threads is '{'9' * 56}..., but must be a whole number"]),
        (["--device", f"cuda:{'9' * 5000}"], ["--device is 'cuda:9999"]),
        (["--operation", ","], ["--operation is ',', but must name an operation on either side of each comma"]),
        (["--operation", "x/z,x/z"], ["--operation is 'x/z', but there is no such operation"]),
        (["--sustain", f"{10**20}"], [f"--sustain is {10**20}, but must be at most 2147483647"]),
        (
            ["--checkpoint-interval", f"{10**20}"],
            [f"--checkpoint_interval is {10**20}, but must be at most 2147483647"],
        ),
        (["--checkpoint-interval", "x"], ["--checkpoint_interval is 'x', but must be a whole number"]),
    ],
)
def test_wrong_values_name_the_option(words, messages, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.startswith(f"error: {m}") for line, m in zip(errors, messages, strict=True)] == [True] * len(messages)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("cores", "most"), [(None, 64), (1, 64), (2, 64), (16, 64), (17, 68), (200, 800)])
def test_threads_are_bounded_by_the_cores(cores, most, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert threads_of(str(most)) == most
    there = "is 1" if (cores or 1) == 1 else f"are {cores}"
    with pytest.raises(ConfigError) as refused:
        threads_of(str(most + 1))
    rule = f"must be at most {most}: 4 for each core, of which there {there}, or 64 if that is more"
    assert str(refused.value) == f"--threads is {most + 1}, but {rule}"


def test_texts_get_the_types_of_their_parameters():
    texts = {"weight_decay": "1", "num_steps": "1e3", "base": "10", "fixed_sequence_length": "TRUE", "seed": None}
    found = parameters_from(texts)
    assert found == {"weight_decay": 1, "num_steps": 1000, "base": 10, "fixed_sequence_length": True}
    assert isinstance(found["num_steps"], int)


def test_each_measure_may_have_the_option_to_itself(tmp_path):
    words = ["--measure", "weight_norm", "--measure", "logit_scale,weight_norm", "--num_steps", "10"]
    assert main(["train", *TINY, *words, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    (row,) = curve(tmp_path / "out")
    assert {"weight_norm", "logit_scale"} <= row.keys()


def test_a_flag_needs_no_value():
    words = ["train", "--fixed-sequence-length", "--base", "3", "--continue_training", "false"]
    assert spell_out_flags(words) == ["train", "--fixed-sequence-length=true", *words[2:]]
    assert spell_out_flags(["train", "--multitask"]) == ["train", "--multitask=true"]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"seed": 5, "modulus": 23, "sustain": 5},
        {"init_seed": 1, "order_seed": 2},
        {"operation": "x-y", "task_type": "sequence", "base": 3, "operand_limit": 10, "operand_limit_out": 12},
        {"operation": "x/y", "max_bit_length_train": 97, "max_bit_length_val_out": 100},
        {
            "task_type": "sequence",
            "fixed_sequence_length": True,
            "digit_order": "least_first",
            "continue_training": True,
        },
    ],
)
def test_the_folder_s_search_space_holds_the_same_trial(parameters):
    config = resolve(parameters)
    loaded = load_text(as_sweep(config).to_yaml(), "sweep.yaml", "x")
    assert loaded.num_configurations() == 1
    (choice,), (seed,) = loaded.grid(), loaded.seeds
    assert loaded.trial_config(choice, seed) == config


def test_default_options_are_the_default_trial(tmp_path):
    assert trial_from({}) == TrialConfig()
    json.dumps(as_sweep(TrialConfig()).fingerprint())


@pytest.mark.parametrize(
    ("loss", "shown"),
    [
        *((None, "–"), (0.0, "0.0000"), (99.12341, "99.1234"), (1234.567, "1234.56"), (99999.94, "99999.9")),
        *((1.5e5, "1.5e+05"), (5.39e9, "5.4e+09"), (1e120, "1e+120"), (math.nan, "nan"), (math.inf, "inf")),
    ],
)
def test_losses_of_all_sizes_leave_a_space_between_the_columns(loss, shown):
    assert _loss(loss) == shown
    assert len(shown) <= 7


@pytest.mark.parametrize("variable", ["GROKRAY_ONEDNN", "GROKRAY_COMPILE_AHEAD"])
def test_a_switch_of_the_environment_that_is_neither_0_nor_1(tmp_path, capsys, monkeypatch, variable):
    monkeypatch.setenv(variable, "yes")
    assert main(["train", *TINY, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {variable} is 'yes', but must be 0 or 1\n"
    assert not (tmp_path / "out").exists()


def test_bytes_that_are_no_text_are_shown_as_they_came(tmp_path):
    # Through a process: the error's bytes are the question.
    words = [b"train", b"--operation", b"gr\xc3\xb6k", b"--data_dir", b"\xff", b"--out", bytes(tmp_path / "out")]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-m", "grokray", *words], capture_output=True, env=environment)
    assert done.returncode == 2
    assert b"--operation is 'gr\xc3\xb6k', but there is no such operation" in done.stderr
