"""Rows of a user's own, from a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from grokray.engine.engine import Engine
from grokray.errors import ConfigError
from grokray.records.folder import OtherSearchSpace, SweepFolder
from grokray.sweep.load import load_sweep
from grokray.sweep.parcel import Parcel
from grokray.tasks import Dataset, build_dataset, file_tables
from grokray.tasks.export import arrow_table
from grokray.tasks.file_rows import rows_of
from grokray.tasks.resolve import left_out, resolve
from grokray.tasks.tables import Table

SMALL = {"num_layers": 1, "dim_model": 8, "num_heads": 1, "batch_size": 16, "num_steps": 20, "eval_interval": 10}


def written(path: Path, rows: list[Any], columns: str = "input,answer") -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([columns.split(","), *rows])
    return str(path)


def dataset_of(path: str, **parameters: Any) -> Dataset:
    return build_dataset(resolve({"operation": "file", "data_file": path, **parameters}))


def said(table: Table) -> list[tuple[str, str]]:
    """Each row's prompt and answer, after a look at what teacher forcing reads."""
    names, found = table.vocabulary.symbols, []
    for tokens, positions, targets in zip(
        table.tokens.tolist(), table.positions.tolist(), table.targets.tolist(), strict=True
    ):
        answer = [t for t in targets if t >= 0]
        first = positions[0]
        assert tokens[first + 1 : first + len(answer)] == answer[:-1]
        assert positions == [first + min(i, len(answer) - 1) for i in range(len(targets))]
        assert all(names[t] == "<PAD>" for t in tokens[first + len(answer) :])
        found.append((" ".join(names[t] for t in tokens[: first + 1]), " ".join(names[t] for t in answer)))
    return found


TURNS = [(f"{x} turn {y}", (x + 2 * y) % 5) for x in range(5) for y in range(5)]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_answers_of_one_token_are_a_classification(tmp_path, suffix):
    data = dataset_of(written(tmp_path / f"a.{suffix}", TURNS))
    assert said(data.table) == [(f"{asked} =", str(answer)) for asked, answer in TURNS]
    assert data.table.vocabulary.symbols == ("0", "1", "2", "3", "4", "turn", "=")
    assert (data.config.task_type, data.config.base, data.config.modulus) == ("classification", None, None)
    assert data.table.uniform
    assert len(data.split.train) == 12 == 25 - len(data.split.heldout)


def test_longer_answers_are_sequences_with_an_end_or_of_one_length(tmp_path):
    rows = [("a b", "10 2 a"), ("b", "2"), ("a", "b b"), ("b b b b", "-1")]
    table = dataset_of(written(tmp_path / "a.csv", rows)).table
    assert said(table) == [(f"{asked} =", f"{answer} <EOS>") for asked, answer in rows]
    assert table.vocabulary.symbols == ("-1", "2", "10", "a", "b", "=", "<EOS>", "<PAD>")
    assert not table.uniform
    assert tuple(table.tokens.shape) == (4, 6)
    even = written(tmp_path / "even.csv", [(f"{i} .", f"{i} {j}") for i, j in ((0, 1), (1, 1), (2, 0))])
    assert said(dataset_of(even, fixed_sequence_length=True).table)[0] == ("0 . =", "0 1")
    assert said(dataset_of(even).table)[0] == ("0 . =", "0 1 <EOS>")
    single = written(tmp_path / "single.csv", TURNS)
    assert said(dataset_of(single, task_type="sequence").table)[1] == ("0 turn 1 =", "2 <EOS>")
    short = dataset_of(written(tmp_path / "short.csv", [("a", 1), ("a b", 2), ("c d e", 1)])).table
    assert said(short) == [("a =", "1"), ("a b =", "2"), ("c d e =", "1")]
    assert not short.uniform


