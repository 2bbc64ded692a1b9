"""Rows of a user's own, from a file: read, checked, and every fault named by its place.

A CSV, TSV or Parquet file with a row for each example and these columns, in any order; others are passed over:

    input   what is read, tokens with spaces between them: `3 ∘ 4`
    answer  what is asked for, likewise: `7`
    part    `in_domain`, or nothing, or `out_of_domain`; may be left out
    group   rows with the same text here stay on one side of the split, and one with nothing is its own; may be left out

In Parquet an input or an answer may be a list of tokens, as in the files of `grokray data`; null and NaN are nothing.
An equals sign that ends every input, and an `<EOS>` that ends every answer, are left out: rows have them anyway.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from grokray.tasks.malformed import Malformed
from grokray.wording import listed, nearest, show

EQUALS, END, PADDING = "=", "<EOS>", "<PAD>"
MARKS = (END, PADDING)
NEEDED, OPTIONAL = ("input", "answer"), ("part", "group")
IN_DOMAIN, OUT_OF_DOMAIN = "in_domain", "out_of_domain"
MOST_ROWS = 1_000_000
LONGEST_ROW = 4_096  # tokens; attention takes their square

Tokens = tuple[str, ...]
# Where a row stands, and what its columns hold.
Record = tuple[str, dict[str, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class FileRows:
    """`inputs` and `answers` in the order of the file, those out of domain after the others, which are the first
    `in_domain`. `groups` of those in domain, by number; None where each row is its own."""

    inputs: tuple[Tokens, ...]
    answers: tuple[Tokens, ...]
    in_domain: int
    groups: tuple[int, ...] | None
    hash: str

    # The door asks for these of every trial, so each is gone through once.

    @cached_property
    def answer_lengths(self) -> frozenset[int]:
        return frozenset(len(answer) for answer in self.answers)

    @cached_property
    def num_tokens(self) -> int:
        """How many different ones there are, the equals sign among them."""
        return len({token for row in (*self.inputs, *self.answers) for token in row} | {EQUALS})

    @cached_property
    def units(self) -> tuple[int, str]:
        """How many there are to split, and what they are."""
        if self.groups is None:
            return self.in_domain, f"{self.in_domain:,} rows"
        number = len(set(self.groups))
        return number, f"{number:,} groups of rows"


def rows_of(path: str) -> FileRows:
    """Raises Malformed, a line for each fault, as it reads on from "data_file is x.csv, but "."""
    try:
        state = Path(path).stat()
        if not Path(path).is_file():
            raise Malformed(["is no file"])
        return _rows(path, state.st_size, state.st_mtime_ns)
    except FileNotFoundError:
        raise Malformed(["there is no such file"]) from None
    except OSError as error:
        raise Malformed([f"cannot be read: {error.strerror or error}"]) from None


def reaches_beyond(path: str | None) -> bool:
    """Whether a file, if there is one, has rows out of domain."""
    rows = rows_of(path) if path else None
    return rows is not None and rows.in_domain < len(rows.inputs)


@lru_cache(maxsize=8)
def _rows(path: str, size: int, changed: int) -> FileRows:
    """Again only where the file is another one by now."""
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise Malformed([f"must be a file whose name ends in {', '.join(READERS)}"])
    return _checked(list(reader(Path(path))))


def _csv(path: Path, delimiter: str = ",") -> Iterator[Record]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            _check_columns(reader.fieldnames or ())
            for row in reader:
                if None in row:
                    raise Malformed([f"line {reader.line_num}: has more cells than there are columns"])
                yield f"line {reader.line_num}", row
    except UnicodeDecodeError:
        raise Malformed(["is no text in UTF-8"]) from None
    except csv.Error as error:
        raise Malformed([f"line {reader.reader.line_num}: {error}"]) from None


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(names)
            there = [name for name in (*NEEDED, *OPTIONAL) if name in names]
            _check_types({name: file.schema_arrow.field(name).type for name in there})
            table = file.read(there)
    except pa.ArrowException as error:
        raise Malformed([f"is no Parquet file: {str(error).splitlines()[0]}"]) from None
    columns = table.to_pydict()
    for at, values in enumerate(zip(*columns.values(), strict=True)):
        yield f"row {at + 1}", dict(zip(columns, values, strict=True))


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": _csv,
    ".tsv": lambda path: _csv(path, "\t"),
    ".parquet": _parquet,
}


def _check_columns(names: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        there = f"there are {listed(list(names))}" if names else "there are none"
        raise Malformed([f"has no column {name}; {there}{nearest(name, names)}" for name in missing])
    if twice := [name for name in (*NEEDED, *OPTIONAL) if list(names).count(name) > 1]:
        raise Malformed([f"has two columns {twice[0]}"])


def _check_types(types: Mapping[str, Any]) -> None:
    """Of Parquet's columns. What others hold would be spelled as Python has it, `b'7'`, and taken for tokens."""
    import pyarrow.types as of

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if of.is_dictionary(kind) else kind
        return not (
            of.is_nested(kind) or of.is_binary(kind) or of.is_large_binary(kind) or of.is_fixed_size_binary(kind)
        )

    for name, kind in types.items():
        is_list = of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind)
        if not is_text(kind.value_type if is_list and name in NEEDED else kind):
            lists = ", or lists of these" if name in NEEDED else ""
            raise Malformed([f"column {name} holds {kind}, but must hold text or numbers{lists}"])


