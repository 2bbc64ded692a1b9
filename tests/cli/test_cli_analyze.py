"""`grokray analyze` and `grokray report`: what they print and write, and what they refuse."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from grokray.analysis.findings.finding import Finding
from grokray.cli.analyze import _records, show
from grokray.cli.main import main
from grokray.cli.outputs import remove
from grokray.cli.part import named_by
from grokray.records.collect import collect
from grokray.records.store import Store
from tests.records.records_helpers import little_room, memory_store

TITLES = ("What was run", "Robustness", "Time to grok", "Effects of parameters", "Quality of the data")


def test_tables_are_printed_and_written(begun, capsys):
    folder = begun()
    assert main(["analyze", str(folder.store)]) == 0
    printed = capsys.readouterr().out
    assert all(title in printed for title in TITLES)
    assert max(map(len, printed.splitlines()[:6])) <= 80
    place = folder.store.local_path("analysis")
    assert printed.splitlines()[-1].startswith(f"tables: {place} (")
    table = pd.read_parquet(place / "phases.parquet")
    pd.testing.assert_frame_equal(table, pd.read_csv(place / "phases.csv"), rtol=1e-15)
    assert table.set_index("phase").loc["memorization", "trials"] == 2
    assert "2 of 4 trials have not ended" in printed


def test_a_json_object_for_programs(begun, capsys, tmp_path):
    words = ["analyze", str(begun().store), "--json", "--out", f"{tmp_path}/tables", "--level", "0.9"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["level"] == 0.9
    assert found["survival"]["tables"]["overall"][0]["trials"] == 4
    assert found["importance"]["missing"].startswith("1 configuration is too few")
    assert found["importance"]["tables"] == {}
    assert found["effects"]["tables"]["if_all_grok"][0]["time_ratio_if_all_grok"] is None
    assert (tmp_path / "tables" / "survival.csv").exists()


def test_small_numbers_keep_their_digits_in_json():
    table = pd.DataFrame({"p": [4e-11, 1.6717690000000003e-07, float("inf")], "n": [1, 2, 3], "of": ["a", None, "c"]})
    assert _records(table) == [
        {"p": 4e-11, "n": 1, "of": "a"},
        {"p": 1.671769e-07, "n": 2, "of": None},
        {"p": None, "n": 3, "of": "c"},
    ]


def test_tables_of_an_earlier_run_do_not_stay_among_the_new_ones(begun, tmp_path):
    place = tmp_path / "tables"
    words = ["analyze", str(begun().store), "--out", str(place)]
    assert main([*words, "--by", "trial_id"]) == 0
    for name in ("survival-mine.csv", "survival-pairs.txt"):
        (place / name).write_text("of the user")
    before = {path.name for path in place.iterdir()}
    assert main(words) == 0
    assert before - {path.name for path in place.iterdir()} == {"survival-pairs.csv", "survival-pairs.parquet"}


def test_tables_of_an_earlier_run_are_removed_from_an_object_store_too(monkeypatch):
    store = memory_store("s3://bucket/tables")
    for name in ("survival.csv", "survival-pairs.csv", "survival-mine.csv", "deep/survival-pairs.csv"):
        store.write_atomic(name, b"")
    monkeypatch.setattr(Store, "from_uri", lambda uri: store)
    remove("s3://bucket/tables", {"survival-pairs.csv", "never-written.csv"})
    assert store.list() == ["deep/survival-pairs.csv", "survival-mine.csv", "survival.csv"]


def test_by_a_column(begun, capsys):
    assert main(["analyze", str(begun().store), "--by", "weight_decay", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["value"] for row in found["survival"]["tables"]["groups"]] == ["0.1", "1"]
    assert main(["analyze", str(begun().store), "--by", "weight_decay, modulus", "--json"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)["survival"]["tables"]["groups"]
    assert (first["parameter"], first["value"][:5]) == ("weight_decay, modulus", "0.1, ")


def test_a_part_of_the_trials_is_called_one_everywhere(begun, capsys, tmp_path):
    folder = str(begun().store)
    words = [folder, "--where", "weight_decay>=0.5", "--where", "num_steps=2000"]
    assert main(["analyze", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["where"] == ["weight_decay>=0.5", "num_steps=2000"]
    assert found["survival"]["tables"]["overall"][0]["trials"] == 2
    assert main(["analyze", *words]) == 0
    assert capsys.readouterr().out.startswith("2 of 4 trials were chosen: weight_decay>=0.5, num_steps=2000\n")
    assert main(["report", *words, "--out", f"{tmp_path}/a.html"]) == 0
    page = (tmp_path / "a.html").read_text()
    assert (
        '<p class="part">2 of 4 trials, chosen: <code>weight_decay&gt;=0.5</code>, <code>num_steps=2000</code>' in page
    )
    assert "grokray report repeated --where &#39;weight_decay&gt;=0.5&#39; --where num_steps=2000</pre>" in page
    assert main(["report", folder, "--out", f"{tmp_path}/b.html"]) == 0
    assert "chosen" not in (tmp_path / "b.html").read_text()
    capsys.readouterr()
    assert main(["analyze", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["where"] == []


def test_results_of_a_part_leave_those_of_all_trials_alone(begun, capsys, tmp_path):
    folder = begun()
    of_all = {name: folder.store.local_path(name) for name in ("analysis/overview.csv", "report.html")}
    assert main(["analyze", str(folder.store)]) == main(["report", str(folder.store)]) == 0
    before = {name: path.read_bytes() for name, path in of_all.items()}
    words = [str(folder.store), "--where", "weight_decay>=0.5"]
    assert (
        main(["analyze", *words]) == main(["report", *words]) == main(["report", *words, "--out", f"{tmp_path}/"]) == 0
    )
    assert {name: path.read_bytes() for name, path in of_all.items()} == before
    part = "weight_decay-at-least-0.5"
    tables, page, elsewhere = (line for line in capsys.readouterr().out.splitlines() if part in line)
    assert tables.startswith(f"tables: {folder.store}/analysis-{part} (")
    assert (page, elsewhere) == (f"{folder.store}/report-{part}.html", f"{tmp_path}/report-{part}.html")
    assert Path(page).read_text() == Path(elsewhere).read_text() != of_all["report.html"].read_text()


def test_parts_have_names_of_their_own():
    def name(*where: str) -> str:
        return named_by([*where], "report.html")

    assert name() == "report.html"
    assert name("base=10", "operation == x+y_mod") == "report-base-10-and-operation-x+y_mod.html"
    assert name("operation=x+y_mod", "base=10", "base=10") == name("base=10", "operation=x+y_mod")
    assert name("dropout<0.1", "base!=none") == "report-base-not-none-and-dropout-below-0.1.html"
    others = [f"operation=x{sign}y_mod" for sign in "+-*/"] + ["shift=-1", "shift=1", "task=not-a", "task!=a"]
    long = [f"modulus!={number}" for number in range(100)]
    names = [*map(name, others), name(*long), name(*long[:-1])]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"report-[\w.+-]{1,90}\.html", one, re.ASCII) for one in names)


def test_a_column_made_of_others_is_grouped_by_and_repeated(begun, capsys, tmp_path):
    words = [str(begun().store), "--column", "made = weight_decay*training_fraction", "--where", "made>0"]
    assert main(["analyze", *words, "--by", "made", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == {"made": "weight_decay * training_fraction"}
    assert [row["value"] for row in found["survival"]["tables"]["groups"]] == ["0.04567", "0.75"]
    assert main(["report", *words, "--out", f"{tmp_path}/a.html"]) == 0
    command = "repeated --column &#39;made=weight_decay * training_fraction&#39; --where &#39;made&gt;0&#39;</pre>"
    assert command in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (
            "report",
            ["--column", "made=weight_deca"],
            "column made is weight_deca, but the trials have no column weight_d",
        ),
        ("analyze", ["--column", "made"], "--column is made, but must be NAME=EXPRESSION, such as shrinkage=learning_"),
        ("analyze", ["--where", "grok_step<1000"], "where grok_step<1000: grok_step is what came of trials"),
        (
            "report",
            ["--where", "weight_deca>1"],
            "where weight_deca>1: the trials have no column weight_deca; the near",
        ),
        ("report", ["--where", "weight_decay"], "where weight_decay: that is no condition"),
        (
            "analyze",
            ["--by", "weight_deca"],
            "by is weight_deca, but the trials have no such column; the nearest is weight_decay",
        ),
        ("analyze", ["--level", "95"], "level is 95, but must be in [0.5, 0.9999]"),
        ("analyze", ["--by", ""], "by is '', but the trials have no such column"),
        ("analyze", ["--level", "x"], "--level is 'x', but must be a number"),
        ("report", ["--level", "95 %"], "--level is '95 %', but must be a number"),
        ("report", ["--level", "0"], "level is 0, but must be in [0.5, 0.9999]"),
        ("analyze", ["{other}"], "there are several folders, so --out must say where results go"),
        ("report", ["{folder}", "--out", "{tmp}/a.html"], "is named twice"),
        ("report", ["--out", ""], "--out is '', but must be a path or a URI"),
        ("analyze", ["--out", " "], "--out is ' ', but must be a path or a URI"),
    ],
)
def test_what_is_refused(command, words, message, begun, capsys, tmp_path):
    names = {"tmp": str(tmp_path), "folder": str(begun().store), "other": str(begun("other").store)}
    (tmp_path / "file").write_text("")
    assert main([command, names["folder"], *(word.format(**names) for word in words)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message.format(**names) in err
    assert not (tmp_path / "out" / "analysis").exists()


@pytest.mark.parametrize(
    ("command", "out"),
    [("analyze", "file"), ("analyze", "file/x"), ("report", "file/report.html"), ("report", "file/x/report.html")],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_read(command, out, begun, capsys, tmp_path, monkeypatch):
    folder = begun()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("grokray.analysis.analysis.load", None)
    assert main([command, str(folder.store), "--out", f"{tmp_path}/{out}"]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/file is a file, but must be a folder\n"


def test_a_filesystem_that_makes_no_files_is_said(begun, capsys, tmp_path, monkeypatch):
    folder = begun()

    def written_beside(path, data):
        raise FileNotFoundError

    monkeypatch.setattr("grokray.records.store_local._written_beside", written_beside)
    assert main(["report", str(folder.store), "--out", f"{tmp_path}/new/x.html"]) == 2
    assert capsys.readouterr().err == f"error: cannot write {tmp_path}: no file can be made there\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["report"], "report.html"),
        (["analyze"], "analysis/overview.parquet"),
        (["plot", "--best", "--out", "{folder}/plots/best.svg"], "plots/best.svg"),
    ],
)
def test_results_that_find_no_room_leave_the_former_ones(words, written, begun, capsys, monkeypatch):
    folder = begun()
    command, *options = words
    place = folder.store.local_path(written)
    folder.store.write_atomic(written, b"of before")
    collect(folder)
    monkeypatch.setattr("grokray.records.store._PROBE", b"x")
    with little_room():
        assert main([command, str(folder.store), *(word.format(folder=folder.store) for word in options)]) == 2
    assert re.fullmatch(f"error: cannot write {place.parent}.*: File too large\n", capsys.readouterr().err)
    assert place.read_bytes() == b"of before"
    assert not [*folder.store.local_path().rglob(".*.tmp")]


def test_a_folder_that_is_no_sweep(tmp_path, capsys):
    for command in ("analyze", "report"):
        assert main([command, str(tmp_path)]) == 2
        assert "is no sweep's folder" in capsys.readouterr().err


def test_a_report_of_damaged_curves_says_so(begun, capsys):
    store = begun().store
    assert main(["collect", str(store)]) == 0
    (part,) = store.list("curves")
    path = store.local_path(part)
    path.write_bytes(path.read_bytes()[:500])
    assert main(["report", str(store)]) == 2
    problem, hint = capsys.readouterr().err.splitlines()
    assert problem.startswith(f"error: a table of {store} is damaged: ")
    assert hint == "hint: grokray collect makes it anew"


def test_two_sweeps_as_one(begun, capsys, tmp_path):
    paths = [str(begun().store), str(begun("other").store)]
    assert main(["analyze", *paths, "--json", "--out", f"{tmp_path}/both"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sweeps"] == ["out", "other"]
    assert found["overview"]["notes"] == ["4 trials are in more than one folder, and count once"]


@pytest.mark.parametrize(("command", "place"), [("analyze", "analysis/phases.csv"), ("report", "report.html")])
def test_parts_of_a_sweep_are_read_as_one_and_results_lie_beside_them(command, place, begun, capsys, tmp_path):
    for k in (1, 2):
        begun(f"whole/part-{k}of2")
    assert main([command, f"{tmp_path}/whole"]) == 0
    assert f"{tmp_path}/whole/{place.partition('/')[0]}" in capsys.readouterr().out.splitlines()[-1]
    assert (tmp_path / "whole" / place).exists()
    if command == "report":
        assert "part-1of2, part-2of2" in (tmp_path / "whole" / place).read_text()


@pytest.mark.parametrize("name", ["small.yaml", "out/trials.parquet", "out/lock", ".html"])
def test_a_report_overwrites_no_file_of_another_kind(name, begun, capsys, tmp_path):
    folder = begun()
    (tmp_path / name).write_text("of value")
    assert main(["report", str(folder.store), "--out", f"{tmp_path}/{name}"]) == 2
    assert capsys.readouterr().err == f"error: --out is {tmp_path}/{name}, but must end in .html, or be a folder\n"
    assert (tmp_path / name).read_text() == "of value"


def test_a_report_goes_into_a_folder(begun, capsys, tmp_path):
    folder = begun()
    for out in (str(tmp_path), f"{tmp_path}/new/"):
        assert main(["report", str(folder.store), "--out", out]) == 0
        assert capsys.readouterr().out == f"{out.rstrip('/')}/report.html\n"
        assert (Path(out) / "report.html").exists()


def test_the_report_is_one_file(begun, capsys, tmp_path):
    folder = begun()
    assert main(["report", str(folder.store)]) == 0
    assert capsys.readouterr().out == f"{folder.store.local_path('report.html')}\n"
    assert main(["report", str(folder.store), "--out", f"{tmp_path}/deep/down.html"]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "How robust is grokking?" in page
    assert page == folder.store.local_path("report.html").read_text(encoding="utf-8")


def test_neither_loads_torch_or_ray(begun):
    folder = begun()
    code = f"""
