"""YAML text to plain data, with the place of every key, and limits that keep a hostile file from costing much.

YAML 1.2 by ruamel.yaml: `1e-3` is a number, `no` is a text. Doubled keys are problems, not silently the last one.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from grokray.errors import ConfigError, Problem

MAX_BYTES = 1_048_576
MAX_LINE = 100_000  # characters; on longer ones some of the parser's loops take a square
MAX_DEPTH = 20
MAX_VALUES = 20_000
MAX_DIGITS = 1_000  # of a whole number: Python writes out none of many thousands

Keys = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """`places` maps the keys from the top to where they stand, as in ("trial", "sustain") → "robust.yaml:12:3"."""

    source: str
    data: Any
    places: dict[Keys, str]
    problems: tuple[Problem, ...] = ()
    # Keys whose value could not be read; None stands there instead.
    broken: tuple[Keys, ...] = ()

    def place(self, keys: Keys) -> str:
        """Where the keys stand, or the nearest thing around them."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return self.places.get((), self.source)


def dotted(keys: Keys) -> str:
    """("parameters", "base", "values", 0) → parameters.base.values[0]"""
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in keys).lstrip(".")


def read_text(path: Path) -> str:
    """The file's text. Raises ConfigError if it is missing, no plain file, too large or not UTF-8."""
    try:
        if not path.exists():
            raise _refused(path, "there is no such file")
        if not path.is_file():
            raise _refused(path, "is a directory, but must be a YAML file" if path.is_dir() else "is no plain file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _refused(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MAX_BYTES:
        raise _refused(path, f"is larger than {MAX_BYTES} bytes, which no search space needs")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not UTF-8 text: byte {error.start} cannot be read") from None


def parse_yaml(text: str, source: str, under: Keys = ()) -> Document:
    """Raises ConfigError where the text is no YAML, or is beyond the limits. Doubled keys are among the problems, which
    name keys from the top: the text stands below those of `under`."""
    try:
        _check_limits(text, source)
        with warnings.catch_warnings():
            # An anchor that is used twice is sound YAML: the later one counts.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, source)]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"this is not YAML: {_not_allowed(int(error.character))}"
        raise ConfigError([Problem(message=message, place=f"{source}:{line}:1")]) from None
    except (YAMLError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        # The parser stumbles in many ways over malformed text, such as an impossible escape.
        raise ConfigError([Problem(message="this is not YAML: it cannot be parsed", place=source)]) from None
    builder = _Builder(source, under)
    data = None if node is None else builder.build(node, (), 1)
    builder.places.setdefault((), f"{source}:1:1")
    problems, broken = tuple(builder.problems), tuple(builder.broken)
    return Document(source=source, data=data, places=builder.places, problems=problems, broken=broken)


def _not_allowed(character: int) -> str:
    if 0xDC80 <= character <= 0xDCFF:  # as Python takes it from the command line
        return f"the byte {character - 0xDC00:#04x} is no text in this terminal's encoding"
    return f"the character U+{character:04X} is not allowed"


def _refused(path: Path, reason: str) -> ConfigError:
    return ConfigError([Problem(message=reason, place=str(path))])


def _check_limits(text: str, source: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > MAX_LINE:
            message = f"a line of more than {MAX_LINE} characters, which no search space needs"
            raise ConfigError([Problem(message=message, place=f"{source}:{number}:1")])
    # Events come one by one and without recursion, so a file is refused before it has cost anything.
    depth = values = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, CollectionStartEvent):
            depth += 1
        if isinstance(event, CollectionStartEvent | ScalarEvent | AliasEvent):
            values += 1
        if isinstance(event, DocumentStartEvent) and event.version:
            raise ConfigError([_problem_at(event, source, "a %YAML directive is not supported")])
        if depth > MAX_DEPTH:
            raise ConfigError([_problem_at(event, source, f"nested deeper than {MAX_DEPTH} levels")])
        if values > MAX_VALUES:
            raise ConfigError([_problem_at(event, source, f"more than {MAX_VALUES} values")])


@dataclass
class _Builder:
    """Builds plain data from nodes. An alias counts as what it stands for, every time."""

    source: str
    under: Keys
    places: dict[Keys, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: list[Keys] = field(default_factory=list)
    values: int = 0

    def build(self, node: Node, keys: Keys, depth: int) -> Any:
        self.values += 1
        if depth > MAX_DEPTH:
            raise ConfigError([_problem_at(node, self.source, f"nested deeper than {MAX_DEPTH} levels")])
        if self.values > MAX_VALUES:
            raise ConfigError([_problem_at(node, self.source, f"aliases stand for more than {MAX_VALUES} values")])
        self.places.setdefault(keys, _place(node, self.source))
        if str(node.tag) not in _TAGS:
            self.broken.append(keys)
            self.problems.append(_problem_at(node, self.source, f"the tag {_short(node.tag)} is not supported"))
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, keys, depth)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*keys, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, keys)

    def _mapping(self, node: MappingNode, keys: Keys, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.problems.append(_problem_at(key_node, self.source, "a key must be a plain word"))
            elif (key := str(key_node.value)) in data:
                first = self.places[(*keys, key)].rsplit(":", 2)[-2]
                message = f"the key {key} is named twice: it stands in line {first} already"
                self.problems.append(_problem_at(key_node, self.source, message))
            else:
                self.places[(*keys, key)] = _place(key_node, self.source)
                data[key] = self.build(value_node, (*keys, key), depth + 1)
        return data

    def _scalar(self, node: Node, keys: Keys) -> Any:
        kind, text = str(node.tag).rsplit(":", 1)[-1], str(node.value)
        try:
            return _CONVERT.get(kind, str)(text)
        except (ValueError, KeyError):
            self.broken.append(keys)
            name = dotted((*self.under, *keys)) or "the file"
            message = f"{name} is {_short(text)}, but must be {_RULES[kind]}"
            self.problems.append(_problem_at(node, self.source, message))
            return None


def _int(text: str) -> int:
    text = text.replace("_", "")
    digits = text.lstrip("+-").lower()
    if len(digits) > MAX_DIGITS:
        raise ValueError(text)
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    return int(text, base)


def _float(text: str) -> float:
    value = float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_CONVERT = {"int": _int, "float": _float, "bool": _bool, "null": lambda _: None}
_RULES = {
    "int": f"a whole number of at most {MAX_DIGITS:,} digits",
    "float": "a finite number",
    "bool": "true or false",
}
# Dates and the signs `=` and `<<` are plain texts here.
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "timestamp", "value", "merge", *_CONVERT)}


def _place(marked: Any, source: str) -> str:
    mark = marked.start_mark
    return f"{source}:{mark.line + 1}:{mark.column + 1}"


def _problem_at(marked: Any, source: str, message: str) -> Problem:
    return Problem(message=message, place=_place(marked, source))


def _syntax_problem(error: MarkedYAMLError, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    context = f" ({error.context})" if error.context else ""
    return Problem(message=f"this is not YAML: {error.problem}{context}", place=place)


def _short(text: object) -> str:
    text = str(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
