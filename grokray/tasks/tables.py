"""Tables: every pair of a task as tokens, in and out of domain, laid out for teacher forcing.

A row reads `left op right =` and the answer's tokens but the last one; each answer token, the first one too, is
predicted where the one before it is read. A worked example, `x+y_mod` modulo 97 in base 10, most_first, variable
length, with <PAD> as `_`:

    8 + 5 = 13    tokens     8 + 5 = 1 3 _ _      as long as the longest row, 48 + 48 = 96
                  positions  3 4 5                the columns of `=`, `1` and `3`, which predict
                  targets    1 3 <EOS>

Trials with equal `table_key`s share one table, so nobody may write into it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from grokray.tasks.codes import NumberCode, Vocabulary, number_code
from grokray.tasks.layout import Numbers, lay_out
from grokray.tasks.operations import OPERATIONS
from grokray.tasks.pairs import pairs_in_domain, pairs_out_of_domain, twin_rows
from grokray.trial import TrialConfig

# Tables that no dataset holds any more are kept up to this many bytes, the latest one always.
CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False)
class Table:
    """Rows [0, in_domain) are the pairs in domain, the rest those out of domain; order: see `grokray.tasks.pairs`.

    tokens     (rows, length) int32: prompt and answer but its last token, right-padded
    positions  (rows, answers) int64: the column of `tokens` whose output predicts each answer token
    targets    (rows, answers) int64: the answer's tokens, −1 where there is none to score
    x, y       (rows,) int64: the operands as shown (for `x/y_mod` dividend and divisor)
    z          (rows,) int64: the answer
    twins      (rows,) int64: the row of the commuted pair (y, x) in domain, or −1
    uniform    every row's positions are exactly the last `answers` columns; so in classification and fixed length

    Padding follows all that is scored, so a causal model needs no padding mask; it must not have one either, since
    fixed length uses `<PAD>` as the blank sign.
    """

    tokens: Tensor
    positions: Tensor
    targets: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    in_domain: int
    twins: Tensor
    code: NumberCode
    uniform: bool

    @property
    def vocabulary(self) -> Vocabulary:
        return self.code.vocabulary

    @property
    def nbytes(self) -> int:
        """Memory held; views that repeat one row count once."""
        tensors = (self.tokens, self.positions, self.targets, self.x, self.y, self.z, self.twins)
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def table_key(config: TrialConfig) -> tuple[object, ...]:
    """What shapes the table, and nothing else: no seed, fraction, split or curriculum."""
    return (
        config.operation,
        config.task_type,
        config.base,
        config.digit_order,
        config.fixed_sequence_length,
        config.modulus,
        config.operand_limit,
        config.operand_limit_out,
    )


def build_table(config: TrialConfig) -> Table:
    """The table of a resolved trial, shared with every trial of the same `table_key`."""
    return _CACHE.get(config)


def _build(config: TrialConfig) -> Table:
    operation, code, p = OPERATIONS[config.operation], number_code(config), config.modulus
    x_in, y_in = pairs_in_domain(operation, config.operand_limit)
    x_out, y_out = pairs_out_of_domain(operation, config.operand_limit, config.operand_limit_out)
    x, y, in_domain = torch.cat([x_in, x_out]), torch.cat([y_in, y_out]), len(x_in)
    left, right = operation.shown(x, y, p)
    z = operation.answer(x, y, p)

    operands = Numbers.spanning(left, right, encode=code.encode_operands)
    answers = Numbers.spanning(z, encode=code.encode_answers)
    if len(x_out):
        keep = _trained(operands, answers, left, right, z, in_domain)
        left, right, z = left[keep], right[keep], z[keep]
    tokens, positions, targets, uniform = lay_out(code.vocabulary, operands, answers, left, right, z)
    twins = twin_rows(operation, config.operand_limit)
    return Table(
        tokens=tokens,
        positions=positions,
        targets=targets,
        x=left,
        y=right,
        z=z,
        in_domain=in_domain,
        twins=torch.cat([twins, twins.new_full((len(z) - in_domain,), -1)]),
        code=code,
        uniform=uniform,
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


class _Cache:
    """Least recently used tables, bounded by bytes. One that is still in use anywhere is found whatever the bound."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.recent: OrderedDict[tuple[object, ...], Table] = OrderedDict()
        self.alive: WeakValueDictionary[tuple[object, ...], Table] = WeakValueDictionary()
        self.lock = Lock()

    def get(self, config: TrialConfig) -> Table:
        key = table_key(config)
        with self.lock:  # held while building: a second thread that wants the same table waits for it
            table = self.alive.get(key)
            if table is None:
                table = _build(config)
            self.alive[key] = self.recent[key] = table
            self.recent.move_to_end(key)
            self._shrink()
            return table

    def _shrink(self) -> None:
        size = sum(table.nbytes for table in self.recent.values())
        while size > self.limit and len(self.recent) > 1:
            size -= self.recent.popitem(last=False)[1].nbytes


_CACHE = _Cache(CACHE_BYTES)
