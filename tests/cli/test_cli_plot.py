"""`grokray plot`: which files it writes, and what it refuses."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grokray.cli.main import main
from grokray.cli.outputs import output_place
from grokray.cli.plot import figure_paths, place_of
from grokray.errors import ConfigError
from grokray.records.collect import collect
from grokray.records.store import as_folder_error

FORMATS = ("png", "svg", "pdf")


@pytest.fixture(autouse=True)
def _command(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")


def test_one_of_several_trials(begun, capsys):
    folder = begun()
    trial = list(folder.state().trials)[1]
    assert main(["plot", str(folder.store), trial[:6]]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert paths == [folder.store.local_path(f"plots/{trial}.{kind}") for kind in ("png", "svg")]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert trial in paths[1].read_text()


def test_the_best_trial_into_a_file(begun, tmp_path, capsys):
    folder = begun()
    out = tmp_path / "new" / "figure.svg"
    assert main(["plot", str(folder.store), "--best", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert "grokked by 1,000" in out.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "holds 4 trials: "),
        ([""], "trial is '', but must be a trial's id, or how it begins"),
        (["--best", "--out", ""], "--out is '', but must be a path or a URI"),
        (["zz"], "holds no trial whose id starts with zz"),
        (["ab", "--best"], "--best chooses a trial itself"),
        (["--best", "--out", ".png"], "--out is .png, but must have a name before the ending"),
        (["--best", "--out", "a.gif"], "--out ends in .gif, but must end in one of .png, .svg, .pdf"),
    ],
)
def test_what_is_refused(words, message, begun, capsys, monkeypatch, tmp_path):
    folder = begun()
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(folder.store), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert not list(tmp_path.glob("*.gif"))
    assert not (tmp_path / "out" / "plots").exists()


def test_figures_go_into_a_folder(begun, capsys, tmp_path):
    folder = begun()
    for out in (f"{tmp_path}/new/", f"{tmp_path}/there.png"):
        Path(f"{tmp_path}/there.png").mkdir(exist_ok=True)
        assert main(["plot", str(folder.store), "--best", "--out", out]) == 0
        paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
        assert {path.parent for path in paths} == {Path(out)}
        assert {path.suffix for path in paths} == {".png", ".svg"}


def test_a_bare_name_is_in_the_current_folder(begun, capsys, tmp_path, monkeypatch):
    folder = begun()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["plot", str(folder.store), "--best", "--out", "figure.svg"]) == 0
    assert capsys.readouterr().out == "figure.svg\n"
    assert (tmp_path / "here" / "figure.svg").exists()


def test_a_place_that_cannot_be_written_is_named(begun, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["plot", str(begun().store), "--best", "--out", f"{tmp_path}/file/figure.svg"]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/file is a file, but must be a folder\n"


def test_a_copy_that_cannot_be_written_is_drawn_if_its_tables_tell_all(begun, capsys, tmp_path, monkeypatch):
    folder = begun()
    collect(folder)
    for part in (tmp_path / "out" / "journal").iterdir():
        os.utime(part)  # as after `cp -r`

    def hold(store, name, **options):
        with as_folder_error("lock", store.shown(name)):
            raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("grokray.records.collect.hold", hold)
    words = ["plot", str(folder.store), "--best", "--out", f"{tmp_path}/figure.svg"]
    assert main(words) == 0
    with folder.writer("driver") as journal:
        journal.write("end", trial_id=list(folder.state().trials)[2], outcome="budget", step=700)
    assert main(words) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: cannot lock {folder.store}/curves/.lock: Read-only file system"
    assert hint.startswith("hint: its tables are older than its journal; ")


def test_a_folder_that_is_no_sweep(tmp_path, capsys):
    assert main(["plot", str(tmp_path)]) == 2
    assert "is no sweep's folder" in capsys.readouterr().err


def test_a_folder_of_parts_names_them(begun, tmp_path, capsys):
    for k in (2, 1):
        begun(f"whole/part-{k}of2")
    assert main(["plot", f"{tmp_path}/whole", "--best"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}/whole is no sweep's folder, but holds parts of one: part-1of2, part-2of2",
        "hint: name one of the parts",
    ]


def test_out_may_be_at_home(tmp_path, monkeypatch):
    """In `--out=~/curve.png` a shell leaves the `~` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place_of("~/curve.png") == (str(tmp_path), "curve.png")
    assert place_of("~") == (str(tmp_path), "")
    assert output_place(["anything"], "~/tables", "analysis") == str(tmp_path / "tables")
    assert output_place(["anything"], "s3://bucket/~/tables", "analysis") == "s3://bucket/~/tables"


def test_names_of_files():
    assert figure_paths(Path("a/b.pdf"), FORMATS) == [Path("a/b.pdf")]
    assert figure_paths(Path("a/b"), FORMATS) == [Path("a/b.png"), Path("a/b.svg")]
    assert figure_paths(Path("a/wd_0.1"), FORMATS) == [Path("a/wd_0.1.png"), Path("a/wd_0.1.svg")]
    with pytest.raises(ConfigError, match=r"ends in \.jpeg"):
        figure_paths(Path("b.jpeg"), FORMATS)


@pytest.mark.parametrize("command", [["plot", "--best"], ["report"]])
def test_matplotlib_says_nothing_of_a_home_that_cannot_be_written(command, begun, tmp_path):
    folder = begun()
    (tmp_path / "file").write_text("")
    words = [sys.executable, "-m", "grokray", command[0], str(folder.store), *command[1:]]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MPLCONFIG"))}
    done = subprocess.run(words, env={**environment, "HOME": f"{tmp_path}/file"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_plots_load_neither_torch_nor_ray(begun):
    folder = begun()
    code = f"""
import sys
from grokray.cli.main import main
assert main(["plot", {str(folder.store)!r}, "--best"]) == 0
print(sorted({{"torch", "ray", "optuna", "matplotlib.pyplot"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
