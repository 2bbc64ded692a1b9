"""Copies in a sweep's folder of what its trials are made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import grokray
from grokray.cli.main import main
from grokray.errors import ConfigError
from grokray.records.folder import SweepFolder
from grokray.records.store import Store
from grokray.sweep.assignment import Assignment
from grokray.sweep.inputs import at_hand, keep, with_copies
from grokray.sweep.load import load_sweep, load_text
from grokray.sweep.trainer import Trainer
from grokray.tasks import file_rows, tables
from grokray.tasks.resolve import resolve
from tests.records.records_helpers import memory_store

OPTIONS = {
    **{"operation": "file", "data_file": "rows.csv", "num_layers": 1, "dim_model": 8, "num_heads": 1},
    **{"batch_size": 16, "num_steps": 40, "eval_interval": 10, "initial_checkpoint": "parent.pt"},
}


def options(**more: object) -> list[str]:
    return [f"--{name}={value}" for name, value in {**OPTIONS, **more}.items() if value is not None]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    lines = [f"{x} . {y},{(x + y) % 6}" for x in range(6) for y in range(6)]
    (folder / "rows.csv").write_text("\n".join(["input,answer", *lines]))
    parent = options(initial_checkpoint=None, data_file=folder / "rows.csv", out=folder / "parent")
    assert main(["train", *parent, "--quiet"]) == 0
    (last,) = (folder / "parent/checkpoints").glob("*/last-*.pt")
    shutil.copyfile(last, folder / "parent.pt")
    shutil.rmtree(folder / "parent")
    return folder


@pytest.fixture
def gone(originals, tmp_path, monkeypatch):
    """A place with the originals, and what takes them away, for a process that has not seen them."""
    shutil.copytree(originals, tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")

    def take_away() -> None:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(tmp_path / "a")
        monkeypatch.setattr(tables, "_CACHE", tables._Cache(tables.CACHE_BYTES))
        file_rows._rows.cache_clear()

    return take_away


def test_a_model_is_asked_and_its_start_looked_at_when_the_originals_have_gone(gone, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", *options(out=out)]) == 0
    assert sorted(path.suffix for path in (out / "inputs").iterdir()) == [".csv", ".pt"]
    before = grokray.load_model(out, which=0)
    gone()
    (last,) = (out / "checkpoints").glob("*/last-*.pt")
    for trained in (grokray.load_model(out), grokray.load_model(last)):
        assert trained.config.data_file == str(next((out / "inputs").glob("*.csv")))
        assert len(trained.dataset.table.tokens) == 36
    first = grokray.load_model(out, which=0)
    assert all((t == before.parameters[name]).all() for name, t in first.parameters.items())
    capsys.readouterr()
    assert main(["eval", str(out)]) == 0
    assert "exactly as the run measured" in capsys.readouterr().out
    trial = next(iter(SweepFolder.open(out).state().trials))
    assert main(["train", "--from-trial", str(out), trial, "--quiet", "--out", str(tmp_path / "again")]) == 0
    assert "curve is identical" in capsys.readouterr().out
    assert sorted(path.suffix for path in (tmp_path / "again/inputs").iterdir()) == [".csv", ".pt"]


def test_trials_begin_and_go_on_when_the_originals_have_gone(gone, tmp_path):
    (tmp_path / "a/own.yaml").write_text(
        "method: grid\nparameters:\n"
        + "".join(f"  {n}: {{value: {v}}}\n" for n, v in OPTIONS.items() if n != "eval_interval")
        + "trial: {eval_interval: 10}\n"
    )
    config = load_sweep(tmp_path / "a/own.yaml")
    store = Store.from_uri(tmp_path / "sweep")
    keep(store, config)
    kept = {name: store.local_path(name).stat().st_mtime_ns for name in store.list("inputs")}
    keep(store, config)
    assert {name: store.local_path(name).stat().st_mtime_ns for name in store.list("inputs")} == kept
    trial = config.trial_config(next(config.grid()), 0)
    assert at_hand(store, trial.model_dump()) == trial.model_dump()
    gone()
    trainer = Trainer(store, role="t", compile="off")
    trainer.start(
        Assignment(trial_id=trial.id, config=trial.model_dump(), checkpoint_interval=10, keep_checkpoints="none")
    )
    while trainer.trials:
        (report,) = trainer.turn() or (None,)
    trainer.close()
    assert report is not None
    assert report.step == 40


def test_an_interrupted_trial_goes_on_without_its_originals(gone, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr("grokray.cli.train_run._train", lambda *args: False)
    assert main(["train", *options(out=out)]) == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    gone()
    assert main(["train", "--resume", str(out)]) == 0
    assert "outcome: budget" in capsys.readouterr().out


def test_of_an_object_store_rows_lie_in_the_cache_and_weights_where_they_are(gone, tmp_path, monkeypatch):
    assert main(["train", *options(out=tmp_path / "out"), "--quiet"]) == 0
    (trial,) = SweepFolder.open(tmp_path / "out").state().trials.values()
    gone()
    store = memory_store("s3://bucket/inputs-of-a-sweep")
    for path in (tmp_path / "out/inputs").iterdir():
        store.write_atomic(f"inputs/{path.name}", path.read_bytes())
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path / "cache"))
    found = at_hand(store, trial.config)
    assert found["data_file"] == str(tmp_path / f"cache/inputs/{found['data_file_hash']}.csv")
    assert file_rows.rows_of(found["data_file"]).hash == found["data_file_hash"]
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "read_bytes", lambda *args: pytest.fail("it is in the cache"))
        assert at_hand(store, trial.config) == found
    assert found["initial_checkpoint"] == f"{store.uri}/inputs/{found['initial_checkpoint_hash']}.pt"
    (tmp_path / "cache").rename(tmp_path / "moved")
    (tmp_path / "cache").write_text("no folder")
    assert file_rows.rows_of(at_hand(store, trial.config)["data_file"]).hash == found["data_file_hash"]


def test_a_folder_of_tasks_is_kept_as_one_file(tmp_path, monkeypatch, capsys):
    shutil.copytree(Path(__file__).parents[2] / "search_spaces/arc_tasks", tmp_path / "arc")
    words = {**OPTIONS, "operation": "arc", "data_file": None, "initial_checkpoint": None, "data_dir": tmp_path / "arc"}
    out = tmp_path / "out"
    assert main(["train", *options(**words, arc_tasks="mirror", training_fraction=0.7, out=out), "--quiet"]) == 0
    (tmp_path / "arc").rename(tmp_path / "moved")
    monkeypatch.setattr(tables, "_CACHE", tables._Cache(tables.CACHE_BYTES))
    (copy,) = (out / "inputs").iterdir()
    assert grokray.load_model(out).config.data_dir == str(copy)
    capsys.readouterr()
    assert main(["eval", str(out)]) == 0
    assert "exactly as the run measured" in capsys.readouterr().out
    (trial,) = SweepFolder.open(out).state().trials.values()
    assert main(["train", "--from-trial", str(out), trial.trial_id, "--quiet", "--out", str(tmp_path / "again")]) == 0
    assert "curve is identical" in capsys.readouterr().out
    assert [path.read_bytes() for path in (tmp_path / "again/inputs").iterdir()] == [copy.read_bytes()]
    # As a user writes it, with less than a trial has.
    written = {"operation": "arc", "data_dir": str(tmp_path / "arc"), "arc_tasks": 1}
    written |= {"arc_data_hash": resolve({**written, "data_dir": str(copy)}).arc_data_hash}
    parameters = {name: {"value": value} for name, value in written.items()}
    space = load_text(json.dumps({"method": "grid", "parameters": parameters}), "", "space", try_out=False)
    assert with_copies(SweepFolder.open(out).store, space).parameters["data_dir"].values == (str(copy),)
    store = memory_store("s3://bucket/tasks-of-a-sweep")
    store.write_atomic("inputs/0123456789abcdef.json", b"{}")  # of another folder, say
    store.write_atomic(f"inputs/{copy.name}", copy.read_bytes())
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path / "cache"))
    assert at_hand(store, trial.config)["data_dir"] == str(tmp_path / f"cache/inputs/{copy.name}")
    assert at_hand(store, {**trial.config, "arc_data_hash": "0" * 16})["data_dir"] == str(tmp_path / "arc")


def test_without_original_and_copy_it_is_said_what_is_missing(gone, tmp_path):
    out = tmp_path / "out"
    assert main(["train", *options(out=out), "--quiet"]) == 0
    gone()
    shutil.rmtree(out / "inputs")
    with pytest.raises(ConfigError, match="the trial's data_file .*a/rows.csv: there is no such file"):
        grokray.load_model(out)
