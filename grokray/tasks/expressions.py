"""Arithmetic of the user's own, as a whitelisted syntax tree that is walked, never run as code.

`(x**2 + 3*x*y) % p` at x 2, y 5, p 7 is 34 mod 7 = 6. Allowed are whole numbers, the names x, y and p, the signs
+ - * // % ** and parentheses, and the calls abs(…), min(…, …), max(…, …). Division rounds down, and a remainder has the
sign of its divisor, as in Python. An expression that ends in `% p` is modular; only such a one may name p.

All numbers are int64 and exact. A modular expression is computed modulo p on its way, wherever that changes no answer;
elsewhere the bounds of every part are known before anything is computed, and must stay below 2⁶².
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from grokray.tasks.arithmetic import power

MAX_LENGTH = 200  # characters but spaces: the one spelling has spaces of its own, and must not be too long in turn
MAX_DEPTH = 24  # of the tree
MAX_EXPONENT = 64
MAX_CONSTANT = 1_000_000
MAX_SIZE = 2**62  # sums and differences of two such numbers still fit int64

_LOOKS_RIGHT = re.compile(r"(?:[0-9]+|\b(?:x|y|p|abs|min|max)\b|[-+*/%(), ])*")
_CALLS = {"abs": 1, "min": 2, "max": 2}
# How tightly each binds; written with spaces around, but for the tightest.
_SIGNS: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: (" + ", 1),
    ast.Sub: (" - ", 1),
    ast.Mult: ("*", 2),
    ast.FloorDiv: (" // ", 2),
    ast.Mod: (" % ", 2),
    ast.Pow: ("**", 4),
}
_UNARY = 3
# What is the same modulo p, whether its operands are exact or known modulo p alone.
_RING: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
Range = tuple[int, int]


class ExpressionError(ValueError):
    """What is wrong with an expression, as the second half of a sentence: "but must …"."""


@dataclass(frozen=True, eq=False)
class Expression:
    """`text` is its one spelling; `body` the tree, without the `% p` that ends a modular one."""

    text: str
    body: ast.expr
    modular: bool

    def value(self, x: Any, y: Any, p: int | None) -> Any:
        """z of tensors or arrays x and y int64 of one shape, or of two numbers; p is None in a plain expression."""
        return _value(self.body, {"x": x, "y": y, "p": p}, p if self.modular else None) + x * 0 + y * 0

    def check(self, limit: int, p: int | None) -> Range:
        """The least and the greatest answer for operands in [0, limit), or ExpressionError if there is none for some.

        Looks at every pair, so `limit` must be such that there may be a table of them.
        """
        return _checked(self.text, limit, p)


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """`x**2+( y )` → the expression spelled `x**2 + y`. Raises ExpressionError for whatever is not whitelisted."""
    text = " ".join(text.split())
    if (length := len(text.replace(" ", ""))) > MAX_LENGTH:
        raise ExpressionError(f"but must have at most {MAX_LENGTH} characters besides spaces; it has {length:,}")
    if not text:
        raise ExpressionError("but must have an expression after the colon, such as expr:(x**2 + 3*x*y) % p")
    if rest := _LOOKS_RIGHT.sub("", text, count=1):
        raise ExpressionError(f"but {_ALLOWED}; {rest[:12]!r} is none of these")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ExpressionError("but that is no expression; one is (x**2 + 3*x*y) % p") from None
    _check_tree(tree, 1)
    modular = isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mod) and _is_p(tree.right)
    body = tree.left if modular and isinstance(tree, ast.BinOp) else tree
    if not modular and any(_is_p(node) for node in ast.walk(body)):
        raise ExpressionError("but one that names p must end in % p, as in (x + y) % p")
    return Expression(_spelled(tree, 0), body, modular)


_ALLOWED = "may hold only whole numbers, x, y, p, + - * // % **, parentheses, abs, min and max"


def _check_tree(node: ast.AST, depth: int) -> None:
    """Every node is one of the whitelist, and within its limits."""
    if depth > MAX_DEPTH:
        raise ExpressionError(f"but must be nested at most {MAX_DEPTH} deep")
    match node:
        case ast.Constant(value=value) if type(value) is int:
            if value > MAX_CONSTANT:
                raise ExpressionError(f"but its numbers must be at most {MAX_CONSTANT:,}; one is {value}")
            parts = []
        case ast.Name(id="x" | "y" | "p"):
            parts = []
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            _check_exponent(right)
            parts = [left]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            parts = [left, right]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if _CALLS.get(name) == len(args):
            parts = args
        case _:
            raise ExpressionError(f"but {_ALLOWED}; {ast.unparse(node)[:40]!r} is none of these")
    for part in parts:
        _check_tree(part, depth + 1)


def _check_exponent(node: ast.expr) -> None:
    exponent = node.value if isinstance(node, ast.Constant) else None
    if type(exponent) is not int or exponent > MAX_EXPONENT:
        shown = ast.unparse(node)
        raise ExpressionError(f"but an exponent must be a number, at most {MAX_EXPONENT}; one is {shown}")


def _is_p(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "p"


def _spelled(node: ast.expr, binding: int) -> str:
    """With those parentheses alone that are needed where the surroundings bind as tightly as `binding`."""
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id=name), args=args):
            return f"{name}({', '.join(_spelled(a, 0) for a in args)})"
        case ast.UnaryOp(operand=operand):
            own, text = _UNARY, f"-{_spelled(operand, _UNARY)}"
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            own, text = 4, f"{_spelled(left, 5)}**{_spelled(right, 5)}"
        case ast.BinOp(left=left, op=op, right=right):
            sign, own = _SIGNS[type(op)]
            text = f"{_spelled(left, own)}{sign}{_spelled(right, own + 1)}"
        case _:
            raise AssertionError(node)
    return f"({text})" if own < binding else text


def _value(
    node: ast.expr, names: Mapping[str, Any], p: int | None, divisor: Callable[[Any], None] | None = None
) -> Any:
    """Exact where p is None, else modulo p. What is divided, compared or made positive must be exact."""

    def ring(part: ast.expr) -> Any:
        return _value(part, names, p, divisor)

    def exact(part: ast.expr) -> Any:
        return _value(part, names, None, divisor)

    match node:
        case ast.Constant(value=int(value)):
            out = value
        case ast.Name(id=name):
            out = names[name]
        case ast.UnaryOp(operand=operand):
            out = -ring(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(exponent))):
            out = ring(left) ** exponent if p is None else power(ring(left), exponent, p)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _RING:
            out = _RING[type(op)](ring(left), ring(right))
        case ast.BinOp(left=left, op=op, right=right):
            above, below = exact(left), exact(right)
            if divisor:
                divisor(below)
            out = above // below if isinstance(op, ast.FloorDiv) else above % below
        case ast.Call(func=ast.Name(id=name), args=args):
            out = _called(name, *map(exact, args))
        case _:
            raise AssertionError(node)
    return out if p is None else out % p


def _called(name: str, a: Any, b: Any = None) -> Any:
    """|a|, or the lesser or the greater of two, in arithmetic alone, which numbers, arrays and tensors share."""
    return abs(a) if name == "abs" else a + (b - a) * ((b > a) if name == "max" else (b < a))


@lru_cache(maxsize=1024)
def _checked(text: str, limit: int, p: int | None) -> Range:
    import numpy as np

    expression = parse(text)
    _check_sizes(expression.body, {"x": (0, limit - 1), "y": (0, limit - 1), "p": (p or 0, p or 0)}, expression.modular)

    def refuse_zero(divisor: Any) -> None:
        if not np.all(divisor):
            x, y = np.argwhere(np.broadcast_to(divisor, (limit, limit)) == 0)[0].tolist()
            raise ExpressionError(f"but must divide by no zero; it does at x = {x}, y = {y}")

    if expression.modular and not any(isinstance(node, ast.FloorDiv | ast.Mod) for node in ast.walk(expression.body)):
        return 0, (p or 1) - 1
    operand = np.arange(limit, dtype=np.int64)
    names = {"x": operand[:, None], "y": operand[None, :], "p": p}
    z = _value(expression.body, names, p if expression.modular else None, refuse_zero)
    return (0, (p or 1) - 1) if expression.modular else (int(np.min(z)), int(np.max(z)))


def _check_sizes(node: ast.expr, names: Mapping[str, Range], ring: bool) -> None:
    """Whatever is computed exactly stays below MAX_SIZE; `ring` says that this node is computed modulo p."""
    if not ring:
        _bounds(node, names)
        return
    match node:
        case ast.BinOp(op=ast.FloorDiv() | ast.Mod()) | ast.Call():
            _bounds(node, names)
        case ast.BinOp(left=left, right=right):
            _check_sizes(left, names, ring)
            _check_sizes(right, names, ring)
        case ast.UnaryOp(operand=part):
            _check_sizes(part, names, ring)


def _bounds(node: ast.expr, names: Mapping[str, Range]) -> Range:
    """An interval that holds every value of the node, and perhaps more."""
    parts = [_bounds(part, names) for part in _parts(node)]
    ends: list[int]
    match node:
        case ast.Constant(value=int(value)):
            ends = [value]
        case ast.Name(id=name):
            ends = list(names[name])
        case ast.UnaryOp():
            ends = [-end for end in parts[0]]
        case ast.BinOp(op=ast.Pow()):
            exponent = parts[1][0]
            ends = [end**exponent for end in parts[0]]
            if exponent % 2 == 0 and parts[0][0] < 0 < parts[0][1]:
                ends.append(0)
        case ast.BinOp(op=op):
            ends = _corners(op, *parts)
        case ast.Call(func=ast.Name(id="abs")):
            low, high = parts[0]
            ends = [abs(low), abs(high), *([0] if low < 0 < high else [])]
        case ast.Call(func=ast.Name(id=name)):
            pick = max if name == "max" else min
            ends = [pick(one, two) for one, two in zip(*parts, strict=True)]
        case _:
            raise AssertionError(node)
    low, high = min(ends), max(ends)
    if -low >= MAX_SIZE or high >= MAX_SIZE:
        raise ExpressionError(f"but must stay below 2^62; {_spelled(node, 0)} may not")
    return low, high


def _parts(node: ast.expr) -> list[ast.expr]:
    """Its operands, or its arguments."""
    return (
        node.args if isinstance(node, ast.Call) else [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
    )


def _corners(op: ast.operator, left: Range, right: Range) -> list[int]:
    """Values of which one is as small, and one as great, as left op right can be."""
    if isinstance(op, ast.FloorDiv):  # by ±1 at the least
        size = max(map(abs, left))
        return [-size, size]
    if isinstance(op, ast.Mod):  # nearer to 0 than the divisor, and of its sign
        return [min(right[0] + 1, 0), max(right[1] - 1, 0)]
    return [_RING[type(op)](a, b) for a in left for b in right]
