"""The operations that are learned, one line each in one table, and the names the original gives them.

A rule takes `x` and `y`, int64 tensors of one shape with values in [0, 65,536), and the modulus `p` (None for a plain
operation), and returns int64 of that shape. No rule needs torch by name, so looking up a name loads none. Every
product of three is reduced modulo p on its way: 65,535³ still fits int64, but a sum or a fourth factor would not.

A worked example: `x/y_mod` at x 5, y 3, p 7 shows 1 / 3 = (5·3 mod 7 is 1), and asks for 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from grokray.tasks.arithmetic import power
from grokray.tasks.expressions import Expression, parse
from grokray.tasks.groups import Group, group_named

if TYPE_CHECKING:
    from torch import Tensor

# Rules carry "Any" for the modulus: a modular one always gets an int, a plain one None.
Rule: TypeAlias = "Callable[[Tensor, Tensor, Any], Tensor]"


def _as_is(x: Tensor, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
    return x, y


def _within_operands(limit: int) -> tuple[int, int]:
    return 0, limit - 1


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One rule z = x ∘ y over pairs of whole numbers.

    `shown` gives the two operands that stand in the prompt, where they are not (x, y) itself. `plain_range` gives the
    least and the greatest answer of a plain operation whose operands lie in [0, limit). `symbol` is the operator's
    token, another one for each operation. Operands and answers of a group are the numbers of its `order` elements.
    """

    name: str
    kind: Literal["modular", "plain", "group"]
    symbol: str
    answer: Rule
    shown: Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]] = _as_is
    y_min: int = 0
    needs_prime: bool = False
    plain_range: Callable[[int], tuple[int, int]] = _within_operands
    order: int | None = None
    expression: Expression | None = None


def _mod(name: str, symbol: str, answer: Rule, **traits: Any) -> Operation:
    return Operation(name=name, kind="modular", symbol=symbol, answer=answer, **traits)


def _plain(name: str, symbol: str, answer: Rule, **traits: Any) -> Operation:
    return Operation(name=name, kind="plain", symbol=symbol, answer=answer, **traits)


def _divided_if_odd(x: Tensor, y: Tensor, p: int) -> Tensor:
    """x / y where y is odd, x − y where it is even; an odd y below a prime p is never 0, so it has an inverse."""
    return (x * power(y, p - 2, p) % p).where(y % 2 == 1, (x - y) % p)


def _root(x: Tensor, y: Tensor, p: None) -> Tensor:
    """⌊√(xy)⌋, exactly: xy < 2³², and there √(k² − 1) lies 2⁻¹⁷ or more below k, far beyond float64's rounding."""
    return (x * y).double().sqrt().long()


# fmt: off
OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        _mod("x+y_mod", "+%", lambda x, y, p: (x + y) % p),
        _mod("x-y_mod", "-%", lambda x, y, p: (x - y) % p),
        _mod("x*y_mod", "*%", lambda x, y, p: x * y % p),
        _mod("x/y_mod", "/%", lambda x, y, p: x, shown=lambda x, y, p: (x * y % p, y), y_min=1, needs_prime=True),
        _mod("x^2+y^2_mod", "x^2+y^2", lambda x, y, p: (x * x + y * y) % p),
        _mod("x^2+xy+y^2_mod", "x^2+xy+y^2", lambda x, y, p: (x * x + x * y + y * y) % p),
        _mod("x^2+xy+y^2+x_mod", "x^2+xy+y^2+x", lambda x, y, p: (x * x + x * y + y * y + x) % p),
        _mod("x^3+xy_mod", "x^3+xy", lambda x, y, p: (x * x % p * x + x * y) % p),
        _mod("x^3+xy^2+y_mod", "x^3+xy^2+y", lambda x, y, p: (x * x % p * x + x * y % p * y + y) % p),
        _mod("x^3+xy+y^2_mod", "x^3+xy+y^2", lambda x, y, p: (x * x % p * x + x * y + y * y) % p),
        _mod("x^3+xy+y^2+x_mod", "x^3+xy+y^2+x", lambda x, y, p: (x * x % p * x + x * y + y * y + x) % p),
        _mod("x/y_if_y_odd_else_x-y_mod", "/-", _divided_if_odd, needs_prime=True),
        # Even sum, odd product and even sum, odd difference: as in Power et al.'s code, the parity is that of x.
        _mod("x+y_if_x_even_else_x*y_mod", "+*", lambda x, y, p: (x + y).where(x % 2 == 0, x * y) % p),
        _mod("x+y_if_x_even_else_x-y_mod", "+-", lambda x, y, p: (x + y).where(x % 2 == 0, x - y) % p),
        _plain("x+y", "+", lambda x, y, p: x + y, plain_range=lambda limit: (0, 2 * limit - 2)),
        _plain("x-y", "-", lambda x, y, p: x - y, plain_range=lambda limit: (1 - limit, limit - 1)),
        _plain("xy_abs_max", "max", lambda x, y, p: (x.maximum(y) - 1).abs()),
        _plain("xy_abs_min", "min", lambda x, y, p: (x.minimum(y) - 1).abs()),
        _plain("xy_avg", "avg", lambda x, y, p: (x + y) // 2),
        _plain("xy_sqrt", "sqrt", _root),
        _plain("xy_abs_diff", "diff", lambda x, y, p: (x - y).abs()),
    )
}
# fmt: on

