"""Every shipped search space, the original's experiments among them, loads and runs dry."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from grokray.cli.main import main
from grokray.errors import ConfigError, FolderError
from grokray.records.folder import SweepFolder
from grokray.sweep.load import load_sweep, load_text
from grokray.trial import TrialConfig

SHIPPED = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(SHIPPED.glob("**/*.yaml"))
ORIGINAL = sorted((SHIPPED / "original").glob("*.yaml"))


def name(path: Path) -> str:
    return str(path.relative_to(SHIPPED).with_suffix(""))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_shipped_file_runs_dry(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("nothing was run\n")


@pytest.mark.parametrize("path", ORIGINAL, ids=name)
def test_an_experiment_says_what_the_original_ran_and_what_differs(path: Path) -> None:
    text = path.read_text()
    assert "# The original" in text
    assert "# Here:" in text
    config = load_sweep(path)
    assert config.name == f"original-{path.stem.replace('_', '-')}"
    assert all(trial.norm == "input" for trial in trials(path))  # the original's own placement


def test_the_original_s_experiments_are_all_there() -> None:
    stems = {path.stem for path in ORIGINAL}
    assert {f"mod_division_base_{base}" for base in (2, 5, 10, 20, 40, 140)} <= stems
    assert {f"multitask_{n}_{kind}" for n in (1, 2) for kind in ("classification", "sequence")} <= stems
    assert {"addition_binary", "addition_binary_flipped", "abs_diff_bases", "new_tasks_classification"} <= stems
    assert {"mod_division", "mod_division_out_of_domain", "new_tasks_sequence"} <= stems


def trials(path: Path) -> list[TrialConfig]:
    config = load_sweep(path)
    return [config.trial_config(choice, config.seeds[0]) for choice in config.grid()]


@pytest.mark.parametrize(
    ("stem", "limits"),
    [
        ("mod_division", (97, 100, 101)),
        ("mod_division_base_2", (32, 64, 67)),
        ("mod_division_base_140", (64, 128, 131)),
        ("multitask_1_classification", (64, 128, 131)),
        ("multitask_1_sequence", (32, 64, 67)),
        ("new_tasks_sequence", (64, 128, None)),
    ],
)
def test_sizes_are_what_the_original_s_names_stand_for(stem: str, limits: tuple[int, int, int | None]) -> None:
    for trial in trials(SHIPPED / "original" / f"{stem}.yaml"):
        assert (trial.operand_limit, trial.operand_limit_out, trial.modulus) == limits


def test_six_bases_are_asked_the_same_pairs() -> None:
    found = trials(SHIPPED / "original" / "abs_diff_bases.yaml")
    assert [trial.base for trial in found] == [2, 5, 10, 20, 40, 64]
    assert len({(t.operand_limit, t.training_fraction, t.split_seed, t.split) for t in found}) == 1


# Paths in a search space


def test_data_lies_beside_the_file_wherever_the_command_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [trial, *_] = trials(SHIPPED / "arc.yaml")
    assert trial.data_dir == str(SHIPPED / "arc_tasks")
    # A path from the command line starts where the command is run.
    (tmp_path / "mine").mkdir()
    pairs = ", ".join(['{"input": [[1]], "output": [[2]]}'] * 5)
    (tmp_path / "mine" / "a.json").write_text(f'{{"train": [{pairs}]}}')
    config = load_sweep(SHIPPED / "arc.yaml", ["parameters.data_dir=mine"])
    assert config.trial_config(next(config.grid()), 0).data_dir == str(tmp_path / "mine")


def test_a_search_is_defined_by_what_its_data_holds_not_by_where_it_lies(tmp_path: Path) -> None:
    def loaded(name: str, *overrides: str) -> dict[str, str]:
        folder = f"parameters.data_dir={tmp_path / name}"
        return load_sweep(SHIPPED / "arc.yaml", [folder, *overrides]).fingerprint()

    before = load_sweep(SHIPPED / "arc.yaml").fingerprint()
    shutil.copytree(SHIPPED / "arc_tasks", tmp_path / "moved")
    assert loaded("moved") == before
    assert str(tmp_path) not in str(loaded("moved"))
    file = tmp_path / "moved" / "training" / "flip.json"
    file.write_text(file.read_text().replace("3", "4"))
    changed = loaded("moved")
    assert {key for key in before if before[key] != changed[key]} == {"parameters.data_dir"}
    make = SweepFolder.create_or_open
    make(str(tmp_path / "out"), "", before, {})
    with pytest.raises(FolderError) as caught:
        make(str(tmp_path / "out"), "", changed, {})
    line = "  parameters.data_dir holds other tasks: their hash was [0-9a-f]{16}, is now [0-9a-f]{16}"
    assert re.fullmatch(line, str(caught.value).splitlines()[1])
    with pytest.raises(FolderError, match=r'data_dir was \{"holds": .*, is now \{"holds": \[\["nowhere"\]\]\}'):
        make(str(tmp_path / "out"), "", {**before, "parameters.data_dir": '{"holds": [["nowhere"]]}'}, {})
    both = loaded("moved", "parameters.arc_subset=both")
    assert both["parameters.data_dir"] != changed["parameters.data_dir"]


def test_data_that_was_moved_is_read_where_it_lies_now(tmp_path: Path) -> None:
    for name in ("then", "now"):
        shutil.copytree(SHIPPED / "arc_tasks", tmp_path / name)
    then, now = (load_sweep(SHIPPED / "arc.yaml", [f"parameters.data_dir={tmp_path / n}"]) for n in ("then", "now"))
    proposed = next(then.grid())
    trial = now.trial_config(proposed, 0)
    assert trial.data_dir == str(tmp_path / "now")
    assert trial.id == then.trial_config(proposed, 0).id
    # Of several folders the names decide, and so belong to the search.
    several = [f"parameters.data_dir=[{tmp_path / 'then'}, {tmp_path / name}]" for name in ("now", "other")]
    shutil.copytree(SHIPPED / "arc_tasks", tmp_path / "other")
    one, two = (load_sweep(SHIPPED / "arc.yaml", [text]) for text in several)
    assert one.trial_config(next(one.grid()), 0).data_dir == str(tmp_path / "then")
    assert one.fingerprint()["parameters.data_dir"] != two.fingerprint()["parameters.data_dir"]


def test_a_sweep_that_has_begun_is_read_without_its_data(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "arc_tasks", tmp_path / "data")
    text = load_sweep(SHIPPED / "arc.yaml", [f"parameters.data_dir={tmp_path / 'data'}"]).to_yaml()
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(ConfigError, match="there is no such folder"):
        load_text(text, "sweep.yaml", "sweep")
    assert load_text(text, "sweep.yaml", "sweep", try_out=False).num_configurations() == 4
    with pytest.raises(ConfigError, match="unknown key xyzzy"):
        load_text(f"{text}xyzzy: 1\n", "sweep.yaml", "sweep", try_out=False)


def test_a_folder_of_data_that_no_trial_reads_need_not_be_there(tmp_path: Path) -> None:
    text = "method: grid\nparameters: {operation: {value: x+y_mod}, data_dir: {value: /nowhere/at/all}}\n"
    (tmp_path / "a.yaml").write_text(text)
    assert "/nowhere/at/all" in load_sweep(tmp_path / "a.yaml").fingerprint()["parameters.data_dir"]


def test_a_resolved_file_keeps_its_data(tmp_path: Path) -> None:
    config = load_sweep(SHIPPED / "arc.yaml")
    (tmp_path / "copy.yaml").write_text(config.to_yaml())
    assert load_sweep(tmp_path / "copy.yaml") == config


def test_a_folder_that_cannot_be_read_is_named_with_the_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.json").write_text('{"train": [}')
    text = (SHIPPED / "arc.yaml").read_text().replace("{value: arc_tasks}", "{value: bad}")
    path = tmp_path / "arc.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    [problem] = caught.value.problems
    line = 1 + text[: text.index("data_dir: {")].count("\n")
    assert str(problem).startswith(f"{path}:{line}:")
    assert f"{tmp_path / 'bad' / 'a.json'}:1:12: is not JSON: Expecting value" in problem.message
