"""One finding: tables, a sentence, and what to mind; or one line that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class Finding:
    """`tables` by name, the main one first; a number `x` has its interval in `x_lower` and `x_upper`, at `level`.

    `summary` is one sentence. `notes` are what a reader of the numbers must know. `missing` is None, or the reason why
    there is nothing; then there are no tables. `estimates` is what the estimators returned, for further work.
    """

    name: str
    title: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    summary: str = ""
    notes: tuple[str, ...] = ()
    missing: str | None = None
    level: float = 0.95
    estimates: Any = None

    @property
    def table(self) -> pd.DataFrame:
        """The main table; an empty one where the finding is missing."""
        return next(iter(self.tables.values()), pd.DataFrame())

    def __str__(self) -> str:
        lines = [self.title, *filter(None, [self.missing, self.summary])]
        lines += [_frame(table).to_string(index=False) for table in self.tables.values()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """For notebooks."""
        import html

        texts = [f"<h4>{html.escape(self.title)}</h4>"]
        texts += [f"<p>{html.escape(text)}</p>" for text in (self.missing, self.summary) if text]
        texts += [_html(table) for table in self.tables.values()]
        return "".join([*texts, *(f"<p><small>{html.escape(note)}</small></p>" for note in self.notes)])


def _html(table: pd.DataFrame) -> str:
    """No reason is cut short."""
    with pd.option_context("display.max_colwidth", None):
        return _frame(table).to_html(index=False)


def _frame(table: pd.DataFrame) -> pd.DataFrame:
    """Of texts, with intervals in brackets, as in the terminal and the report."""
    from grokray.analysis.findings.words import shown

    texts = shown(table)
    return pd.DataFrame(texts.rows, columns=pd.Index(texts.headings))


def missing(name: str, title: str, reason: str, notes: Sequence[str] = ()) -> Finding:
    return Finding(name=name, title=title, missing=reason, notes=tuple(notes))


def interval(name: str, estimate: Any) -> dict[str, float]:
    """{"share": 0.4, "share_lower": 0.3, "share_upper": 0.5}; NaN of what is None."""
    if estimate is None:
        return dict.fromkeys((name, f"{name}_lower", f"{name}_upper"), float("nan"))
    return {name: estimate.value, f"{name}_lower": estimate.lower, f"{name}_upper": estimate.upper}


def without_silence(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Without the column of remarks where nothing is remarked."""
    return table if name in table and any(table[name].tolist()) else table.drop(columns=name, errors="ignore")


def nothing_in(table: pd.DataFrame, *names: str) -> bool:
    """Whether all of these columns are of NaN."""
    return all(table[name].isna().to_numpy().all() for name in names)


def unique(notes: Sequence[str | None]) -> tuple[str, ...]:
    """Each once, in order, without what is None or empty."""
    return tuple(dict.fromkeys(note for note in notes if note))
