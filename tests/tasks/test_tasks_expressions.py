"""Expressions of the user's own: against Python's arithmetic, and against what must never run."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grokray.errors import ConfigError
from grokray.tasks import build_dataset
from grokray.tasks.codes import decode_answer
from grokray.tasks.expressions import MAX_LENGTH, ExpressionError, _bounds, parse
from grokray.tasks.operations import operation_named
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig


def by_python(text: str, x: int, y: int, p: int | None) -> int:
    """Texts of the tests alone come here."""
    return eval(text, {"__builtins__": {}}, {"x": x, "y": y, "p": p, "abs": abs, "min": min, "max": max})


@pytest.mark.parametrize(
    "text",
    [
        "(x**2 + 3*x*y) % p",
        "(x**3 + x*y**2 + y) % p",
        "(x - y) % p",
        "-x*y % p",
        "(-x)**3 % p",
        "x**64 * y**63 % p",
        "(x // (y + 1) + p) % p",
        "(abs(x - 5) - 3*(y % 4)) % p",
        "(max(x, y) * min(x, 7)) % p",
        "7 % p",
        "x + y",
        "abs(x - y)",
        "(x - y)**2 - (y - x)**3",
        "-(x + y) // 3",
        "(x - y) % 5",
        "(x - y) % -5",
        "max(x*y - 3, -y, ) - min(x, y)",
        "5",
        "1000000 % (x + 7)",
        "x",
        "--y - -x",
        "0**0 + x",
        "x*x*x // (x + y*y + 1)",
    ],
)
@pytest.mark.parametrize("p", [2, 3, 13])
def test_an_expression_is_what_python_makes_of_it_over_the_whole_domain(text: str, p: int) -> None:
    config = resolve({"operation": f"expr:{text}", "modulus": p, "operand_limit": p})
    operation = operation_named(config.operation)
    x, y = torch.tensor(list(product(range(p), repeat=2))).T
    z = operation.answer(x, y, config.modulus)
    assert z.dtype == torch.int64
    assert z.tolist() == [by_python(text, a, b, p) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert by_python(config.operation.removeprefix("expr:"), 1, p - 1, p) == by_python(text, 1, p - 1, p)


def test_nothing_overflows_with_the_largest_modulus() -> None:
    p, text = 65_521, "(x**64*y**64 - 999999*x**5*y + abs(x - y)**3) % p"
    x, y = torch.arange(p - 6, p), torch.arange(p - 12, p, 2)
    z = operation_named(f"expr:{text}").answer(x, y, p)
    assert z.tolist() == [by_python(text, a, b, p) for a, b in zip(x.tolist(), y.tolist(), strict=True)]


LEAVES = st.sampled_from(["x", "y", "1", "2", "7"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda a, sign, b: f"({a}){sign}({b})", inner, st.sampled_from(["+", "-", "*", " // ", "% "]), inner),
        st.builds(lambda a, e: f"({a})**{e}", inner, st.integers(0, 3)),
        st.builds(lambda a: f"-({a})", inner),
        st.builds(lambda f, a, b: f"{f}({a}, {b})", st.sampled_from(["min", "max"]), inner, inner),
        st.builds(lambda a: f"abs({a})", inner),
    ),
    max_leaves=8,
)


def resolved_or_refused(operation: str) -> tuple[TrialConfig | None, str]:
    try:
        return resolve({"operation": operation, "modulus": 11, "operand_limit": 5, "task_type": "sequence"}), ""
    except ConfigError as error:
        return None, str(error)


@given(tree=TREES, modular=st.booleans())
def test_any_expression_is_exact_or_refused_and_has_one_spelling(tree: str, modular: bool) -> None:
    text = f"({tree}) % p" if modular else tree
    p = 11 if modular else None
    domain = list(product(range(5), repeat=2))
    config, refused = resolved_or_refused(f"expr:{text}")
    if config is None:
        assert "no zero" in refused or "2^62" in refused or "characters" in refused
        if "no zero" in refused:
            with pytest.raises(ZeroDivisionError):
                [by_python(text, x, y, p) for x, y in domain]
        return
    x, y = torch.tensor(domain).T
    expected = [by_python(text, *pair, p) for pair in domain]
    assert operation_named(config.operation).answer(x, y, p).tolist() == expected
    canonical = config.operation.removeprefix("expr:")
    assert parse(canonical).text == canonical == parse(canonical.replace(" ", "")).text
    assert [by_python(canonical, *pair, p) for pair in domain] == expected


@settings(max_examples=60)
@given(tree=TREES)
def test_bounds_hold_every_value(tree: str) -> None:
    try:
        body = parse(tree).body
        low, high = _bounds(body, {"x": (0, 4), "y": (0, 4)})
    except ExpressionError:
        return
    for x, y in product(range(5), repeat=2):
        with suppress(ZeroDivisionError):
            assert low <= by_python(tree, x, y, None) <= high


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("x - y", (-4, 4)),
        ("-x", (-4, 0)),
        ("(x - 1)*(y - 2)", (-6, 6)),
        ("(x - 1)**3", (-1, 27)),
        ("(x - 3)**2", (0, 9)),
        ("(x + 1)**2", (1, 25)),
        ("(-x)**2", (0, 16)),
        ("abs(x - 3)", (0, 3)),
        ("abs(x - 7)", (3, 7)),
        ("max(x - 1, 2)", (2, 3)),
        ("min(x - 1, 2)", (-1, 2)),
        ("(x - 6) // (y + 1)", (-6, 6)),
        ("x % 3", (0, 2)),
        ("x % -3", (-2, 0)),
    ],
)
def test_bounds_are_no_wider_than_need_be(text: str, bounds: tuple[int, int]) -> None:
    """Or expressions would be refused that fit."""
    assert _bounds(parse(text).body, {"x": (0, 4), "y": (0, 4)}) == bounds


def test_equal_expressions_have_equal_ids() -> None:
    same = ["expr:(x**2+3*x*y)%p", "expr: ( x **2 +(3*x) *y)\n %  p", "expr:(((x)**2 + 3*x*y) % p)"]
    assert {resolve({"operation": name}).operation for name in same} == {"expr:(x**2 + 3*x*y) % p"}
    assert len({resolve({"operation": name}).id for name in same}) == 1
    assert resolve({"operation": "expr:(x**2 + 3*(x*y)) % p"}).id != resolve({"operation": same[0]}).id


def balanced(leaves: int) -> str:
    """`x+y+(x+y)`: deep nowhere, and written without a space."""
    half = leaves // 2
    return f"{balanced(leaves - half)}+{'y' if half == 1 else f'({balanced(half)})'}" if half else "x"


def test_the_spaces_of_the_one_spelling_make_no_expression_too_long() -> None:
    text = balanced(50)
    config = resolve({"operation": f"expr:({text}) % p", "modulus": 7, "operand_limit": 3})
    assert len(text) < MAX_LENGTH < len(config.operation)
    assert resolve(config.model_dump()) == config
    z = build_dataset(config).table.z
    assert z is not None
    assert z.tolist() == [by_python(text, x, y, 7) % 7 for x, y in product(range(3), repeat=2)]
    with pytest.raises(ExpressionError, match="at most 200 characters besides spaces; it has 269"):
        parse(balanced(100))


@pytest.mark.parametrize("text", ["(x - 3)**40", "(1 + x)**40", "(y - 3)**40", "(1 + y)**40", "(x - 3)**41"])
def test_what_the_least_and_the_greatest_operand_give_must_be_exact(text: str) -> None:
    """3⁴⁰ is more than int64 holds, which 0 and 2 give, and 1 does not."""
    with pytest.raises(ExpressionError, match=r"below 2\^62"):
        parse(text).check(3, None)
    assert parse(text.replace("3", "2").replace("1 +", "")).check(3, None)


@pytest.mark.parametrize(
    "text",
    [
        "x.__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "exec('x')",
        "lambda: x",
        "(lambda x: x)(y)",
        "f'{x}'",
        "'x'*9",
        "(z:=3)",
        "x if y else p",
        "[x for x in y]",
        "x[0]",
        "x, y",
        "x < y",
        "x and y",
        "not x",
        "~x",
        "x @ y",
        "x / y",
        "x << 60",
        "x ^ y",
        "True",
        "1e3",
        "1.5",
        "0x10",
        "1_000",
        "1j",
        "z",
        "xy",
        "abs",
        "abs + x",
        "abs(x, y)",
        "max(x)",
        "max(*x)",
        "min(x, y, p) % p",
        "x(y)",
        "abs(x)(y)",
        "max(x, y)(x)",
        "(x",
        "x +",
        "* x",
        "x y",
        "",
        " ",
        "x; y",
        "x # y",
        "import os",
        "x**y",
        "x**-1",
        "2**x",
        "x**65",
        "x**65 % p",
        "9**9**9",
        "x**(1 + 1)",
        "9999999",
        "-" * 60 + "x",
        "(" * 120 + "x" + ")" * 60,
        "x+" * 60 + "x",
        "x + " * MAX_LENGTH + "x",
        "x % p + y",
        "p",
        "x*y*p",
        "x // (y - 3)",
        "x % y",
        "(1 // x) % p",
        "(x // 0) % p",
        "x**13",
        "(x*y)**32 // 3 % p",
        "((x*y)**32 // 3 + 1) % p",
        "(1 - (x*y)**32 // 3) % p",
        "-((x*y)**32 // 3) % p",
        "(x + y // p**16) % p",
        "abs((x + 1)**40) % p",
        "é + x",
        "x\x00",
        "x ** ２",
    ],
)
def test_a_hostile_expression_is_one_problem_and_never_runs(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        resolve({"operation": f"expr:{text}"})
    (problem,) = caught.value.problems
    assert problem.field == "operation"
    assert problem.message.startswith("operation is ")
    assert len(problem.message) < 500  # which names all operations where there is a comma
    assert time.monotonic() - start < 5


def test_powers_of_powers_are_refused_before_they_are_computed() -> None:
    start = time.monotonic()
    with pytest.raises(ExpressionError, match=r"below 2\^62; x\*\*64 may not"):
        parse("((((x**64)**64)**64)**64)**64").check(97, None)
    assert time.monotonic() - start < 1


def test_a_division_by_zero_is_named() -> None:
    with pytest.raises(ConfigError, match="but must divide by no zero; it does at x = 2, y = 5"):
        resolve({"operation": "expr:(x // ((x - 2)**2 + (y - 5)**2)) % p", "modulus": 11})
    config = resolve({"operation": "expr:(x // ((x - 2)**2 + (y - 5)**2)) % p", "modulus": 11, "operand_limit": 5})
    assert config.operand_limit == 5, "not in this domain"


def test_what_an_expression_can_give_sets_sizes_and_signs() -> None:
    plain = {"operation": "expr:x*y - x", "operand_limit": 5, "task_type": "sequence"}
    table = build_dataset(resolve({**plain, "fixed_sequence_length": True})).table
    assert table.code is not None
    assert table.code.signed, "0·4 − 4"
    assert table.code.width == 2
    unsigned = {**plain, "operation": "expr:(x - y)*(x - y)"}
    code = build_dataset(resolve(unsigned)).table.code
    assert code is not None
    assert not code.signed
    values = build_dataset(resolve({"operation": "expr:x - 2*y", "operand_limit": 3})).table.vocabulary.symbols
    assert values[:-2] == ("-4", "-3", "-2", "-1", "0", "1", "2")


@pytest.mark.parametrize(("text", "highest"), [("x + 5", 7), ("x // 2", 2)])
def test_operands_have_tokens_though_no_answer_is_so_small_or_so_large(text: str, highest: int) -> None:
    table = build_dataset(resolve({"operation": f"expr:{text}", "operand_limit": 3})).table
    assert table.vocabulary.symbols[:-2] == tuple(map(str, range(highest + 1)))
    assert int(table.tokens.max()) < table.vocabulary.size


def test_negative_answers_count_in_the_size_of_a_vocabulary() -> None:
    with pytest.raises(ConfigError, match="which makes a vocabulary of 9,315, but must make at most 8,192"):
        resolve({"operation": "expr:-x*y"})  # from -96² to 96, and two marks


@pytest.mark.parametrize("fixed", [False, True])
def test_answers_that_lie_far_apart_take_no_more_room_than_they_are_many(fixed: bool) -> None:
    """Of 9 pairs they reach from −2³⁹ to 2³⁹: there is no memory for all numbers between."""
    config = resolve(
        {
            "operation": "expr:x**39 - y**39",
            "operand_limit": 3,
            "task_type": "sequence",
            "base": 3,
            "digit_order": "least_first",
            "fixed_sequence_length": fixed,
        }
    )
    table = build_dataset(config).table
    assert table.x is not None
    assert table.y is not None
    assert table.code is not None
    for x, y, answer in zip(table.x.tolist(), table.y.tolist(), table.targets.tolist(), strict=True):
        assert decode_answer([token for token in answer if token >= 0], table.code) == x**39 - y**39
