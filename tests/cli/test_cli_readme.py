"""The README says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import grokray
from grokray.cli.app import COMMANDS
from grokray.records.schema import CONFIG_FIELDS, TRIALS_SCHEMA
from grokray.sweep.load import load_text

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


def test_its_links_into_the_repository_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    root = Path(grokray.__file__).parents[1]
    assert [link for link in links if not (root / link).exists()] == []
