"""Columns made of others, as `learning_rate * weight_decay`: arithmetic of the user's own, as a whitelisted syntax tree
that is walked, never run as code.

Allowed are numbers, names of columns of numbers that are known before a trial trains, the signs + - * / and
parentheses, and ** with a number behind it. What a column is made of goes with it, in the table's schema: so a part of
the trials has it, too.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import column
from grokray.analysis.trial_columns import CAME_OF_TRIALS, HIDDEN
from grokray.errors import ConfigError, Problem
from grokray.wording import count, nearest, show

MAX_LENGTH, MAX_DEPTH, MAX_EXPONENT = 200, 24, 64
_LARGE = 1e300
_MADE_OF = b"grokray.made_of"
_NAME = re.compile(r"[A-Za-z_]\w*")
_ALLOWED = "may hold only names of columns, numbers, + - * / **, and parentheses"
_SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def made_of(trials: pa.Table) -> dict[str, str]:
    """Of each column that was made, what of."""
    return {
        field.name: field.metadata[_MADE_OF].decode()
        for field in trials.schema
        if field.metadata and _MADE_OF in field.metadata
    }


def with_made(trials: pa.Table, name: Any, text: Any) -> tuple[pa.Table, str | None]:
    """The trials with one more column, and what to mind of it. ConfigError for what is no name or no expression, and
    where it is a number for no trial."""
    try:
        tree = _parsed(name, text, trials.column_names)
        known = _known(trials)
        names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
        for one in names:
            _check_column(one, trials, known)
        if not names:
            raise ValueError("but must name a column; it is the same for all trials")
        values = {one: column(trials, one) for one in names}
        with np.errstate(all="ignore"):
            made = np.broadcast_to(np.asarray(_value(tree, values), np.float64), trials.num_rows)
        there = np.logical_and.reduce([~np.isnan(one) for one in values.values()])
        numbers = np.isfinite(made)
        if not numbers.any():
            raise ValueError("but is a number for no trial")
    except ValueError as error:
        message = f"column {name} is {text if isinstance(text, str) and text else show(text)}, {error}"
        raise ConfigError([Problem(message=message, field="column")]) from None
    field = pa.field(str(name), pa.float64(), metadata={_MADE_OF: ast.unparse(tree).encode()})
    lost = int((there & ~numbers).sum())
    note = f"{name} is no number for {count(lost, 'trial')}" if lost else None
    return trials.append_column(field, pa.array(made, pa.float64(), mask=~numbers)), note


def exponents(trials: pa.Table, name: str) -> dict[str, float] | None:
    """`{"learning_rate": 1, "weight_decay": 1}` of a column that was made as a product of powers of columns that were
    not; None of any other."""
    made = made_of(trials)
    if name not in made:
        return None
    found: dict[str, float] | None = _exponents(_tree(made[name]))
    whole: dict[str, float] = {}
    for factor, power in (found or {}).items():
        inner = exponents(trials, factor) if factor in made else {factor: 1.0}
        if inner is None:
            return None
        for one, exponent in inner.items():
            whole[one] = whole.get(one, 0.0) + power * exponent
    return None if found is None else {one: power for one, power in whole.items() if power}


def _known(trials: pa.Table) -> list[str]:
    return [
        name
        for name in trials.column_names
        if name not in CAME_OF_TRIALS and name != HIDDEN and _is_number(trials.schema.field(name).type)
    ]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _check_column(name: str, trials: pa.Table, known: list[str]) -> None:
    if name in known:
        return
    if name in CAME_OF_TRIALS:
        raise ValueError(f"but {name} is what came of trials, and parameters alone may be in it")
    if name in trials.column_names:
        raise ValueError(f"but {name} is no number")
    raise ValueError(f"but the trials have no column {name}{nearest(name, known)}")


def _parsed(name: Any, text: Any, taken: list[str]) -> ast.expr:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("but its name must be a word, of letters, digits and _")
    if name in taken:
        raise ValueError(f"but the trials have a column {name} already")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("but must be an expression, such as learning_rate*weight_decay")
    return _tree(text.strip())


@lru_cache(maxsize=256)
def _tree(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"but must have at most {MAX_LENGTH} characters; it has {len(text):,}")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("but that is no expression; one is learning_rate*weight_decay") from None
    _check(tree, 1)
    return tree


def _check(node: ast.AST, depth: int) -> None:
    """Every node is one of the whitelist, and within its limits."""
    if depth > MAX_DEPTH:
        raise ValueError(f"but must be nested at most {MAX_DEPTH} deep")
    for part in _parts(node):
        _check(part, depth + 1)


def _parts(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < _LARGE:
            pass
        case ast.Name():
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            if abs(_number(right)) > MAX_EXPONENT:
                raise ValueError(f"but an exponent must be from -{MAX_EXPONENT} to {MAX_EXPONENT}")
            yield left
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            yield from (left, right)
        case _:
            raise ValueError(f"but {_ALLOWED}; {ast.unparse(node)[:40]!r} is none of these")


def _number(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < _LARGE:
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
    raise ValueError(f"but an exponent must be a number; one is {ast.unparse(node)[:40]}")


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.Constant():
            return np.float64(_number(node))
        case ast.Name(id=name):
            return columns[name]
        case ast.UnaryOp(operand=operand):
            return -_value(operand, columns)
        case ast.BinOp(left=left, op=op, right=right):
            return _SIGNS[type(op)](_value(left, columns), _value(right, columns))
    raise AssertionError(node)


def _exponents(node: ast.expr) -> dict[str, float] | None:
    """None where it is no product of powers with a positive factor before it: it has no logarithm that is a sum."""
    match node:
        case ast.Constant():
            return {} if _number(node) > 0 else None
        case ast.Name(id=name):
            return {name: 1.0}
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, power = _exponents(left), _number(right)
            return None if base is None else {name: power * one for name, one in base.items()}
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
            first, second = _exponents(left), _exponents(right)
            if first is None or second is None:
                return None
            sign = 1 if isinstance(op, ast.Mult) else -1
            return {n: first.get(n, 0.0) + sign * second.get(n, 0.0) for n in {**first, **second}}
    return None