def test_rows_out_of_domain_come_last_and_only_those_that_are_made_of_what_was_trained(tmp_path):
    rows = [
        *[("a a a", "1", "out_of_domain"), ("a b", "0", ""), ("b a", "1", "in_domain"), ("b", "c", "")],
        *[("b z", "1", "out_of_domain"), ("b b", "a", "out_of_domain"), ("c", "1", "out_of_domain")],
        *[("a a", "0", "out_of_domain"), ("b c", "1 1", "out_of_domain")],
    ]
    data = dataset_of(written(tmp_path / "a.csv", rows, "input,answer,part"), task_type="sequence")
    # Left out: a longer one, one with an unknown token, one whose answer nobody wrote.
    kept = [("a b =", "0"), ("b a =", "1"), ("b =", "c"), ("c =", "1"), ("a a =", "0")]
    assert [(asked, answer.removesuffix(" <EOS>")) for asked, answer in said(data.table)] == kept
    assert data.split.out_of_domain.tolist() == [3, 4]
    assert "z" not in data.table.vocabulary.symbols


def test_groups_stay_on_one_side(tmp_path):
    rows = [(f"{x} {y}", x ^ y, min(x, y)) for x in range(8) for y in range(8)]
    data = dataset_of(written(tmp_path / "a.csv", rows, "input,answer,group"), training_fraction=0.5)
    sides = [{rows[row][2] for row in side.tolist()} for side in (data.split.train, data.split.heldout)]
    assert not sides[0] & sides[1]
    assert [len(side) for side in sides] == [4, 4]


