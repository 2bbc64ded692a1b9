"""The JSON Schema for editors against what loading accepts."""

import json
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from grokray.errors import ConfigError
from grokray.sweep.config import SweepConfig
from grokray.sweep.load import load_sweep, load_text
from grokray.sweep.schema import DESCRIPTIONS, json_schema, schema_text
from grokray.tasks.draft import PARAMETERS

SHIPPED = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(SHIPPED.glob("*.yaml"))
VALIDATOR = Draft202012Validator(json_schema())
GRID: dict[str, Any] = {"method": "grid", "parameters": {"dropout": {"value": 0}}}


def test_the_checked_in_schema_is_current() -> None:
    # Versions of pydantic put keys in different orders.
    assert json.loads((SHIPPED / "sweep.schema.json").read_text()) == json.loads(schema_text())


def test_it_is_a_schema_of_the_whole_file() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["method", "parameters"]
    assert schema["additionalProperties"] is False
    assert set(SweepConfig.model_fields) <= set(schema["properties"])
    assert set(PARAMETERS) <= set(schema["properties"]["parameters"]["properties"])
    assert set(schema["properties"]["parameters"]["properties"]) == set(DESCRIPTIONS)


def test_everything_is_described_and_every_reference_leads_somewhere() -> None:
    schema = json_schema()
    for name, part in schema["properties"].items():
        assert part["description"], name
    for definition in schema["$defs"].values():
        assert all(part["description"] for part in definition["properties"].values())
    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_refer_to_it_and_use_only_its_keys(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=sweep.schema.json\n")
    assert load_sweep(path).name == path.stem
    VALIDATOR.validate(YAML(typ="safe", pure=True).load(text))


@pytest.mark.parametrize(
    "data",
    [
        {"method": "gird", "parameters": {"dropout": {"value": 0}}},
        {"method": "grid", "parameters": {"dropot": {"value": 0}}},
        {"method": "grid", "parameters": {"dropout": {"valu": 0}}},
        {"method": "grid", "parameters": {"norm": {"values": ["before"]}}},
        {"method": "grid", "parameters": {"base": {"value": 1}}},
        {"method": "grid", "parameters": {"base": {"value": 2}}, "scheduler": {"type": "asha"}},
        {"method": "grid"},
    ],
)
def test_it_refuses_what_is_wrong(data: dict) -> None:
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("part", ["2/4", None], ["2", "", 2]),
        ("seeds", [3, [0, 1], [5]], [0, 10_001, [], [1, 1], [-1]]),
        ("tracking.project", ["grokking"], ["", "a/b", 1]),
        ("project", ["grokking"], ["", "a/b", 1]),
        ("entity", ["us", None], [1]),
        (
            "trial.measure",
            ["", "weight_norm", "weight_norm, logit_scale", ["weight_norm"]],
            ["norm", "weight_normal", 1],
        ),
        ("parameters.arc_tasks", [{"value": 10}, {"values": ["a,b", "c"]}], [{"value": 0.5}]),
        ("parameters.device", [{"value": "cpu"}], [{"value": "gpu"}]),
        ("parameters.wandb_tracking", [{"value": "min"}], [{"value": "some"}]),
        ("parameters.multitask", [{"value": False}], [{"value": "yes"}]),
        ("parameters.prime", [{"value": 97}], [{"value": 1}, {"value": 10**6}]),
        ("parameters.max_bit_length_train", [{"value": 5}], [{"value": 0}]),
        ("parameters.dropout", [{"values": [0, 0.1]}], [{"values": []}, {"values": [0.1, 0.1]}, {"value": 1}]),
    ],
)
def test_it_says_of_each_value_what_loading_says(key: str, right: list, wrong: list) -> None:
    for value in right + wrong:
        data = deepcopy(GRID)
        *outer, name = key.split(".")
        (data.setdefault(outer[0], {}) if outer else data)[name] = value
        assert (value in right) == VALIDATOR.is_valid(data), value
        text = StringIO()
        YAML(typ="safe", pure=True).dump(data, text)
        assert (value in right) == loads(text.getvalue()), value


def loads(text: str) -> bool:
    try:
        load_text(text, "some.yaml", "some")
    except ConfigError:
        return False
    return True


def references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for item in schema for found in references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [found for value in schema.values() for found in references(value)]
