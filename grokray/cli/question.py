"""A question such as "12 + 7" for a trained model: read, put into its tokens, answered, and judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grokray.cli.question_text import operators_of, pair_of, refused, task_of

if TYPE_CHECKING:
    from torch import Tensor

    from grokray.engine.restored import Restored
    from grokray.tasks.operations import Operation
    from grokray.tasks.tables import Table

LARGEST = 65_535
LONGEST = 200  # characters of a question that is shown as an example


def ask(trial: Restored, text: str) -> dict[str, Any]:
    """The model's answer, as `grokray.engine.examples.judged` has it, with `part`: the one that the question is from,
    or None, and `noisy_label`, the wrong answer that it was trained on, or None. ConfigError for a question that this
    model cannot be asked.
    """
    if trial.dataset.table.x is None:
        return _ask_tokens(trial, text)
    return _ask_pair(trial, text)


def _ask_tokens(trial: Restored, text: str) -> dict[str, Any]:
    """Where rows are no pairs: one of the table's rows, or any list of a task whose table is a sample of them."""
    from grokray.engine.examples import question
    from grokray.tasks.tables import build_table

    table, prompts = build_table(trial.config), _prompts(trial, text)  # the dataset's own may hold wrong answers
    row = _row_of(table, prompts)
    if row is not None:
        return _placed(trial, _answered(trial, table, row), row)
    if (another := _list_of(trial, prompts)) is not None:
        return _placed(trial, _answered(trial, another, 0), None)
    one = question(table, 0)
    raise refused(
        f"{text!r} is no example of {trial.config.operation}" + (f"; {one!r} is" if len(one) < LONGEST else "")
    )


def _answered(trial: Restored, table: Table, row: int) -> dict[str, Any]:
    import torch

    from grokray.engine.decode import decode_rows
    from grokray.engine.examples import example

    (answer,) = decode_rows(trial.shape, trial.parameters, table, torch.tensor([row])).tolist()
    return example(table, row, answer)


def _prompts(trial: Restored, text: str) -> list[list[int]]:
    """The token ids that the text may spell, token by token; the operator of a single task may be left out."""
    from grokray.tasks.export import words

    table = trial.dataset.table
    ids = {word: i for i, word in enumerate(words(table))}
    found = []
    for spoken in (text.split(), text.replace(",", " ").rstrip("? ").split()):  # a comma may be a token itself
        if spoken and spoken[-1] in ids and spoken[-1].endswith("="):
            spoken.pop()
        said = [ids.get(word.rstrip("="), ids.get(word, -1)) for word in spoken]
        # Of several tasks the operator must be said.
        found += [said, [table.vocabulary.op, *said]] if len(table.task_names) == 1 else [said]
    return found


def _row_of(table: Table, prompts: Sequence[Sequence[int]]) -> int | None:
    import torch

    for prompt in prompts:
        if 0 < len(prompt) <= table.tokens.shape[1]:
            same = (table.tokens[:, : len(prompt)] == torch.tensor(prompt)).all(1)
            rows = (same & (table.positions[:, 0] == len(prompt))).nonzero()[:, 0]
            if len(rows):
                return int(rows[0])
    return None


def _list_of(trial: Restored, prompts: Sequence[Sequence[int]]) -> Table | None:
    """A table of the list that one of the prompts spells."""
    import torch

    from grokray.tasks.list_tables import table_of

    length, marks = trial.config.list_length, trial.dataset.table.vocabulary
    for op, *digits in filter(None, prompts):
        if op == marks.op and len(digits) == length and all(0 <= digit < marks.numerals for digit in digits):
            return table_of(trial.config, torch.tensor([digits]))
    return None


def _ask_pair(trial: Restored, text: str) -> dict[str, Any]:
    import torch

    from grokray.engine.decode import decode, end_token
    from grokray.engine.examples import judged
    from grokray.tasks.operations import operation_named

    table, shape = trial.dataset.table, trial.shape
    operators = operators_of(table)
    left, words, right = pair_of(text, operators)
    task = task_of(table, words, operators)
    z = _truth(trial, operation_named(table.task_names[task]), left, right)
    prompt, truth = _prompt(trial, task, left, right), _answer(table, z)
    tokens = torch.zeros(1, shape.length, dtype=torch.int64)
    tokens[0, : len(prompt)] = torch.tensor(prompt)
    eos = end_token(table)
    limit = None if eos is not None else torch.tensor([len(truth)])
    start = torch.tensor([len(prompt) - 1])
    (answer,) = decode(shape, trial.parameters, tokens, start, eos=eos, limit=limit).tolist()
    marks = table.vocabulary.for_task(task)
    asked = f"{left} {marks.symbols[marks.op]} {right}"
    row = _known_row(table, task, left, right)
    return _placed(trial, judged(table, asked, prompt, answer, truth), row)


