"""From the columns of trials.parquet to covariates: one unit of each is something to reason about.

Weight decay and base count in doublings, dropout and training fraction in tenths. Of the rest whatever varies takes
part: a number in doublings if it is positive and spans more than a factor of ten, else by the largest power of ten
within its range; a text by indicators against its most frequent value, of equals the default one, among those in which
any trial grokked: with one in which none did nothing can be compared. Zero has no logarithm, so it is an indicator of
its own, against the geometric mean of the others; and so is a number that some trials do not have.

Columns made of others come first. Of a product of powers logarithms are sums, so with it in the model one of its
factors says nothing more and is left out; all of them count in doublings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from grokray.analysis.made_columns import exponents, made_of
from grokray.analysis.outcomes import WATCHING
from grokray.analysis.trial_columns import flags, numbers, table_of, texts
from grokray.analysis.wording import value_text
from grokray.records.schema import CONFIG_FIELDS
from grokray.trial import HASHES, SEEDS, TrialConfig

if TYPE_CHECKING:
    import pandas as pd

QUESTIONS = ("weight_decay", "dropout", "training_fraction", "base", "task_type")
DOUBLINGS, TENTHS = ("weight_decay", "base"), ("dropout", "training_fraction")
# Chance, where data lie, and how long and how closely a trial is watched: no causes of grokking.
NO_CAUSES = (*SEEDS, *HASHES, "data_dir", "measure", "num_steps", *WATCHING)
CAUSES = (*QUESTIONS, *(name for name in CONFIG_FIELDS if name not in (*QUESTIONS, *NO_CAUSES)))
GROKKED = "event_observed"
_WIDE = 10.0  # a factor
_MOST_LEVELS = 20
_SAME = 1e-7  # of a column's length, left over when the columns before it have explained it


@dataclass(frozen=True, kw_only=True)
class Design:
    """`matrix` (n, p) without a column of ones. `names` and `labels` (p) say what a column and one unit of it is.

    `indicator` (p) says which columns are 0 or 1. `stand_in` (n, p) says where a value only stands for none, as the
    base of a trial without digits: an indicator beside the column has what sets these trials apart. `left_out` says of
    other columns why they are not there.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    indicator: tuple[bool, ...]
    matrix: np.ndarray
    stand_in: np.ndarray
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, **columns: np.ndarray) -> Design:
        """Of columns by name, as they are."""
        arrays = [np.asarray(values, np.float64) for values in columns.values()]
        return cls(
            names=tuple(columns),
            labels=tuple(columns),
            indicator=tuple(bool(np.isin(values, (0, 1)).all()) for values in arrays),
            matrix=(matrix := np.stack(arrays, axis=1)),
            stand_in=np.zeros(matrix.shape, bool),
        )

    def select(self, rows: np.ndarray) -> Design:
        return Design(**{**self.__dict__, "matrix": self.matrix[rows], "stand_in": self.stand_in[rows]})

    def keep(self, columns: list[int], left_out: Mapping[str, str]) -> Design:
        """With these columns only; `left_out` adds to what is said of the others."""
        return Design(
            names=tuple(self.names[column] for column in columns),
            labels=tuple(self.labels[column] for column in columns),
            indicator=tuple(self.indicator[column] for column in columns),
            matrix=self.matrix[:, columns],
            stand_in=self.stand_in[:, columns],
            left_out={**self.left_out, **left_out},
        )

    def independent(self) -> Design:
        """Without columns that are constant where they say something, or follow from those before them."""
        rows = len(self.matrix)
        kept, left_out = [], {}
        basis = np.ones((rows, 1)) / np.sqrt(max(rows, 1))
        for number, name in enumerate(self.names):
            column = self.matrix[:, number]
            length = float(np.linalg.norm(column))
            centred = column - column.mean() if rows else column
            said = column[~self.stand_in[:, number]]
            spread = said - said.mean() if len(said) else said
            # Where the trials that have a base have the same one, its column tells them from those without: in the name
            # of a doubling of base it would tell what sequences do.
            if np.linalg.norm(spread) <= _SAME * max(length, 1e-300):
                left_out[name] = f"it does not vary{self._among(number)}"
                continue
            rest = centred
            for _ in range(2):  # once more, for what rounding left
                rest = rest - basis @ (basis.T @ rest)
            if np.linalg.norm(rest) <= _SAME * np.linalg.norm(centred):
                left_out[name] = f"it says no more than {', '.join(self._behind(centred, kept))}"
                continue
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
            kept.append(number)
        return self.keep(kept, left_out)

    def _among(self, column: int) -> str:
        """Of which trials a column is said, where that is not all of them."""
        if not self.stand_in[:, column].any():
            return ""
        return " above 0" if f"{self.names[column]} = 0" in self.names else " where there is one"

    def _behind(self, centred: np.ndarray, kept: Sequence[int]) -> list[str]:
        """Which of the columns `kept` this one, less its mean, is made of."""
        others = self.matrix[:, kept] - self.matrix[:, kept].mean(axis=0)
        parts = np.linalg.lstsq(others, centred, rcond=None)[0] * np.linalg.norm(others, axis=0)
        needed = np.abs(parts) > _SAME * np.linalg.norm(centred)
        return [self.names[column] for column, is_needed in zip(kept, needed, strict=True) if is_needed]


