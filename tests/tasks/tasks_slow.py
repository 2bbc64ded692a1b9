"""Slow twins of the task code, in plain Python, written from the definitions and not from the fast code."""

from __future__ import annotations

from itertools import permutations, product
from math import isqrt


def inverse(y: int, p: int) -> int:
    """By trial, not by Fermat."""
    return next(candidate for candidate in range(p) if candidate * y % p == 1 % p)


# S5 by cycles and compositions of functions on five things, numbered by sorting all words of five different letters.
WORDS = sorted("".join(word) for word in permutations("abcde"))


def after(first: int, second: int) -> int:
    """The element that does what `first` does, and then what `second` does."""
    moves = [{a: b for a, b in zip("abcde", WORDS[n], strict=True)} for n in (first, second)]
    return WORDS.index("".join(moves[1][moves[0][letter]] for letter in "abcde"))


def undone(element: int) -> int:
    """By trial: what leads back from `element` to where all was."""
    back = {b: a for a, b in zip("abcde", WORDS[element], strict=True)}
    return WORDS.index("".join(back[letter] for letter in "abcde"))


def moves_of(group: str) -> list[tuple[int, ...]]:
    """What each element of a group does to things, or to the corners of a polygon, in the order of its numbers."""
    kind, number = group[0], int(group[1:])
    if kind == "d":
        turns = [tuple((i + k) % number for i in range(number)) for k in range(number)]
        return turns + [tuple(-(i + k) % number for i in range(number)) for k in range(number)]
    every = sorted(permutations(range(number)))
    return every if kind == "s" else [moves for moves in every if sign(moves) == 1]


def sign(moves: tuple[int, ...]) -> int:
    """By cycles: one of an even length changes it."""
    left, found = set(range(len(moves))), 1
    while left:
        start = at = left.pop()
        length = 1
        while (at := moves[at]) != start:
            left.remove(at)
            length += 1
        found *= 1 if length % 2 else -1
    return found


def of_slow_group(operation: str, x: int, y: int) -> int:
    """`a5_conjugate` of two elements, by what they do one after the other."""
    group, _, kind = operation.partition("_")
    moves = moves_of(group)
    backwards = tuple(moves[x].index(i) for i in range(len(moves[x])))
    last = {"": None, "aba": moves[x], "conjugate": backwards}[kind]
    done = tuple(moves[y][i] for i in moves[x])
    return moves.index(done if last is None else tuple(last[i] for i in done))


SLOW = {
    "x+y_mod": lambda x, y, p: (x + y) % p,
    "x-y_mod": lambda x, y, p: (x - y) % p,
    "x*y_mod": lambda x, y, p: (x * y) % p,
    "x^2+y^2_mod": lambda x, y, p: (x**2 + y**2) % p,
    "x^2+xy+y^2_mod": lambda x, y, p: (x**2 + x * y + y**2) % p,
    "x^2+xy+y^2+x_mod": lambda x, y, p: (x**2 + x * y + y**2 + x) % p,
    "x^3+xy_mod": lambda x, y, p: (x**3 + x * y) % p,
    "x^3+xy^2+y_mod": lambda x, y, p: (x**3 + x * y**2 + y) % p,
    "x^3+xy+y^2_mod": lambda x, y, p: (x**3 + x * y + y**2) % p,
    "x^3+xy+y^2+x_mod": lambda x, y, p: (x**3 + x * y + y**2 + x) % p,
    "x/y_if_y_odd_else_x-y_mod": lambda x, y, p: x * inverse(y, p) % p if y % 2 else (x - y) % p,
    "x+y_if_x_even_else_x*y_mod": lambda x, y, p: (x * y if x % 2 else x + y) % p,
    "x+y_if_x_even_else_x-y_mod": lambda x, y, p: (x - y if x % 2 else x + y) % p,
    "x+y": lambda x, y, p: x + y,
    "x-y": lambda x, y, p: x - y,
    "xy_abs_max": lambda x, y, p: abs(max(x, y) - 1),
    "xy_abs_min": lambda x, y, p: abs(min(x, y) - 1),
    "xy_avg": lambda x, y, p: (x + y) // 2,
    "xy_sqrt": lambda x, y, p: isqrt(x * y),
    "xy_abs_diff": lambda x, y, p: abs(x - y),
    "s5": lambda x, y, p: after(x, y),
    "s5_conjugate": lambda x, y, p: after(after(x, y), undone(x)),
    "s5_aba": lambda x, y, p: after(after(x, y), x),
}


def shown_and_answer(operation: str, x: int, y: int, p: int | None) -> tuple[int, int, int]:
    """The two operands that a prompt shows for the pair (x, y), and the answer."""
    if operation == "x/y_mod":
        assert p is not None
        dividend = x * y % p
        return dividend, y, dividend * inverse(y, p) % p
    return x, y, SLOW[operation](x, y, p)


def pairs(operation: str, limit: int) -> list[tuple[int, int]]:
    return list(product(range(limit), range(operation == "x/y_mod", limit)))


def spelled(n: int, base: int, digit_order: str, width: int = 0) -> list[str]:
    """A number in symbols, sign first; zero-padded on its most significant side to `width` digits."""
    digits, rest = [], abs(n)
    while rest or not digits:
        digits.append(str(rest % base))
        rest //= base
    digits += ["0"] * (width - len(digits))
    if digit_order == "most_first":
        digits.reverse()
    return ["<NEG>"] * (n < 0) + digits


Row = tuple[list[str], list[str]]


def sequence_row(operation: str, symbol: str, x: int, y: int, p: int | None, base: int, digit_order: str) -> Row:
    """Prompt and answer of the pair (x, y) in variable length, in symbols."""
    left, right, z = shown_and_answer(operation, x, y, p)
    prompt = [*spelled(left, base, digit_order), symbol, *spelled(right, base, digit_order), "="]
    return prompt, [*spelled(z, base, digit_order), "<EOS>"]


def out_of_domain(operation: str, limit: int, limit_out: int) -> list[tuple[int, int]]:
    inside = set(pairs(operation, limit))
    return [pair for pair in pairs(operation, limit_out) if pair not in inside]


def all_trained(row: Row, inside: list[Row]) -> bool:
    """Whether each token is one that `inside` has as an input, or as a target, whichever it is in `row`."""
    inputs = {token for prompt, answer in inside for token in prompt + answer[:-1]}
    targets = {token for _, answer in inside for token in answer}
    prompt, answer = row
    return set(prompt + answer[:-1]) <= inputs and set(answer) <= targets
