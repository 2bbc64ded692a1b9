"""Tables: all rows of a task as tokens, in and out of domain, laid out for teacher forcing.

A row reads its prompt and the answer's tokens but the last one; each answer token, the first one too, is predicted
where the one before it is read. A worked example, `x+y_mod` modulo 97 in base 10, most_first, variable length, with
<PAD> as `_`:

    8 + 5 = 13    tokens     8 + 5 = 1 3 _ _      as long as the longest row, 48 + 48 = 96
                  positions  3 4 5                the columns of `=`, `1` and `3`, which predict
                  targets    1 3 <EOS>

Who makes a table is said in `grokray.tasks.families`; operations on pairs of numbers are in `pair_tables`. A table
must have tokens, positions, targets, in_domain, uniform, vocabulary and its tasks. What it has no use for it leaves
out: numbers (x, y, z, twins, code), rows that belong together (groups), an order from easy to hard (difficulty).

Trials with equal `table_key`s share one table, so nobody may write into it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from grokray.tasks.codes import NumberCode, Vocabulary
from grokray.tasks.families import family_of
from grokray.tasks.prefixes import SortedRows, sorted_rows
from grokray.trial import TrialConfig

# Tables that no dataset holds any more are kept up to this many bytes, the latest one always.
CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Rows [0, in_domain) are in domain, the rest out of domain; order of pairs: see `grokray.tasks.pairs`.

    tokens     (rows, length) int32: prompt and answer but its last token, right-padded
    positions  (rows, answers) int64: the column of `tokens` whose output predicts each answer token
    targets    (rows, answers) int64: the answer's tokens, −1 where there is none to score
    uniform    every row's positions are exactly the last `answers` columns; so in classification and fixed length
    vocabulary what the token ids mean; `vocabulary.for_task(i)` has the operator and equals sign of task i
    code       how numbers are written, for `decode_answer`; None where answers are no numbers
    x, y       (rows,) int64: the operands as shown (for `x/y_mod` dividend and divisor); None where rows are no pairs
    z          (rows,) int64: the answer; None where answers are no numbers
    twins      (rows,) int64: the row of the commuted pair (y, x) in domain, or −1; None where rows are no pairs
    task       (rows,) uint8: which of `task_names`; see `one_task`
    task_names the operations; the first one's rows come first in domain, and again out of domain
    groups     (rows,) int64: rows of one group stay on one side of the split; None where each row is its own
    difficulty (rows,) int32: what an ordered curriculum sorts by (for a pair its larger number); None for row order

    Padding follows all that is scored, so a causal model needs no padding mask; it must not have one either, since
    fixed length uses `<PAD>` as the blank sign.
    """

    tokens: Tensor
    positions: Tensor
    targets: Tensor
    in_domain: int
    uniform: bool
    vocabulary: Vocabulary
    task_names: tuple[str, ...]
    task: Tensor
    code: NumberCode | None = None
    x: Tensor | None = None
    y: Tensor | None = None
    z: Tensor | None = None
    twins: Tensor | None = None
    groups: Tensor | None = None
    difficulty: Tensor | None = None

    def __repr__(self) -> str:
        rows, length = self.tokens.shape
        return (
            f"<table of {', '.join(self.task_names)}: {rows:,} rows of {length} tokens, {self.in_domain:,} in domain>"
        )

    @cached_property
    def sorted_rows(self) -> SortedRows:
        """The rows by their tokens, and what neighbours share."""
        return sorted_rows(self.tokens)

    @cached_property
    def sorted_in_domain(self) -> SortedRows:
        """The same of those in domain alone, which come first."""
        return self.sorted_rows if self.in_domain == len(self.tokens) else sorted_rows(self.tokens[: self.in_domain])

    @property
    def nbytes(self) -> int:
        """Memory held, with what was sorted so far; what several views show counts once."""
        held = [part for value in vars(self).values() for part in (value if isinstance(value, tuple) else (value,))]
        storages = [part.untyped_storage() for part in held if isinstance(part, Tensor)]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def table_key(config: TrialConfig) -> tuple[object, ...]:
    """What shapes the table, and nothing else: no seed, fraction, split or curriculum."""
    return config.operation, *family_of(config.operation).key(config)


def build_table(config: TrialConfig) -> Table:
    """The table of a resolved trial, shared with every trial of the same `table_key`."""
    return shared(table_key(config), lambda: family_of(config.operation).build(config))


def shared(key: tuple[object, ...], build: Callable[[], Table]) -> Table:
    """The table of this key, built unless there is one."""
    return _CACHE.get(key, build)


def one_task(rows: int) -> Tensor:
    """`task` (rows,) of a single task: one zero seen from every row, so it costs no memory."""
    return torch.zeros(1, dtype=torch.uint8).expand(rows)


class _Cache:
    """Least recently used tables, bounded by bytes. One that is still in use anywhere is found whatever the bound."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.recent: OrderedDict[tuple[object, ...], Table] = OrderedDict()
        self.alive: WeakValueDictionary[tuple[object, ...], Table] = WeakValueDictionary()
        self.lock = Lock()

    def get(self, key: tuple[object, ...], build: Callable[[], Table]) -> Table:
        with self.lock:  # held while building: a second thread that wants the same table waits for it
            table = self.alive.get(key)
            if table is None:
                table = build()
            self.alive[key] = self.recent[key] = table
            self.recent.move_to_end(key)
            self._shrink()
            return table

    def _shrink(self) -> None:
        size = sum(table.nbytes for table in self.recent.values())
        while size > self.limit and len(self.recent) > 1:
            size -= self.recent.popitem(last=False)[1].nbytes


_CACHE = _Cache(CACHE_BYTES)