import sys
from grokray.cli.analyze import _records
from grokray.cli.main import main
from grokray.cli.outputs import remove
from grokray.records.collect import collect
from grokray.records.store import Store
from tests.records.records_helpers import little_room, memory_store
assert main(["analyze", {str(folder.store)!r}]) == 0
assert main(["report", {str(folder.store)!r}]) == 0
print(sorted({{"torch", "ray", "matplotlib.pyplot"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_hides_no_remark_on_a_number(width):
    rows = {"task": ["a", "b", "c"], "fraction": [0.99, 0.5, 0.6], "trials": [12, 12, 12]}
    table = pd.DataFrame(
        rows | {"note": ["extrapolated: fractions go from 0.37 to 0.77", "may be chance", "may be chance"]}
    )
    finding = Finding(name="critical", title="Critical", tables={"critical": table})
    console = Console(width=width, file=io.StringIO())
    show(console, finding)
    lines = console.file.getvalue().splitlines()
    if width == 80:
        assert "extrapolated: fractions go from 0.37 to 0.77" in lines[3]
    else:
        assert [line for line in lines if line.startswith("- ")] == [
            "- a: extrapolated: fractions go from 0.37 to 0.77",
            "- b, c: may be chance",
        ]
    assert not any("not shown" in line for line in lines)
