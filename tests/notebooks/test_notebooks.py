"""The notebooks run on the sweep that comes with them, and are what their sources say."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

import grokray
from grokray.records.folder import SweepFolder
from grokray.sweep.load import load_sweep

ROOT = Path(grokray.__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.py"))
DRAWS = re.compile(r"\.plot_\w+\((?!.*\bax=)|plt\.subplots\(|^draw\(", re.MULTILINE)


def stem(path: Path) -> str:
    return path.stem


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_each_notebook_has_a_source_and_the_other_way_round():
    assert SOURCES
    assert [path.stem for path in SOURCES] == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", SOURCES, ids=stem)
def test_a_notebook_is_its_source_without_outputs(path: Path):
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    assert cells(notebook) == cells(jupytext.read(path)), f"run: jupytext --to ipynb notebooks/{path.name}"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.parametrize("path", SOURCES, ids=stem)
def test_a_notebook_runs_without_a_warning_and_shows_all_its_figures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # No settings or start-up files of whoever runs the tests.
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    before = files_of(NOTEBOOKS / "sweep")
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    said, blank = [], []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        said += [output.text for output in cell.outputs if output.get("name") == "stderr"]
        pictures = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        if DRAWS.search(cell.source) and not any(len(base64.b64decode(picture)) > 2_000 for picture in pictures):
            blank.append(cell.source)
    assert said == []
    assert blank == []
    assert files_of(NOTEBOOKS / "sweep") == before  # reading writes nothing


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path: path.stat() for path in folder.rglob("*")}
    return {str(path.relative_to(folder)): (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


# The sweep that comes with them


def test_the_sweep_is_that_of_its_search_space():
    folder = SweepFolder.open(NOTEBOOKS / "sweep")
    assert folder.fingerprint == load_sweep(ROOT / "search_spaces" / "small_robust.yaml").fingerprint()
    trials = grokray.load(NOTEBOOKS / "sweep").trials
    assert len(trials) == 72 * 3
    assert trials["outcome"].value_counts().to_dict() == {"grokked": 49, "budget": 59, "pruned": 108}
    assert trials["audited"].sum() == 35
    # What robustness.py says of it: a mean over those that grokked alone makes those that seldom grok look as fast.
    share, mean = (trials.groupby("task_type")[name].mean() for name in ("event_observed", "grok_step"))
    assert share["sequence"] < 0.1 < share["classification"]
    assert mean["sequence"] == pytest.approx(mean["classification"], rel=0.05)


def test_the_sweep_is_small_and_names_no_machine():
    files = [path for path in (NOTEBOOKS / "sweep").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert {path.name for path in files if path.suffix != ".parquet"} == {"manifest.json", "meta.json", "sweep.yaml"}
    listed = json.loads((NOTEBOOKS / "sweep" / "manifest.json").read_text())["files"]
    assert {file["name"]: file["bytes"] for file in listed} == {
        str(path.relative_to(NOTEBOOKS / "sweep")): path.stat().st_size for path in files if path.suffix == ".parquet"
    }
    texts = [path.read_text() for path in (*files, *SOURCES) if path.suffix != ".parquet"]
    assert [text for text in texts if re.search(r"(?<![\w.<])/(home|root|tmp|work|mnt|Users|var)\b", text)] == []
    tables = grokray.load(NOTEBOOKS / "sweep")
    strings = [frame.select_dtypes(["object", "string"]) for frame in (tables.trials, tables.curves)]
    assert not any(frame.apply(lambda column: column.astype(str).str.startswith("/")).any().any() for frame in strings)