def _checked(records: Sequence[Record]) -> FileRows:
    if not records:
        raise Malformed(["has no rows"])
    if len(records) > MOST_ROWS:
        raise Malformed([f"has {len(records):,} rows, and may have at most {MOST_ROWS:,}"])
    inputs = _without_last(EQUALS, [_tokens(row["input"]) for _, row in records])
    answers = _without_last(END, [_tokens(row["answer"]) for _, row in records])
    places = [place for place, _ in records]
    parts = [_text(row.get("part")) or IN_DOMAIN for _, row in records]
    if faults := [*_faults(places, inputs, answers, parts)]:
        raise Malformed(faults)
    inside = [at for at, part in enumerate(parts) if part == IN_DOMAIN]
    order = [*inside, *(at for at, part in enumerate(parts) if part != IN_DOMAIN)]
    rows = {
        "inputs": tuple(inputs[at] for at in order),
        "answers": tuple(answers[at] for at in order),
        "in_domain": len(inside),
        "groups": _numbered([_text(records[at][1].get("group")) for at in inside]),
    }
    text = json.dumps(list(rows.values()), separators=(",", ":"))
    return FileRows(**rows, hash=hashlib.sha256(text.encode()).hexdigest()[:16])


def _numbered(names: Sequence[str]) -> tuple[int, ...] | None:
    """The groups by number; None where each row is its own."""
    if not any(names):
        return None
    keys = [name or at for at, name in enumerate(names)]
    number = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    return tuple(number[key] for key in keys)


def _tokens(cell: Any) -> Tokens:
    if isinstance(cell, list | tuple):
        return tuple(_text(token) for token in cell)
    return tuple(_text(cell).split())


def _text(cell: Any) -> str:
    """Nothing of null and NaN."""
    return "" if cell is None or cell != cell else str(cell)


def _without_last(mark: str, rows: list[Tokens]) -> list[Tokens]:
    """Without the mark, where it ends every one of them."""
    return [row[:-1] for row in rows] if all(row[-1:] == (mark,) for row in rows) else rows


def _faults(
    places: Sequence[str], inputs: Sequence[Tokens], answers: Sequence[Tokens], parts: Sequence[str]
) -> Iterator[str]:
    first: dict[Tokens, int] = {}
    for at, (place, asked, answer, part) in enumerate(zip(places, inputs, answers, parts, strict=True)):
        for name, tokens in (("input", asked), ("answer", answer)):
            if not tokens:
                yield f"{place}: {name} is empty"
            elif "" in tokens:
                yield f"{place}: {name} holds an empty token"
            if mark := next((mark for mark in MARKS if mark in tokens), None):
                yield f"{place}: {name} holds {mark}, which has a meaning of its own"
        if part not in (IN_DOMAIN, OUT_OF_DOMAIN):
            yield f"{place}: part is {show(part)}, but must be {IN_DOMAIN} or {OUT_OF_DOMAIN}, or nothing"
        if len(asked) + len(answer) > LONGEST_ROW:
            yield f"{place}: has {len(asked) + len(answer):,} tokens, and may have at most {LONGEST_ROW:,}"
        if (known := first.setdefault(asked, at)) != at:
            same = "once more" if answers[known] == answer else "with another answer"
            yield f"{place}: asks what {places[known]} asks, {same}"