def _placed(trial: Restored, answer: dict[str, Any], row: int | None) -> dict[str, Any]:
    """The answer with what the table's row, if it is one, was in training."""
    return {**answer, "part": _part(trial, row), "noisy_label": _noisy_label(trial, row)}


def _noisy_label(trial: Restored, row: int | None) -> str | None:
    """The wrong answer that this row was trained on, if it was."""
    from grokray.engine.examples import spoken, written

    dataset = trial.dataset
    if row is None or dataset.noisy is None or not (dataset.noisy == row).any():
        return None
    return spoken(written(dataset.table.targets[row].tolist()), dataset.table)


def _prompt(trial: Restored, task: int, left: int, right: int) -> list[int]:
    """`8 + 5 =` as token ids."""
    import torch

    table = trial.dataset.table
    code, marks = table.code, table.vocabulary.for_task(task)
    assert code is not None
    operands, lengths = code.encode_operands(torch.tensor([left, right]))
    first, second = (operands[i, :n].tolist() for i, n in enumerate(lengths.tolist()))
    prompt = [*first, marks.op, *second, marks.equals]
    if len(prompt) > trial.shape.length or (code.width and max(left, right) >= code.base**code.width):
        made_for = trial.config.operand_limit_out or trial.config.operand_limit
        rule = f"which is longer in base {code.base} than this model reads: it was made for numbers below {made_for:,}"
        raise refused(f"the question holds {max(left, right)}, {rule}")
    return prompt


def _answer(table: Table, z: int) -> list[int]:
    import torch

    code = table.code
    assert code is not None
    if not code.base and not 0 <= z - code.vocabulary.lowest < code.vocabulary.numerals:
        raise refused(f"the right answer is {z}, for which this model has no token")
    if code.width and abs(z) >= code.base**code.width:
        raise refused(f"the right answer is {z}, but this model writes {code.width} digits in base {code.base}")
    tokens, lengths = code.encode_answers(torch.tensor([z]))
    return tokens[0, : int(lengths[0])].tolist()


def _truth(trial: Restored, operation: Operation, left: int, right: int) -> int:
    """The right answer; refuses numbers that cannot stand in a question."""
    import torch

    p = trial.config.modulus if operation.kind == "modular" else None
    for place, number in (("first", left), ("second", right)):
        if (rule := _broken_rule(trial, operation, p, number)) is not None:
            raise refused(f"the {place} number is {number}, but {rule}")
    if right < operation.y_min:
        raise refused(f"the second number is {right}, but must be at least {operation.y_min} for {operation.name}")
    x = torch.tensor([left]) if p is None else torch.arange(p)
    y = torch.full_like(x, right)
    shown_left, shown_right = operation.shown(x, y, p)
    fitting = ((shown_left == left) & (shown_right == right)).nonzero()[:, 0]
    return int(operation.answer(x[fitting[:1]], y[fitting[:1]], p))


def _broken_rule(trial: Restored, operation: Operation, p: int | None, number: int) -> str | None:
    """Why the model cannot be asked about this number."""
    code, config = trial.dataset.table.code, trial.config
    assert code is not None
    if number < 0:
        return "must not be negative"
    if p is not None and number >= p:
        return f"must be below the modulus, which is {p}"
    if operation.order is not None and number >= operation.order:
        return f"{operation.name} has the elements 0 to {operation.order - 1}"
    if operation.expression is not None and number >= (limit := config.operand_limit_out or config.operand_limit):
        return f"must be below {limit:,}, as far as the expression was checked"
    if number > LARGEST:
        return f"must be at most {LARGEST:,}"
    highest = code.vocabulary.lowest + code.vocabulary.numerals - 1
    if not code.base and number > highest:
        return f"the largest number that this model has a token for is {highest}"
    return None


def _known_row(table: Table, task: int, left: int, right: int) -> int | None:
    assert table.x is not None
    assert table.y is not None
    rows = ((table.x == left) & (table.y == right) & (table.task == task)).nonzero()[:, 0]
    return int(rows[0]) if len(rows) else None


def _part(trial: Restored, row: int | None) -> str | None:
    from grokray.trial import PARTS

    parts: dict[str, Tensor] = {name: getattr(trial.dataset.split, name) for name in PARTS}
    return next((name for name, rows in parts.items() if row is not None and bool((rows == row).any())), None)
