"""Conditions that choose a part of the trials, as texts: `weight_decay>=0.1`, `operation=x+y_mod`.

A condition is a column, an operator and a value. It means what the same comparison of a pandas column means: a trial
that has no value there fulfils `!=` alone. Nothing is evaluated as code.

What came of trials is no column to choose by: of those that grokked, all grokked.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.analysis.findings.groups import main_parameters
from grokray.analysis.outcomes import column, missing_in
from grokray.analysis.trial_columns import CAME_OF_TRIALS, HIDDEN
from grokray.analysis.wording import value_text
from grokray.errors import ConfigError, Problem
from grokray.wording import listed, nearest, show

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITIES = ("=", "!=")
_MEANT = {"==": "=", "=<": "<=", "=>": ">=", "<>": "!="}  # how others write them
_FORM = re.compile(r"\s*(\w+)\s*([<>=!~:]+)\s*(.*?)\s*", re.DOTALL)
_MOST = 6  # values that are named
NOTHING = "none"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """`weight_decay`, `>=`, `0.1`."""

    column: str
    sign: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{self.value}"

    def holds(self, trials: pa.Table) -> np.ndarray:
        """(n,) bool. ValueError with what is wrong with it, as the second half of a sentence."""
        known = [name for name in trials.column_names if name not in CAME_OF_TRIALS and name != HIDDEN]
        if self.column in CAME_OF_TRIALS:
            raise ValueError(
                f"{self.column} is what came of trials, and those that are chosen by it are no fair sample of "
                "anything; choose by parameters, seeds or sweeps"
            )
        if self.column not in known:
            vary = ", ".join(main_parameters(trials))
            offer = f"; the parameters that vary are {vary}" if vary else ""
            raise ValueError(f"the trials have no column {self.column}{nearest(self.column, known) or offer}")
        values, kind = column(trials, self.column), trials.schema.field(self.column).type
        if self.value == NOTHING and NOTHING not in values.tolist():
            return self._is_missing(values)
        if pa.types.is_boolean(kind):
            return self._compared(values, self._truth())
        if values.dtype == object:
            return self._compared(values, self._text(values))
        return self._compared(values, self._number())

    def _compared(self, values: np.ndarray, value: Any) -> np.ndarray:
        return np.asarray(OPERATORS[self.sign](values, value), bool)

    def _is_missing(self, values: np.ndarray) -> np.ndarray:
        self._only_equalities("a value that is none")
        return missing_in(values) == (self.sign == "=")

    def _truth(self) -> float:
        self._only_equalities("true and false")
        if self.value not in ("true", "false"):
            raise ValueError(f"{self.column} is true or false, and not {show(self.value)}")
        return float(self.value == "true")

    def _text(self, values: np.ndarray) -> str:
        self._only_equalities("texts")
        known = sorted({value for value in values.tolist() if isinstance(value, str)})
        value = {value_text(one): one for one in known}.get(self.value, self.value)  # as tables write it
        if value not in known:
            offer = f"; there {'is' if len(known) == 1 else 'are'} {listed(list(map(value_text, known)), _MOST)}"
            raise ValueError(f"no trial has {self.column} {self.value}{nearest(value, known) or offer}")
        return value

    def _number(self) -> float:
        try:
            number = float(self.value)
        except ValueError:
            number = float("nan")
        if np.isnan(number):
            raise ValueError(f"{self.column} is a number, and {show(self.value)} is none")
        return number

    def _only_equalities(self, of: str) -> None:
        if self.sign not in _EQUALITIES:
            raise ValueError(f"{self.sign} has no meaning for {of}; {' and '.join(_EQUALITIES)} have one")


def condition(text: str) -> Condition:
    """ValueError as of `Condition.holds`."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(
            f"that is no condition; one is a column, one of {', '.join(OPERATORS)}, and a value, such as "
            "'weight_decay>=0.1' (in quotes, as < and > mean something else to a shell)"
        )
    name, sign, value = form.groups()
    sign = _MEANT.get(sign, sign)
    if sign not in OPERATORS:
        raise ValueError(f"{sign} is no operator; there are {', '.join(OPERATORS)}")
    if not value:
        raise ValueError('there is no value behind the operator; an empty text is ""')
    return Condition(column=name, sign=sign, value=value)


def chosen_by(trials: pa.Table, texts: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n,) bool: the trials that fulfil all conditions, and these in their one spelling. ConfigError with all that is
    wrong with any, and where no trial fulfils them."""
    held, problems, spelled = np.ones(trials.num_rows, bool), [], []
    for text in texts:
        try:
            one = condition(text)
            here = one.holds(trials)
            if not here.any():
                raise ValueError(f"none of {trials.num_rows:,} trials fulfils it; {_values(trials, one.column)}")
        except ValueError as error:
            problems.append(Problem(message=f"where {text}: {error}", field="where"))
            continue
        held &= here
        spelled.append(str(one))
    if not problems and not held.any():
        message = f"where {' and '.join(spelled)}: none of {trials.num_rows:,} trials fulfils all of them"
        problems.append(Problem(message=message, field="where"))
    if problems:
        raise ConfigError(problems)
    return held, tuple(dict.fromkeys(spelled))


def _values(trials: pa.Table, name: str) -> str:
    """`base is 2, 10 or none`, `dropout is from 0 to 0.4`: what there is."""
    values = column(trials, name)
    missing = missing_in(values)
    known = sorted(set(values[~missing].tolist()))
    boolean = pa.types.is_boolean(trials.schema.field(name).type)
    if len(known) > _MOST and not isinstance(known[0], str):
        texts = [f"from {value_text(known[0])} to {value_text(known[-1])}"]
    else:
        texts = [value_text(bool(value) if boolean else value) for value in known[:_MOST]]
    texts += [NOTHING] if missing.any() else []
    return f"{name} is {' or '.join(filter(None, [', '.join(texts[:-1]), texts[-1]]))}"
