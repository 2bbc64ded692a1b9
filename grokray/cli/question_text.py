"""The text of a question on two numbers: which they are, and which of a model's operations is meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from grokray.errors import ConfigError, Problem

if TYPE_CHECKING:
    from grokray.tasks.operations import Operation
    from grokray.tasks.tables import Table

_PAIR = re.compile(r"\s*(-?\d{1,999})(\s*[^\d\s].*?\s*|\s+)(-?\d{1,999})\s*=?\s*\??\s*", re.DOTALL)
_AS_TYPED = str.maketrans("\u2212\u00d7\u00f7", "-*/")  # as print has them: minus, times, divided by
_PART_OF_A_NUMBER = re.compile(r"^\w|\d|\w$")  # as `x3` is of 0x3, and `_0` of 1_0
_NUMBER = re.compile(r"(?<![\w^])\d+(?![\w^])")


def pair_of(text: str, operators: Collection[str]) -> tuple[int, str, int]:
    """`12 + 7` → 12, "+", 7. Whatever stands between the numbers is the operator; one of those may hold numbers."""
    found = _PAIR.fullmatch(text.translate(_AS_TYPED))
    words = "" if found is None else _spelled(found[2].strip())
    if found is not None and (words in operators or _named(words)):
        return int(found[1]), words, int(found[3])
    if more := _NUMBER.findall(words):
        raise refused(f"the question is {text!r}, which holds {2 + len(more)} numbers, but must hold two")
    if found is None or _PART_OF_A_NUMBER.search(found[2]):
        raise refused(f"the question is {text!r}, but must be two whole numbers with an operator, such as '12 + 7'")
    return int(found[1]), words, int(found[3])


def _spelled(words: str) -> str:
    """An expression as the tables write it: `expr:x*y+1` → `expr:x*y + 1`."""
    from grokray.tasks.expressions import ExpressionError
    from grokray.tasks.operations import EXPRESSION, expressed

    if not words.startswith(EXPRESSION):
        return words
    try:
        return expressed(words).name
    except ExpressionError:
        return words


def operators_of(table: Table) -> dict[str, int]:
    """What a question may call each of the table's tasks."""
    marks = [table.vocabulary.for_task(i) for i in range(len(table.task_names))]
    symbols = {m.symbols[m.op]: i for i, m in enumerate(marks)}
    names = {name: i for i, name in enumerate(table.task_names)}
    shorter = {symbol.removesuffix("%"): i for symbol, i in symbols.items()}  # `+` for `+%` where there is no other `+`
    return {**shorter, **symbols, **names}


def task_of(table: Table, words: str, operators: Mapping[str, int]) -> int:
    """Which of the table's tasks is meant. A model of one task knows what it is asked, if it is asked no other one."""
    if len(table.task_names) == 1:
        _refuse_another(table.task_names[0], words)
        return 0
    if words not in operators:
        rule = f"but this model knows several tasks and needs one of {', '.join(map(repr, operators))}"
        raise refused((f"the operator is {words!r}, " if words else "there is no operator, ") + rule)
    return operators[words]


def _refuse_another(name: str, words: str) -> None:
    """What a model of sums answers to `12 * 7` would be judged as if it were asked `12 + 7`."""
    from grokray.tasks.operations import EXPRESSION, OPERATIONS, of_group

    trained = OPERATIONS.get(name) or of_group(name)
    if trained is None:  # an expression, which has no sign of its own: any will do that is no other operation's
        another = name.startswith(EXPRESSION) and any(
            _means(operation, words) for operation in OPERATIONS.values() if operation.kind != "group"
        )
    else:
        another = _named(words) and not _means(trained, words)
    if another:
        raise refused(f"the operator is {words!r}, but this model was trained on {name}")


def _named(words: str) -> bool:
    """Whether any operation is called so; of groups are tried those that the words themselves name."""
    from grokray.tasks.operations import OF_A_GROUP, OPERATIONS, of_group

    spelled = [words, *(words.removeprefix(symbol) + kind for kind, (symbol, _) in OF_A_GROUP.items())]
    operations = [*OPERATIONS.values(), *filter(None, map(of_group, spelled))]
    return any(_means(operation, words) for operation in operations)


def _means(operation: Operation, words: str) -> bool:
    """By its name or its symbol, or by `+` for `+%` and `·` for `·d59`."""
    ending = operation.name.partition("_")[0] if operation.kind == "group" else "%"
    return words in (operation.name, operation.symbol, operation.symbol.removesuffix(ending))


def refused(message: str) -> ConfigError:
    return ConfigError([Problem(message=message)])
