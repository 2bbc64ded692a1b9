"""The README says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import grokray
from grokray.cli.app import COMMANDS
from grokray.records.schema import CONFIG_FIELDS, TRIALS_SCHEMA
from grokray.sweep.load import load_text
from grokray.tasks.expressions import MAX_CONSTANT, MAX_LENGTH, parse
from grokray.tasks.families import FAMILIES
from grokray.tasks.list_door import LIST_CAP
from grokray.tasks.operations import ALIASES, OPERATIONS
from grokray.tasks.pair_door import DEFAULT_OPERAND_LIMIT
from grokray.tasks.resolve import MAX_TASKS
from grokray.tasks.sizes import ROW_LIMIT, VOCABULARY_LIMIT
from grokray.trial import MEASURES

README = (Path(grokray.__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_its_search_space_loads_as_it_is_described():
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    config = load_text(example, "README.md", "readme")
    assert (config.num_trials, config.seeds, config.notes) == (2000, (0, 1, 2), ())
    assert config.parameters["dropout"].distribution == "uniform"


def test_every_command_is_explained():
    assert all(f"`grokray {name} " in README or f"`grokray {name}`" in README for name in COMMANDS)


def test_every_column_is_explained():
    own = [n for n in TRIALS_SCHEMA.names if n not in CONFIG_FIELDS and not n.startswith("final_")]
    assert [name for name in own if f"`{name}`" not in README] == []
    assert f"`{CONFIG_FIELDS[0]}` … `{CONFIG_FIELDS[-1]}`" in README


def test_every_operation_and_measure_is_explained_with_its_limits():
    tasks = (Path(grokray.__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert [name for name in (*OPERATIONS, *FAMILIES, *ALIASES, *MEASURES) if f"`{name}`" not in tasks] == []
    limits = (MAX_CONSTANT, LIST_CAP, ROW_LIMIT, VOCABULARY_LIMIT, MAX_TASKS, DEFAULT_OPERAND_LIMIT, MAX_LENGTH)
    assert [number for number in limits if f"{number:,}" not in tasks] == []
    assert [parse(text).modular for text in re.findall(r"`expr:([^`]+)`", tasks)] == [True, False]


def test_its_links_into_the_repository_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    root = Path(grokray.__file__).parents[1]
    assert [link for link in links if not (root / link).exists()] == []