@dataclass(frozen=True, kw_only=True)
class _Column:
    name: str
    label: str
    values: np.ndarray
    indicator: bool = False
    stand_in: np.ndarray | None = None


def design_of(trials: pa.Table | pd.DataFrame) -> Design:
    """Of all parameters that vary among the trials, those that sweeps are about first. No column if nothing does.

    Weight decay 0, 0.5, 1, 2 becomes two columns: `weight_decay`, its binary logarithm, in which 0 stands at the mean,
    and `weight_decay = 0`, 1 for that trial alone.
    """
    table = table_of(trials)
    columns: list[_Column] = []
    absences: list[_Column] = []
    left_out: dict[str, str] = {}
    grokked = flags(table, GROKKED) if GROKKED in table.column_names else np.zeros(table.num_rows, bool)
    products = {name: factors for name in made_of(table) if (factors := exponents(table, name)) is not None}
    in_doublings = {*DOUBLINGS, *products, *(factor for factors in products.values() for factor in factors)}
    left_out |= _said_by_products(table, products)
    for name in (*made_of(table), *CAUSES):
        if name not in table.column_names or name in left_out:
            continue
        kind = table.schema.field(name).type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            columns += _numeric(name, numbers(table, name), in_doublings=name in in_doublings)
            absences += _absent(name, numbers(table, name))
            continue
        labels = np.array([_text(value) for value in texts(table, name)], dtype=object)
        levels = len(set(labels.tolist()))
        if levels > _MOST_LEVELS:
            left_out[name] = f"it has {levels} values, but must have at most {_MOST_LEVELS}"
        else:
            columns += _levels(name, labels, grokked)
    # Which trials have no base also follows from their task type, which is the better name for it.
    columns += absences
    return Design(
        names=tuple(column.name for column in columns),
        labels=tuple(column.label for column in columns),
        indicator=tuple(column.indicator for column in columns),
        matrix=np.stack([c.values for c in columns], axis=1) if columns else np.zeros((table.num_rows, 0)),
        stand_in=_stand_ins(columns, table.num_rows),
        left_out=left_out,
    ).independent()


def _stand_ins(columns: list[_Column], rows: int) -> np.ndarray:
    """(n, p) bool"""
    nowhere = np.zeros(rows, bool)
    masks = [nowhere if column.stand_in is None else column.stand_in for column in columns]
    return np.stack(masks, axis=1) if masks else np.zeros((rows, 0), bool)


