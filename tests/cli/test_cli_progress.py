"""`grokray progress` and `grokray.progress_measures`: restricted and excluded loss along a trial's checkpoints."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest

import grokray
from grokray.cli.main import main
from grokray.cli.progress import _no_circuit
from grokray.errors import CheckpointError, ConfigError
from grokray.records.store import Store

MODEL = ["--num_layers", "1", "--dim_model", "48", "--num_heads", "4", "--batch_size", "64", "--learning_rate", "5e-3"]
LENGTH = ["--num_steps", "600", "--eval_interval", "100", "--checkpoint_interval", "200", "--continue_training", "true"]


def trained(folder: Path, *words: str) -> Path:
    assert main(["train", *MODEL, *LENGTH, "--weight_decay", "1", "--out", str(folder), "--quiet", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def sums(tmp_path_factory) -> Path:
    """Four frequencies carry it, far from the limits below, as rounding differs among processors."""
    words = ["--operation", "x+y_mod", "--modulus", "23", "--training_fraction", "0.7", "--keep_checkpoints", "all"]
    words += ["--seed", "2"]
    return trained(tmp_path_factory.mktemp("p") / "sums", *words)


def test_a_row_for_each_checkpoint_with_the_losses_that_were_measured(sums):
    found = grokray.progress_measures(sums)
    table = found.table
    assert list(table.step) == [200, 400, 600]
    for row in table.itertuples():
        metrics = grokray.load_model(sums, which=row.step).metrics
        assert row.train_loss == pytest.approx(metrics["train_loss"], rel=1e-4)
        assert row.heldout_loss == pytest.approx(metrics["heldout_loss"], rel=1e-4)
    assert found.order == 23
    assert f"3 checkpoints, key frequencies {list(found.frequencies)}" in repr(found)


def test_few_frequencies_carry_what_the_model_has_understood(sums):
    found = grokray.progress_measures(sums)
    first, last = found.table.iloc[0], found.table.iloc[-1]
    assert len(found.frequencies) < 7  # of 11
    assert last.restricted_loss < 0.7 * last.heldout_loss
    assert last.restricted_loss < first.restricted_loss
    assert last.excluded_loss > last.train_loss + 1
    assert 0 < first.key_share < last.key_share < 1


def test_frequencies_may_be_given_and_more_of_them_explain_more(sums):
    few, all_of_them = (
        grokray.progress_measures(sums, share=0.5),
        grokray.progress_measures(sums, frequencies=range(1, 12)),
    )
    found = grokray.progress_measures(sums, frequencies=[*few.frequencies[::-1], few.frequencies[0]])
    assert found.frequencies == few.frequencies
    assert found.table.equals(few.table)
    assert (all_of_them.table.key_share > few.table.key_share).all()
    assert grokray.progress_measures(sums, share=1).frequencies == tuple(range(1, 12))


def test_the_documented_example_prints_what_it_names(sums, capsys):
    text = (Path(grokray.__file__).parents[1] / "docs" / "progress.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    trial_id = grokray.load_model(sums).checkpoint.trial_id
    exec(code.replace('"out"', repr(str(sums))).replace("4e4c", trial_id[:4]), {})
    shown = capsys.readouterr().out
    assert shown.startswith(str(grokray.progress_measures(sums).frequencies))
    assert "restricted_loss" in shown


@pytest.mark.parametrize("given", [[0], [12], [True], [1.5], ["3"], []])
def test_frequencies_that_are_not_there_are_refused(sums, given):
    with pytest.raises(ConfigError, match="frequencies (has|is empty)"):
        grokray.progress_measures(sums, frequencies=given)


@pytest.mark.parametrize("given", [3, "3"])
def test_frequencies_are_a_list(sums, given):
    with pytest.raises(ConfigError, match="frequencies is '?3'?, but must be a list of whole numbers"):
        grokray.progress_measures(sums, frequencies=given)


def test_either_frequencies_or_what_finds_them(sums):
    with pytest.raises(ConfigError, match="share finds the frequencies, so no frequencies may stand beside it"):
        grokray.progress_measures(sums, frequencies=[3], share=0.95)


@pytest.mark.parametrize("share", [0, 1.1, float("nan"), "x"])
def test_a_share_that_is_none_is_refused(sums, share):
    with pytest.raises(ConfigError, match="share is"):
        grokray.progress_measures(sums, share=share)


def test_of_a_trial_that_diverged_the_last_sound_checkpoint_names_the_frequencies(tmp_path):
    words = ["--operation", "x+y_mod", "--modulus", "13", "--num_layers", "1", "--dim_model", "16", "--num_heads", "2"]
    words += ["--optimizer", "sgd", "--beta1", "0.9", "--loss", "mse", "--norm", "none", "--activation", "relu"]
    words += ["--learning_rate", "10", "--warmup_steps", "400", "--num_steps", "3000"]
    kept = ["--keep_checkpoints", "all", "--eval_interval", "20", "--checkpoint_interval", "20"]
    table = grokray.progress_measures(folder := trained(tmp_path / "late", *words, *kept)).table
    last = table.iloc[-1]
    assert math.isnan(last.train_loss)
    assert math.isnan(last.key_share)
    found = grokray.progress_measures(folder).frequencies
    assert found
    assert 0 not in found
    assert table.restricted_loss.iloc[0] == pytest.approx(table.train_loss.iloc[0], rel=0.1)
    output = main(["progress", str(folder), "--json"])
    assert output == 0


def test_a_file_that_has_gone_is_left_out_and_a_damaged_one_is_an_error(sums, tmp_path, monkeypatch):
    folder = shutil.copytree(sums, tmp_path / "copy")
    (of_400,) = folder.glob("checkpoints/*/0000000400-*.pt")
    with monkeypatch.context() as patch:
        there = Store.exists
        patch.setattr(Store, "exists", lambda store, name: "400-" not in name and there(store, name))
        assert list(grokray.progress_measures(folder).table.step) == [200, 600]
    best = of_400.with_name(f"best-{of_400.name}")
    best.write_bytes(of_400.read_bytes())
    of_400.write_bytes(of_400.read_bytes()[:-100])
    assert list(grokray.progress_measures(folder).table.step) == [200, 400, 600]
    best.unlink()
    with pytest.raises(CheckpointError, match="400"):
        grokray.progress_measures(folder)


def test_a_trial_s_folder_without_a_checkpoint_in_it_is_refused(sums, tmp_path):
    folder = shutil.copytree(sums, tmp_path / "copy")
    for path in folder.glob("checkpoints/*/*.pt"):
        path.rename(path.with_name("notes.txt"))
    with pytest.raises(CheckpointError, match="there is no checkpoint last; there is: none"):
        grokray.load_model(folder)
    with pytest.raises(CheckpointError, match="are gone"):
        grokray.progress_measures(folder)


def test_a_folder_without_checkpoints_is_refused(tmp_path, sums):
    with pytest.raises(CheckpointError, match="neither a file nor a folder"):
        grokray.progress_measures(tmp_path / "missing")
    (file,) = sums.glob("checkpoints/*/last-*.pt")
    with pytest.raises(ConfigError, match="is one checkpoint, but must be a folder"):
        grokray.progress_measures(file)
    with pytest.raises(CheckpointError, match="no plain file"):
        grokray.progress_measures("/dev/null")
    bare = trained(tmp_path / "bare", "--operation", "x+y_mod", "--num_steps", "100", "--keep_checkpoints", "none")
    with pytest.raises(CheckpointError, match="holds no checkpoints") as refused:
        grokray.progress_measures(bare)
    assert "keep_checkpoints: all" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="there is no checkpoint"):
        grokray.progress_measures(sums, trial="zz")


# -- on a command line


def asked(capsys, *words: str) -> str:
    capsys.readouterr()
    assert main(["progress", *words]) == 0
    return capsys.readouterr().out


def test_the_command_prints_the_table_and_draws_it(sums, capsys, tmp_path):
    found = grokray.progress_measures(sums)
    lines = asked(capsys, str(sums), "--out", f"{tmp_path}/").splitlines()
    assert lines[0] == f"trial: {found.trial_id}"
    assert lines[1] == f"key frequencies: {', '.join(map(str, found.frequencies))}, of 1 to 11"
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0].isdecimal()] == [
        "200",
        "400",
        "600",
    ]
    assert lines[-2:] == [f"{tmp_path}/{found.trial_id}-progress.{ending}" for ending in ("png", "svg")]
    text = (tmp_path / f"{found.trial_id}-progress.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("x+y mod 23", "training", "held-out", "restricted", "excluded", "share"))


def test_frequencies_that_explain_little_are_no_circuit(sums, capsys):
    said = "of the logits in the end: there is no circuit of them yet"
    found = grokray.progress_measures(sums)
    assert found.table["key_share"].iloc[-1] > 0.5
    assert said not in " ".join(asked(capsys, str(sums)).split())
    other = next(k for k in range(1, 12) if k not in found.frequencies)
    assert said in " ".join(asked(capsys, str(sums), "--frequencies", str(other)).split())
    assert repr(grokray.progress_measures(sums)).startswith(f"<progress measures of trial {found.trial_id} at 3 checkp")


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.1, 0.8], None),
        ([0.1, 0.49], "key frequencies explain 49.0 % of the logits in the end: there is no circuit of them yet"),
        ([0.6, 0.73, 0.15], "15.0 % of the logits in the end, but 73.0 % at step 2,000: a jump of the loss may hide"),
        ([0.7, math.nan], None),  # a checkpoint with numbers that are none
    ],
)
def test_a_circuit_that_was_there_before_is_not_said_to_be_still_to_come(shares, said):
    found = _no_circuit([1000 * (i + 1) for i in range(len(shares))], shares)
    assert found is None if said is None else said in found


def test_the_command_s_numbers_are_the_function_s(sums, capsys, tmp_path):
    words = ["--frequencies", "3, 5", "--json", "--out", str(tmp_path / "figure.png")]
    given = json.loads(asked(capsys, str(sums), grokray.load_model(sums).checkpoint.trial_id[:4], *words))
    found = grokray.progress_measures(sums, frequencies=[3, 5])
    assert given["frequencies"] == [3, 5]
    assert given["order"] == 23
    assert given["checkpoints"] == found.table.to_dict("records")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frequencies", "3;5"], "--frequencies is '3;5', but must be whole numbers parted by commas"),
        (["--frequencies", "3,12"], "frequencies has 12, but they are whole numbers from 1 to 11"),
        (["--share", "0"], "share is 0, but must be in (0, 1]"),
        (["--share", "x"], "--share is 'x', but must be a number"),
        (["--frequencies", "9" * 5000], "but must be whole numbers parted by commas"),
        (["--frequencies", "3", "--share", "0.5"], "no --frequencies may stand beside it"),
        (["--threads", "0"], "--threads is 0, but must be at least 1"),
        (["--threads", "99999"], "--threads is 99999, but must be at most "),
        (["--out", "figure.gif"], "--out ends in .gif"),
        (["zz"], "there is no checkpoint"),
    ],
)
def test_wrong_words_are_refused_in_one_line(sums, capsys, words, message):
    assert main(["progress", str(sums), *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_task_without_frequencies_is_refused(tmp_path, capsys):
    folder = trained(tmp_path / "s3", "--operation", "s3", "--num_steps", "100")
    assert main(["progress", str(folder)]) == 2
    assert "the trial learns s3 (classification)" in capsys.readouterr().err
