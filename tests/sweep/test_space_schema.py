"""The JSON Schema for editors against what loading accepts. (No validator is needed: the structure is compared.)"""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from grokray.sweep.config import SweepConfig
from grokray.sweep.load import load_sweep
from grokray.sweep.schema import DESCRIPTIONS, json_schema, schema_text
from grokray.tasks.resolve import PARAMETERS

SHIPPED = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(SHIPPED.glob("*.yaml"))


def test_the_checked_in_schema_is_current() -> None:
    assert (SHIPPED / "sweep.schema.json").read_text() == schema_text()


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
    assert fits(YAML(typ="safe", pure=True).load(text), json_schema(), json_schema())


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
    assert not fits(data, json_schema(), json_schema())


def references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for item in schema for found in references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [found for value in schema.values() for found in references(value)]


TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def fits(value: Any, schema: dict, root: dict) -> bool:
    """The part of JSON Schema that the schema uses."""
    if "$ref" in schema and not fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root):
        return False
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return False
    if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
        return False
    if "minimum" in schema and value < schema["minimum"]:
        return False
    if "anyOf" in schema and not any(fits(value, option, root) for option in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(fits(value, option, root) for option in schema["oneOf"]) != 1:
        return False
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {}), root) for item in value)
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    if schema.get("additionalProperties") is False and set(value) - set(known):
        return False
    inner = all(fits(item, known[key], root) for key, item in value.items() if key in known)
    return inner and set(schema.get("required", ())) <= set(value)
