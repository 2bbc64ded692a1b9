"""Cluster files of `ray up`: read, and refused with every fault named where Ray would find it late, or never.

Ray checks a file against a schema, but not what stands inside node_config, nor whether strangers can use the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grokray.errors import ConfigError, Problem
from grokray.sweep.cluster_rules import advice, faults, faults_of_form
from grokray.sweep.explain import no_mapping
from grokray.sweep.rules import Fault
from grokray.sweep.yaml_text import Document, parse_yaml, read_text

HINT = "docs/cluster.md explains cluster files; cluster.yaml is one for AWS."


def read_cluster_file(path: str | Path, *, strict: bool = False) -> dict[str, Any]:
    """The file's content, without Ray's defaults. With `strict` what is merely unwise counts as a fault too.

    Raises ConfigError with every fault, each with its place, as in
    "cluster.yaml:40:7: InstanceTyp is no field of an EC2 instance; the nearest is InstanceType".
    """
    document, data = _parsed(path)
    found = faults(data)
    if strict and not found:
        found = advice(data)
    if problems := [*document.problems, *_placed(found, document)]:
        raise ConfigError(problems, hint=HINT)
    return data


def refuse_other_files(path: str | Path) -> None:
    """ConfigError if the file is no cluster file at all: of one that `ray up` took, no more is asked."""
    document, data = _parsed(path)
    if found := faults_of_form(data):
        raise ConfigError(_placed(found, document), hint=HINT)


def _parsed(path: str | Path) -> tuple[Document, dict[str, Any]]:
    document = parse_yaml(read_text(Path(path)), str(path))
    if not isinstance(document.data, dict):
        raise ConfigError(no_mapping(document, "cluster_name and provider"), hint=HINT)
    return document, _merged(document.data)


def _merged(value: Any) -> Any:
    """With merge keys resolved, as Ray reads the file: `<<: *base` stands for what the mapping does not say itself."""
    if isinstance(value, list):
        return [_merged(item) for item in value]
    if not isinstance(value, dict):
        return value
    merged: dict[str, Any] = {}
    bases = value.get("<<", [])
    for base in reversed(bases if isinstance(bases, list) else [bases]):
        merged |= _merged(base) if isinstance(base, dict) else {}
    return merged | {key: _merged(inner) for key, inner in value.items() if key != "<<"}


def _placed(found: Iterable[Fault], document: Document) -> list[Problem]:
    problems = [Problem(message=message, place=document.place(keys)) for keys, message in found]
    return list(dict.fromkeys(problems))
