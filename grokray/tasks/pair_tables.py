"""Tables of operations on pairs of numbers: rows that read `left op right =` and the answer.

Several tasks share numbers, sizes and row length, and each keeps the rows that it has alone, with an operator and an
equals sign of its own: `8 +% 5 =+% 13` and `8 -% 5 =-% 3`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokray.tasks.codes import NumberCode, number_code
from grokray.tasks.layout import Numbers, lay_out
from grokray.tasks.multitask import side_by_side
from grokray.tasks.operations import Operation, operations_of
from grokray.tasks.pairs import pairs_in_domain, pairs_out_of_domain, twin_rows
from grokray.tasks.tables import Table, one_task
from grokray.trial import TrialConfig


def key(config: TrialConfig) -> tuple[object, ...]:
    """What shapes the table beside the operations."""
    return (
        config.task_type,
        config.base,
        config.digit_order,
        config.fixed_sequence_length,
        config.modulus,
        config.operand_limit,
        config.operand_limit_out,
    )


def build(config: TrialConfig) -> Table:
    """One row for each pair of each task: all that are in domain, then those beyond whose tokens the domain trains."""
    code = number_code(config)
    tables = [_one(operation, task, code, config) for task, operation in enumerate(operations_of(config.operation))]
    return tables[0] if len(tables) == 1 else side_by_side(tables, code.vocabulary)


def _one(operation: Operation, task: int, code: NumberCode, config: TrialConfig) -> Table:
    """The table of one operation, with the operator and equals sign of its task."""
    p = config.modulus
    x_in, y_in = pairs_in_domain(operation, config.operand_limit)
    x_out, y_out = pairs_out_of_domain(operation, config.operand_limit, config.operand_limit_out)
    x, y, in_domain = torch.cat([x_in, x_out]), torch.cat([y_in, y_out]), len(x_in)
    difficulty = x.maximum(y).int()
    left, right = operation.shown(x, y, p)
    z = operation.answer(x, y, p)

    operands = Numbers.covering(left, right, encode=code.encode_operands)
    answers = Numbers.covering(z, encode=code.encode_answers)
    if len(x_out):
        keep = _trained(operands, answers, left, right, z, in_domain)
        left, right, z, difficulty = left[keep], right[keep], z[keep], difficulty[keep]
    tokens, positions, targets, uniform = lay_out(code.vocabulary.for_task(task), operands, answers, left, right, z)
    twins = twin_rows(operation, config.operand_limit)
    return Table(
        tokens=tokens,
        positions=positions,
        targets=targets,
        in_domain=in_domain,
        uniform=uniform,
        vocabulary=code.vocabulary,
        task_names=(operation.name,),
        task=one_task(len(z)),
        code=code,
        x=left,
        y=right,
        z=z,
        twins=torch.cat([twins, twins.new_full((len(z) - in_domain,), -1)]),
        difficulty=difficulty,
    )


def _trained(operands: Numbers, answers: Numbers, left: Tensor, right: Tensor, z: Tensor, in_domain: int) -> Tensor:
    """Which rows (rows,) only use tokens that the domain trains in the same role, as input or as target."""
    read = answers.without_last()
    ids = 1 + int(max(operands.tokens.max(), answers.tokens.max()))
    seen_input, seen_target = torch.zeros(2, ids, dtype=torch.bool)
    operands.mark_seen(seen_input, left[:in_domain], right[:in_domain])
    read.mark_seen(seen_input, z[:in_domain])
    answers.mark_seen(seen_target, z[:in_domain])
    operand_is_known = operands.covered_by(seen_input)
    answer_is_known = read.covered_by(seen_input) & answers.covered_by(seen_target)
    operands_are_known = operand_is_known[operands.place(left)] & operand_is_known[operands.place(right)]
    return operands_are_known & answer_is_known[answers.place(z)]