def _said_by_products(table: pa.Table, products: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Which factors are left out, as products say as much: of each product the one that sweeps are least about; and
    why. A product that follows from those before it takes no factor's place."""
    factors = [one for one in CAUSES if any(one in found for found in products.values())]
    factors = [one for one in factors if len(table[one].unique()) > 1]
    left_out: dict[str, str] = {}  # factor → product
    for name, found in products.items():
        varying = {one for one in found if len(table[one].unique()) > 1}
        if not varying <= {*factors}:  # what else varies is not in the model, so all of them say something
            continue
        for last in reversed([one for one in factors if one in varying and one not in left_out]):
            kept = [one for one in factors if one not in left_out and one != last]
            rows = [products[one] for one in (*left_out.values(), name)] + [{one: 1.0} for one in kept]
            powers = np.array([[row.get(one, 0.0) for one in factors] for row in rows])
            if np.linalg.matrix_rank(powers) == len(factors):
                left_out[last] = name
                break
    stay = [one for one in factors if one not in left_out]
    return {factor: _why_left_out(table, name, products, left_out, stay) for factor, name in left_out.items()}


def _why_left_out(
    table: pa.Table,
    name: str,
    products: Mapping[str, Mapping[str, float]],
    left_out: Mapping[str, str],
    stay: Sequence[str],
) -> str:
    others = [one for one in stay if one in products[name]]
    all_of = " and ".join([*left_out.values(), *others])
    fixed = f"; the ratio of {' and '.join(others)} is one at the same {name}" if others else ""
    return f"{name} is {made_of(table)[name]}, so it says no more than {all_of}{fixed}"


def _numeric(name: str, values: np.ndarray, *, in_doublings: bool) -> Iterator[_Column]:
    known = values[~np.isnan(values)]
    if not len(known) or known.min() == known.max():
        return
    positive = known[known > 0]
    wide = known.min() >= 0 and len(positive) and positive.max() > _WIDE * positive.min()
    if (in_doublings and known.min() >= 0 and len(positive)) or (wide and name not in TENTHS):
        yield from _doublings(name, values, positive)
        return
    unit = 0.1 if name in TENTHS else 10.0 ** np.floor(np.log10(known.max() - known.min()) + 1e-9)
    absent = np.isnan(values)
    filled = np.where(absent, known.mean(), values)
    yield _Column(name=name, label=f"{name} + {unit:g}", values=filled / unit, stand_in=absent)


def _doublings(name: str, values: np.ndarray, positive: np.ndarray) -> Iterator[_Column]:
    middle = float(np.mean(np.log2(positive)))
    has_logarithm = np.nan_to_num(values) > 0
    logarithms = np.where(has_logarithm, np.log2(np.where(has_logarithm, values, 1.0)), middle)
    yield _Column(name=name, label=f"a doubling of {name}", values=logarithms, stand_in=~has_logarithm)
    if (values == 0).any():
        label = f"{name} 0 instead of {2**middle:.3g}"
        yield _Column(name=f"{name} = 0", label=label, values=(values == 0).astype(np.float64), indicator=True)


def _absent(name: str, values: np.ndarray) -> Iterator[_Column]:
    absent = np.isnan(values)
    if absent.any() and not absent.all():
        yield _Column(name=f"no {name}", label=f"no {name}", values=absent.astype(np.float64), indicator=True)


def _levels(name: str, labels: np.ndarray, grokked: np.ndarray) -> Iterator[_Column]:
    levels, counts = np.unique(labels.astype(str), return_counts=True)
    default = _text(TrialConfig.model_fields[name].default)

    def usual_first(number: int) -> tuple[bool, int, bool]:
        level = str(levels[number])
        return not grokked[labels == level].any(), -int(counts[number]), level != default

    usual = str(levels[min(range(len(levels)), key=usual_first)]) if len(levels) else None
    for level in levels.tolist():
        if level != usual:
            here = (labels == level).astype(np.float64)
            yield _Column(
                name=f"{name} = {level}", label=f"{name} {level} instead of {usual}", values=here, indicator=True
            )


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else value_text(value)
