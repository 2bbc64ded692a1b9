"""Tables of rows from a file: `3 ∘ 4 =` asks for `7`, or in a sequence for `1 2 <EOS>`.

Tokens are numbered by what they say, whole numbers first and by their size, so that neither the order of the rows nor
what is out of domain decides them. Rows out of domain that hold a token, or are longer, than any that is in domain are
left out: nothing ever trained that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from grokray.errors import ConfigError, Problem
from grokray.tasks.codes import Vocabulary
from grokray.tasks.file_rows import END, EQUALS, PADDING, FileRows, rows_of
from grokray.tasks.malformed import Malformed
from grokray.tasks.tables import Table, one_task
from grokray.trial import TrialConfig

WHERE = "it is looked for where it lay when the trial began, and in inputs/ of the sweep's folder; a link there will do"


def key(config: TrialConfig) -> tuple[object, ...]:
    """The same for the same rows, wherever they lie."""
    return config.data_file_hash, config.task_type, config.fixed_sequence_length


def build(config: TrialConfig) -> Table:
    """Raises ConfigError where the file is no longer what the trial was made for."""
    rows = _same_rows(config)
    ended = config.task_type == "sequence" and not config.fixed_sequence_length
    kept = [*range(rows.in_domain), *_known(rows)]
    inputs, answers = [rows.inputs[at] for at in kept], [rows.answers[at] for at in kept]
    alike = len({len(row) for row in inputs}) == 1 == len({len(row) for row in answers})
    words = vocabulary(rows, ended=ended, padded=not alike)
    ids = {word: i for i, word in enumerate(words.symbols)}
    asked = [[*(ids[token] for token in row), words.equals] for row in inputs]
    given = [[ids[token] for token in row] + ([ids[END]] if ended else []) for row in answers]
    length = max(len(a) + len(b) - 1 for a, b in zip(asked, given, strict=True))
    width = max(map(len, given))
    read = [_filled([*a, *b[:-1]], length, words.pad or 0) for a, b in zip(asked, given, strict=True)]
    # Where there is nothing to score, the row's last token is as good as any.
    starts, ends = (torch.tensor([len(one) - 1 for one in many])[:, None] for many in (asked, given))
    return Table(
        tokens=torch.tensor(read, dtype=torch.int32),
        positions=starts + torch.arange(width).minimum(ends),
        targets=torch.tensor([_filled(one, width, -1) for one in given]),
        in_domain=rows.in_domain,
        uniform=alike,
        vocabulary=words,
        task_names=("file",),
        task=one_task(len(kept)),
        groups=None if rows.groups is None else torch.tensor([*rows.groups, *[-1] * (len(kept) - rows.in_domain)]),
    )


def vocabulary(rows: FileRows, *, ended: bool, padded: bool) -> Vocabulary:
    """The tokens of the rows in domain, and the marks that they need. No operator stands in front of a row."""
    said = {token for row in (*rows.inputs[: rows.in_domain], *rows.answers[: rows.in_domain]) for token in row}
    tokens = sorted(said - {EQUALS}, key=_by_size)
    marks = [EQUALS, *([END] if ended else []), *([PADDING] if padded else [])]
    place = {mark: len(tokens) + at for at, mark in enumerate(marks)}
    return Vocabulary(
        symbols=(*tokens, *marks),
        numerals=0,
        op=place[EQUALS],
        equals=place[EQUALS],
        eos=place.get(END),
        pad=place.get(PADDING),
    )


def _same_rows(config: TrialConfig) -> FileRows:
    path = config.data_file or ""
    try:
        rows = rows_of(path)
    except Malformed as error:
        message = f"the trial's data_file {path}: {str(error).splitlines()[0]}"
        raise ConfigError([Problem(field="data_file", message=message)], hint=WHERE) from None
    if rows.hash != config.data_file_hash:
        rule = f"their hash is {rows.hash}, not {config.data_file_hash}"
        message = f"{path} no longer holds the rows of the trial: {rule}"
        raise ConfigError([Problem(field="data_file_hash", message=message)], hint=WHERE)
    return rows


def _known(rows: FileRows) -> Iterator[int]:
    """Those out of domain that can be asked and answered."""
    inside = range(rows.in_domain)
    read = {token for at in inside for token in (*rows.inputs[at], *rows.answers[at])}
    written = {token for at in inside for token in rows.answers[at]}
    longest = max(len(rows.inputs[at]) + len(rows.answers[at]) for at in inside)
    for at in range(rows.in_domain, len(rows.inputs)):
        asked, answer = rows.inputs[at], rows.answers[at]
        if len(asked) + len(answer) <= longest and read.issuperset(asked) and written.issuperset(answer):
            yield at


def _by_size(token: str) -> tuple[bool, int, str]:
    number = int(token) if _is_number(token) else None
    return number is None, number or 0, token


def _is_number(token: str) -> bool:
    return len(token) < 19 and token.removeprefix("-").isascii() and token.removeprefix("-").isdecimal()


def _filled(row: Sequence[int], length: int, padding: int) -> list[int]:
    return [*row, *[padding] * (length - len(row))]
