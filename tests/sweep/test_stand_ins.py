"""Sweeps that go on when what their search space names has gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from grokray.cli.main import main
from grokray.cli.sweep_options import sweep_of
from grokray.errors import ConfigError
from grokray.records.folder import SweepFolder
from grokray.sweep import runner
from grokray.sweep.config import SweepConfig
from grokray.sweep.configurations import Configurations, Proposed
from grokray.sweep.inputs import keep
from grokray.trial import PATHS

TASKS = Path(__file__).parents[2] / "search_spaces/arc_tasks"
MODEL = "num_layers: {value: 1}, dim_model: {value: 8}, num_heads: {value: 1}"
SPACES = {
    "rows": f"operation: {{value: file}}, data_file: {{value: rows.csv}}, {MODEL}",
    "two files": f"operation: {{value: file}}, data_file: {{values: [rows.csv, other.csv]}}, {MODEL}",
    "tasks": "operation: {value: arc}, data_dir: {values: [tasks]}, arc_subset: {values: [training, both]}",
    "weights": f"modulus: {{value: 7}}, initial_checkpoint: {{values: [null, parent.pt]}}, {MODEL}",
    "moments": "modulus: {value: 7}, initial_checkpoint: {value: parent.pt}, initial_optimizer: "
    f"{{values: [zero, checkpoint]}}, {MODEL}",
}
GONE = {"rows": "rows.csv", "two files": "other.csv", "tasks": "tasks", "weights": "parent.pt", "moments": "parent.pt"}


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("parent")
    words = ["--modulus=7", "--num_layers=1", "--dim_model=8", "--num_heads=1", "--num_steps=2", "--eval_interval=1"]
    assert main(["train", *words, f"--out={out}", "--quiet"]) == 0
    return next(out.glob("checkpoints/*/last-*.pt"))


@pytest.fixture
def begin(tmp_path, parent):
    """Begins a sweep in `out`, with what it names beside its search space."""
    for name, modulus in (("rows.csv", 6), ("other.csv", 5)):
        lines = [f"{x} . {y},{(x + y) % modulus}" for x in range(modulus) for y in range(modulus)]
        (tmp_path / name).write_text("\n".join(["input,answer", *lines]))
    shutil.copytree(TASKS, tmp_path / "tasks")
    shutil.copyfile(parent, tmp_path / "parent.pt")

    def make(space: str) -> SweepConfig:
        (tmp_path / "space.yaml").write_text(f"method: grid\nparameters: {{{space}}}\n")
        config = load(tmp_path)
        folder = SweepFolder.create_or_open(tmp_path / "out", config.to_yaml(), config.fingerprint(), {})
        keep(folder.store, config)
        return config

    return make


def load(tmp_path: Path, out: str = "out", *changes: str) -> SweepConfig:
    return sweep_of(f"{tmp_path}/space.yaml", None, [*changes], None, lambda config: f"{tmp_path}/{out}")


def written(config: SweepConfig) -> list[Proposed]:
    """The trials as the journal has them."""
    configurations, found = Configurations(config), []
    while (proposal := configurations.propose()) is not None:
        configurations.take(proposal)
        found += proposal.trials.values()
    return found


@pytest.mark.parametrize("what", SPACES)
def test_a_sweep_goes_on_with_the_copies_of_what_has_gone(what, begin, tmp_path):
    before = begin(SPACES[what])
    fingerprint, trials = before.fingerprint(), written(before)
    assert not before.stand_ins
    (tmp_path / GONE[what]).rename(tmp_path / "elsewhere")
    now = load(tmp_path)
    ((path, copy),) = now.stand_ins.items()
    assert path == f"{tmp_path}/{GONE[what]}"
    assert Path(copy).parent == tmp_path / "out/inputs"
    assert (now.fingerprint(), now.to_yaml()) == (fingerprint, before.to_yaml())
    assert written(now) == trials
    assert copy in {getattr(now.trial_config(choice, 0), name) for choice in now.grid() for name in PATHS}
    for elsewhere in ("new", "space.yaml"):  # no sweep of it is there
        with pytest.raises(ConfigError, match="no such f|missing"):
            load(tmp_path, elsewhere)


@pytest.mark.parametrize("how", ["changed", "gone"])
@pytest.mark.parametrize("what", SPACES)
def test_a_running_sweep_does_not_notice_that_what_it_names_is_changed(what, how, begin, tmp_path, monkeypatch):
    class Started(Exception):
        pass

    def started(folder: SweepFolder, config: SweepConfig, *rest: object, **options: object) -> None:
        raise Started(config)

    begun = begin(SPACES[what])
    fingerprint, trials = begun.fingerprint(), written(begun)
    monkeypatch.setattr(runner, "_Session", started)
    with pytest.raises(Started) as caught:
        runner.run_sweep(begun, tmp_path / "out")
    original = tmp_path / GONE[what]
    shutil.rmtree(original) if original.is_dir() else original.unlink()
    if how == "changed" and what == "tasks":
        shutil.copytree(TASKS / "training", original / "training")
    elif how == "changed":
        original.write_text("input,answer\n1 . 1,2\n1 . 2,3\n2 . 2,4\n")
    (config,) = caught.value.args
    assert (config.fingerprint(), written(config)) == (fingerprint, trials)


def test_it_is_said_once_and_by_a_dry_run_too(begin, tmp_path, capsys):
    begin(SPACES["two files"])
    for name in ("rows.csv", "other.csv"):
        (tmp_path / name).unlink()
    assert main(["sweep", f"{tmp_path}/space.yaml", "--out", f"{tmp_path}/out", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    paths = f"{tmp_path}/rows.csv, {tmp_path}/other.csv"
    assert printed.count("no longer there") == 1
    assert f"note: {paths} are no longer there: the copies in the sweep's folder are used\n" in printed


def test_what_is_there_but_has_changed_and_what_is_named_otherwise_have_no_stand_in(begin, tmp_path):
    fingerprint = begin(SPACES["rows"]).fingerprint()
    (tmp_path / "rows.csv").write_text("input,answer\n1,2\n2,3\n3,4\n4,5\n")
    assert load(tmp_path).fingerprint() != fingerprint
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(ConfigError, match="mine.csv: data_file is .* there is no such file"):
        load(tmp_path, "out", f"parameters.data_file={tmp_path}/mine.csv")
    assert load(tmp_path).stand_ins
    (copy,) = (tmp_path / "out/inputs").iterdir()
    copy.write_text("input,answer\n1,2\n")  # damaged
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path)


def test_a_folder_that_does_not_say_what_lay_there_has_no_stand_in(begin, tmp_path):
    begin(SPACES["rows"])
    meta = json.loads((tmp_path / "out/meta.json").read_text())
    (tmp_path / "rows.csv").unlink()
    for defined in ('{"value": "rows.csv"}', None):
        meta["fingerprint"].pop("parameters.data_file", None)
        meta["fingerprint"] |= {} if defined is None else {"parameters.data_file": defined}
        (tmp_path / "out/meta.json").write_text(json.dumps(meta))
        with pytest.raises(ConfigError, match="there is no such file"):
            load(tmp_path)


def test_of_two_files_that_hold_the_same_each_trial_goes_on_naming_its_own(begin, tmp_path):
    shutil.copyfile(tmp_path / "rows.csv", tmp_path / "other.csv")
    trials = written(begin(SPACES["two files"]))
    for name in ("rows.csv", "other.csv"):
        (tmp_path / name).unlink()
    assert written(load(tmp_path)) == trials
    assert [trial.config.data_file for trial in trials] == [f"{tmp_path}/rows.csv"]


@pytest.mark.parametrize("given", ["mine.csv", "~/mine.csv"])
def test_what_set_names_from_where_the_command_is_run_has_a_stand_in_too(given, begin, tmp_path, monkeypatch):
    begin(SPACES["rows"])
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "rows.csv").rename(tmp_path / "mine.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    named = f"parameters.data_file={given}"
    before = load(tmp_path, "out", named)
    folder = SweepFolder.create_or_open(tmp_path / "out", before.to_yaml(), before.fingerprint(), {})
    keep(folder.store, before)
    trials = written(before)
    (tmp_path / "mine.csv").unlink()
    assert written(load(tmp_path, "out", named)) == trials