# What a group's operation computes, by what its name adds to the group's.
OF_A_GROUP: dict[str, tuple[str, Callable[[Group, Any, Any], Any]]] = {
    "": ("·", lambda g, x, y: g.multiply(x, y)),
    "_conjugate": ("conj", lambda g, x, y: g.multiply(g.multiply(x, y), g.invert(x))),
    "_aba": ("aba", lambda g, x, y: g.multiply(g.multiply(x, y), x)),
}


def of_group(name: str) -> Operation | None:
    """The operation of a name such as `s5`, `d59_conjugate` or `a5_aba`; None where there is none."""
    group = group_named(name.partition("_")[0])
    if group is None or (kind := name.removeprefix(group.name)) not in OF_A_GROUP:
        return None
    symbol, rule = OF_A_GROUP[kind]
    symbol += "" if group.name == "s5" else group.name

    def answer(x: Tensor, y: Tensor, p: None) -> Tensor:
        return rule(group, x, y)

    return Operation(name=name, kind="group", symbol=symbol, answer=answer, order=group.order)


OPERATIONS |= {name: operation for name in ("s5", "s5_conjugate", "s5_aba") if (operation := of_group(name))}

# What stands before an operation of the user's own.
EXPRESSION = "expr:"


def operation_named(name: str) -> Operation:
    """The operation of a resolved name, such as `x/y_mod`, `d59` or `expr:(x*y + 1) % p`."""
    return OPERATIONS.get(name) or of_group(name) or expressed(name)


def expressed(name: str) -> Operation:
    """The operation that `expr:…` spells out; raises ExpressionError (see `grokray.tasks.expressions`)."""
    expression = parse(name.removeprefix(EXPRESSION))
    full_name = EXPRESSION + expression.text
    if expression.modular:
        return _mod(full_name, full_name, expression.value, expression=expression)
    return _plain(
        *(full_name, full_name, expression.value),
        expression=expression,
        plain_range=lambda limit: expression.check(limit, None),
    )


def split_names(text: str) -> list[str]:
    """`x/y_mod, expr:max(x, y)` → its two names; a comma between parentheses, or in the original's `x,y_max`, parts
    nothing."""
    names, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0 and names[-1].strip() != "x":  # no operation is named x
            names.append("")
        else:
            names[-1] += character
    return [name.strip() for name in names]


def operations_of(operation: str) -> tuple[Operation, ...]:
    """The operations of a resolved trial, several of a multitask one."""
    return tuple(map(operation_named, split_names(operation)))


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A name of the original: the operation it stands for, what it implies, and what it only suggests.

    Another value given for an implied parameter contradicts the name; for a suggested one the given value wins.
    """

    operation: str
    implied: Mapping[str, Any] = field(default_factory=dict)
    suggested: Mapping[str, Any] = field(default_factory=dict)


def _binary(operation: str, digit_order: str) -> Alias:
    implied = {"task_type": "sequence", "digit_order": digit_order}
    return Alias(operation=operation, implied=implied, suggested={"base": 2})


ALIASES: dict[str, Alias] = {
    "x/y": Alias(operation="x/y_mod"),
    "x/y_binary": _binary("x/y_mod", "most_first"),
    "x/y_binary_flipped": _binary("x/y_mod", "least_first"),
    "x+y_binary": _binary("x+y", "most_first"),
    "x+y_binary_flipped": _binary("x+y", "least_first"),
    "s5conj": Alias(operation="s5_conjugate"),
    "s5aba": Alias(operation="s5_aba"),
    # Not xy_abs_max and xy_abs_min, which came in their place: those take one away.
    "x,y_max": Alias(operation="expr:max(x, y)"),
    "x,y_min": Alias(operation="expr:min(x, y)"),
    "x,y_avg": Alias(operation="xy_avg"),
    "x,y_sqrt": Alias(operation="xy_sqrt"),
    "x,y_abs_diff": Alias(operation="xy_abs_diff"),
}
