"""`grokray data`: what it writes, what it prints, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grokray.cli.main import main

PARTS = ("train", "heldout", "out_of_domain")
STRINGS = pa.list_(pa.string())


def export(out: Path, *words: str) -> dict[str, list[dict[str, Any]]]:
    """Each part's rows."""
    assert main(["data", *words, "--out", str(out)]) == 0
    return {part: pq.read_table(out / f"{part}.parquet").to_pylist() for part in PARTS}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def digits(number: int, base: int) -> list[str]:
    """Most significant first, the sign before."""
    out, rest = [], abs(number)
    while rest or not out:
        out.insert(0, str(rest % base))
        rest //= base
    return ["-"] * (number < 0) + out


@pytest.mark.parametrize("base", [10, 64])
def test_a_sequence_s_rows_are_numbers_and_words(tmp_path: Path, base: int) -> None:
    sizes = ("--operand_limit", "70", "--operand_limit_out", "73")
    parts = export(tmp_path / "out", "--operation", "x-y", "--task_type", "sequence", "--base", str(base), *sizes)
    inside = parts["train"] + parts["heldout"]
    assert sorted((row["x"], row["y"]) for row in inside) == [(x, y) for x in range(70) for y in range(70)]
    assert len(parts["train"]) == 2450
    assert all(max(row["x"], row["y"]) >= 70 for row in parts["out_of_domain"])
    assert len(parts["out_of_domain"]) == 73**2 - 70**2
    for row in inside + parts["out_of_domain"]:
        assert row["z"] == row["x"] - row["y"]
        assert row["input"] == [*digits(row["x"], base), "-", *digits(row["y"], base), "="]
        assert row["answer"] == [*digits(row["z"], base), "<EOS>"]
    schema = pq.read_schema(tmp_path / "out" / "train.parquet")
    assert {field.name: field.type for field in schema} == {
        **dict.fromkeys("xyz", pa.int64()),
        "input": STRINGS,
        "answer": STRINGS,
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--modulus", "13"],
        ["--modulus", "13", "--task_type", "sequence", "--base", "2", "--digit_order", "least_first"],
        ["--operation", "x-y", "--operand_limit", "9", "--task_type", "sequence", "--fixed_sequence_length"],
        ["--operation", "sort", "--base", "3", "--list_length", "3"],
        ["--operation", "x/y_mod,x-y", "--multitask", "--modulus", "13", "--task_type", "sequence"],
        ["--operation", "expr:max(x, y) - 3", "--operand_limit", "9"],
    ],
)
def test_ids_spell_the_same_rows_as_words(tmp_path: Path, words: list[str]) -> None:
    parts = export(tmp_path / "out", *words)
    tokens = read(tmp_path / "out" / "vocabulary.json")["tokens"]
    for part, rows in parts.items():
        ids = read(tmp_path / "out" / f"{part}.json")
        assert set(ids) == {"inputs", "labels"}
        assert [[tokens[i] for i in row] for row in ids["inputs"]] == [row["input"] for row in rows]
        assert [[tokens[i] for i in row] for row in ids["labels"]] == [row["answer"] for row in rows]
    assert parts["train"]
    assert parts["heldout"]
    assert pq.read_schema(tmp_path / "out" / "out_of_domain.parquet").field("input").type == STRINGS


def test_a_classification_s_answer_is_one_word(tmp_path: Path) -> None:
    parts = export(tmp_path / "out", "--operation", "x-y", "--operand_limit", "5")
    row = {"x": 0, "y": 1, "z": -1, "input": ["0", "-", "1", "="], "answer": ["-1"]}
    assert row in parts["train"] + parts["heldout"]
    vocabulary = read(tmp_path / "out" / "vocabulary.json")
    assert vocabulary["tokens"] == [*map(str, range(-4, 5)), "-", "="]
    assert vocabulary["operators"] == {"x-y": 9}
    assert vocabulary["equals"] == {"x-y": 10}


def test_lists_have_no_numbers(tmp_path: Path) -> None:
    rows = export(tmp_path / "out", "--operation", "reverse", "--base", "3", "--list_length", "2")["train"]
    assert {(row["x"], row["y"], row["z"]) for row in rows} == {(None, None, None)}
    assert all(row["answer"] == [*row["input"][2:0:-1], "<EOS>"] for row in rows)