def test_rows_of_no_group_are_each_their_own(tmp_path):
    asked = [f"{x} {y}" for x in range(6) for y in range(6)]
    pair = [(row, 1, "pair" if row in ("0 1", "1 0") else "") for row in asked]
    data = dataset_of(written(tmp_path / "a.csv", pair, "input,answer,group"), training_fraction=0.5)
    sides = [{asked[row] for row in side.tolist()} for side in (data.split.train, data.split.heldout)]
    assert abs(len(sides[0]) - 18) <= 1
    assert any({"0 1", "1 0"} <= side for side in sides)
    plain = rows_of(written(tmp_path / "plain.csv", [(row, 1) for row in asked]))
    table = pa.table({"input": asked, "answer": [1] * 36, "part": [float("nan")] * 36, "group": [None] * 36})
    pq.write_table(table, tmp_path / "none.parquet")
    assert rows_of(str(tmp_path / "none.parquet")).hash == plain.hash


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([b"a b", b"c"], "but column input holds binary, but must hold text or numbers, or lists of these"),
        ([{"x": "a"}, {"x": "b"}], "but column input holds struct<x: string>, but must hold text or numbers"),
        ([[["a"]], [["b"]]], "but column input holds list<element: list<element: string>>, but must"),
        ([["a", None], ["b"]], "but row 1: input holds an empty token"),
        ([1.0, float("nan")], "but row 2: input is empty"),
    ],
)
def test_cells_of_parquet_that_are_no_tokens_are_refused(tmp_path, inputs, message):
    pq.write_table(pa.table({"input": inputs, "answer": ["1", "2"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=message):
        dataset_of(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    "parameters",
    [{"operation": "x/y_mod"}, {"operation": "x-y", "task_type": "sequence", "base": 3}, {"operation": "parity"}],
    ids=lambda p: p["operation"],
)
def test_what_was_exported_is_the_same_task_once_more(tmp_path, parameters):
    sizes = {"modulus": 7, "operand_limit": 7, "list_length": 6, "list_rows": 40}
    made = build_dataset(resolve({**parameters, **sizes}))
    pq.write_table(arrow_table(made.table, torch.arange(len(made.table.tokens))), tmp_path / "a.parquet")
    again = dataset_of(str(tmp_path / "a.parquet"))
    minus = [(asked.replace("<NEG>", "-"), answer.replace("<NEG>", "-")) for asked, answer in said(made.table)]
    assert said(again.table) == minus
    assert torch.equal(again.split.train, made.split.train)


def test_a_classification_that_was_exported_trains_to_the_same_curve(tmp_path):
    config = resolve({**SMALL, "operation": "x/y_mod", "modulus": 7})
    made = build_dataset(config)
    pq.write_table(arrow_table(made.table, torch.arange(len(made.table.tokens))), tmp_path / "a.parquet")
    curves = []
    for one in (config, resolve({**SMALL, "operation": "file", "data_file": str(tmp_path / "a.parquet")})):
        engine = Engine()
        engine.join("a", one)
        curves.append([])
        while engine.trials:
            curves[-1] += [m.metrics for m in engine.next()]
    assert len(curves[0]) == 2
    assert curves[0] == curves[1]


def test_noise_and_an_order_are_as_of_other_tasks(tmp_path):
    path = written(tmp_path / "a.csv", [(f"{x} . {y}", f"{x} {y}") for x in range(6) for y in range(6)])
    noisy = dataset_of(path, label_noise=0.5)
    clean = dataset_of(path).table
    assert noisy.noisy is not None
    assert len(noisy.noisy) == 9
    changed = (noisy.table.targets != clean.targets).any(1).nonzero()[:, 0]
    assert torch.equal(changed, noisy.noisy)
    said(noisy.table)
    train = dataset_of(path, curriculum="ordered").split.train
    assert torch.equal(train, train.sort().values)


@pytest.mark.parametrize(
    ("name", "rows", "columns", "message"),
    [
        (
            "a.csv",
            [("a", 1)],
            "inputs,answer",
            "but has no column input; there are inputs, answer; the nearest is",
        ),
        ("a.csv", [], "input,answer", "but has no rows"),
        ("a.txt", [("a", 1)], "input,answer", "but must be a file whose name ends in .csv, .tsv, .parquet"),
        ("a.csv", [("a", 1), ("b", "")], "input,answer", "but line 3: answer is empty"),
        ("a.csv", [("a", 1), ("a", 2)], "input,answer", "but line 3: asks what line 2 asks, with another answer"),
        ("a.csv", [("a", 1), ("a", 1)], "input,answer", "but line 3: asks what line 2 asks, once more"),
        ("a.csv", [("a <PAD>", 1)], "input,answer", "but line 2: input holds <PAD>, which has a meaning of its own"),
        (
            "a.csv",
            [("a", 1, "x")],
            "input,answer,part",
            "but line 2: part is 'x', but must be in_domain or",
        ),
        ("a.csv", [("a", 1, 2)], "input,answer", "but line 2: has more cells than there are columns"),
        ("a.csv", [("a", 1)], "input,input,answer", "but has two columns input"),
        ("a.csv", [("a " * 4096, 1)], "input,answer", "but line 2: has 4,097 tokens, and may have at most 4,096"),
        ("a.csv", [("", 1), ("a", "")], "input,answer", "but:\n  line 2: input is empty\n  line 3: answer is empty"),
        (
            "a.csv",
            [(i, i) for i in range(9_000)],
            "input,answer",
            "which has 9,001 different tokens, but may have",
        ),
    ],
)
def test_files_that_cannot_be_learned_from_are_refused(tmp_path, name, rows, columns, message):
    path = written(tmp_path / name, rows, columns)
    with pytest.raises(ConfigError) as caught:
        dataset_of(path)
    assert message in str(caught.value)
    assert caught.value.problems[0].field == "data_file"


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"input,answer\n\xff,1\n")
    (tmp_path / "quote.csv").write_text('input,answer\n"a,1\n')
    (tmp_path / "no.parquet").write_text("input")
    (tmp_path / "folder.csv").mkdir()
    messages = {
        **{"bytes.csv": "but is no text in UTF-8", "quote.csv": "but line 2: unexpected end of data"},
        **{
            "no.parquet": "but is no Parquet file: ",
            "folder.csv": "but is no file",
            "none.csv": "but there is no",
        },
    }
    for name, message in messages.items():
        with pytest.raises(ConfigError, match=message):
            dataset_of(str(tmp_path / name))
    with pytest.raises(ConfigError, match="operation is file, but has none: give data_file"):
        resolve({"operation": "file"})


def test_what_the_rows_cannot_have_is_refused(tmp_path):
    path = written(tmp_path / "a.csv", [("a", "1 2"), ("b", "1"), ("c", "2")])
    faults = {
        "task_type": ("classification", "task_type is 'classification', but an answer in data_file has 2 tokens"),
        "fixed_sequence_length": (
            True,
            "fixed_sequence_length is true, but the answers in data_file have 1 to",
        ),
        "split": ("commutative", "split is 'commutative', but the rows of a file are no pairs"),
        "training_fraction": (0.1, "training_fraction is 0.1, but of 3 rows must leave at least one"),
        "data_file_hash": ("0" * 16, "data_file_hash is 0000000000000000, but the rows' is "),
    }
    for name, (value, message) in faults.items():
        with pytest.raises(ConfigError, match=message) as caught:
            dataset_of(path, **{name: value})
        assert [problem.field for problem in caught.value.problems] == [name]


def test_a_trial_goes_by_the_rows_and_not_by_where_they_lie(tmp_path):
    paths = [written(tmp_path / name, TURNS) for name in ("a.csv", "b.tsv")]
    one, two = (resolve({"operation": "file", "data_file": path}) for path in paths)
    assert one.id == two.id
    assert one.data_file != two.data_file
    other = resolve({"operation": "file", "data_file": written(tmp_path / "c.csv", TURNS[::-1])})
    assert other.id != one.id
    assert resolve(one.model_dump()) == one
    given = {"operation": "x+y_mod", "data_file": str(tmp_path / "a.csv"), "modulus": 7}
    assert resolve(given) == resolve({"operation": "x+y_mod", "modulus": 7})
    assert left_out(given, resolve(given)) == {"data_file"}
    written(tmp_path / "a.csv", TURNS[:20])
    with pytest.raises(ConfigError, match="a.csv no longer holds the rows of the trial: their hash is"):
        file_tables.build(one)
    (tmp_path / "b.tsv").unlink()
    with pytest.raises(ConfigError, match="the trial's data_file .*b.tsv: there is no such file"):
        file_tables.build(two)


def test_a_search_space_names_it_from_its_own_folder_and_takes_it_along(tmp_path):
    space = "method: grid\nparameters: {operation: {value: file}, data_file: {value: rows.csv}}\n"
    configs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "rows.csv", TURNS)
        (tmp_path / name / "own.yaml").write_text(space)
        configs.append(load_sweep(tmp_path / name / "own.yaml"))
    one, two = configs
    assert one.fingerprint() == two.fingerprint()
    assert two.trial_config(next(one.grid()), 0).data_file == str(tmp_path / "two/rows.csv")
    with Parcel(config=one, out="s3://bucket/x").packed() as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "own.yaml"]
        assert load_sweep(folder / "own.yaml").fingerprint() == one.fingerprint()
    SweepFolder.create_or_open(str(tmp_path / "out"), "", one.fingerprint(), {})
    written(tmp_path / "one/rows.csv", TURNS[1:])
    changed = load_sweep(tmp_path / "one/own.yaml").fingerprint()
    with pytest.raises(OtherSearchSpace, match="data_file holds other rows: their hash was [0-9a-f]{16}, is now"):
        SweepFolder.create_or_open(str(tmp_path / "out"), "", changed, {})


def test_a_list_of_tokens_may_hold_spaces(tmp_path):
    columns = {"input": [["New York", ","], ["Rome"], ["Oslo"]], "answer": [["US"], ["IT"], ["NO"]]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert rows_of(str(tmp_path / "a.parquet")).inputs == (("New York", ","), ("Rome",), ("Oslo",))