def test_several_tasks_are_told_apart(tmp_path: Path) -> None:
    rows = export(tmp_path / "out", "--operation", "x/y_mod,x+y_mod", "--modulus", "7")["train"]
    signs = {(row["task"], row["input"][1], row["input"][3]) for row in rows}
    assert signs == {("x/y_mod", "/%", "=/%"), ("x+y_mod", "+%", "=+%")}
    vocabulary = read(tmp_path / "out" / "vocabulary.json")
    assert vocabulary["tokens"][vocabulary["equals"]["x+y_mod"]] == "=+%"


def test_it_prints_sizes_examples_and_the_share_of_twins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequence = ("--operation", "x-y", "--operand_limit", "20", "--task_type", "sequence")
    export(tmp_path / "out", *sequence, "--examples", "2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        "train: 200 rows",
        "  0 - 0 = 0   as tokens: 0 - 0 = 0 <EOS>",
        "  0 - 1 = -1   as tokens: 0 - 1 = - 1 <EOS>",
    ]
    assert "out_of_domain: 0 rows" in lines
    assert lines[-1] == "commuted twins: for 43.5 % of heldout's (x, y), (y, x) is in train"
    assert read(tmp_path / "out" / "dataset.json")["twin_share"] == 0.435
    export(tmp_path / "out", *sequence, "--split", "commutative")
    assert "for 0 % of heldout's" in capsys.readouterr().out


def test_noisy_answers_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--operation", "x+y_mod", "--modulus", "11")
    clean = export(tmp_path / "clean", *words)
    noisy = export(tmp_path / "noisy", *words, "--label_noise", "0.2")
    assert "noisy answers: 12 rows of train" in capsys.readouterr().out
    wrong = [place for place, row in enumerate(noisy["train"]) if row["z"] != (row["x"] + row["y"]) % 11]
    assert read(tmp_path / "noisy" / "dataset.json")["noisy_rows"] == wrong
    assert len(wrong) == 12
    assert all(row["answer"] == [str(row["z"])] for row in noisy["train"])
    assert noisy["heldout"] == clean["heldout"]


def test_an_export_may_be_written_anew_but_nothing_else_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(tmp_path / "out", "--modulus", "7")
    assert len(export(tmp_path / "out", "--modulus", "11")["train"]) == 55
    capsys.readouterr()
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "train.json").write_text("my own")
    assert main(["data", "--modulus", "7", "--out", str(foreign)]) == 2
    assert "mine holds 1 file already, such as train.json, and is no export" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in foreign.iterdir()] == [("train.json", "my own")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--operation", "sor"], "error: --operation is 'sor', but there is no such operation; the nearest is sort"),
        (["--operation", "expr:x.__class__"], "error: --operation is 'expr:x.__class__', but may hold only"),
        (["--examples", "-1"], "error: --examples is -1, but must be at least 0"),
        (["--multitask=maybe"], "error: --multitask is 'maybe', but must be true or false"),
    ],
)
def test_bad_input_is_one_message_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["data", *words, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_and_a_wrong_option_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--operation", "x+y"]) == 2
    assert "missing option '--out'" in capsys.readouterr().err
    assert main(["data", "--operatoin", "x+y"]) == 2
    assert "no such option: --operatoin; the nearest is --operation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "row"),
    [
        (("--operation", "sort", "--base", "4", "--list_length", "2"), "sort 0 0 = 0 0 <EOS>"),
        (("--operation", "arc", "--data_dir", "ARC", "--arc_tasks", "a"), "<a> 1 <a>= 2 <EOS>"),
    ],
)
def test_rows_that_are_no_numbers_are_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], row: str
) -> None:
    (tmp_path / "arc").mkdir()
    pairs = [{"input": [[1]], "output": [[2]]}] * 4
    (tmp_path / "arc" / "a.json").write_text(json.dumps({"train": pairs}))
    words = tuple(str(tmp_path / "arc") if word == "ARC" else word for word in words)
    export(tmp_path / "out", *words)
    lines = capsys.readouterr().out.splitlines()
    assert f"  {row}" in lines
    assert not any("as tokens" in line for line in lines)


def test_of_many_tasks_the_first_few_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "arc").mkdir()
    for i in range(9):
        (tmp_path / "arc" / f"t{i}.json").write_text(json.dumps({"train": [{"input": [[1]], "output": [[2]]}] * 2}))
    export(tmp_path / "out", "--operation", "arc", "--data_dir", str(tmp_path / "arc"))
    assert capsys.readouterr().out.startswith("t0, t1, t2, … (9 tasks) in ")
    export(tmp_path / "few", "--operation", "arc", "--data_dir", str(tmp_path / "arc"), "--arc_tasks", "8")
    assert capsys.readouterr().out.startswith("t0, t1, t2, t3, t4, t5, t6, t7 in ")
