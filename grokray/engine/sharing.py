"""What an evaluation computes once for many rows: the tokens that they begin with.

The model is causal, so what it computes at a row's first tokens is the same for every row that begins with them. Of
x/y mod 97 half of each row is one of 97 prefixes, computed once for about 96 rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from grokray.tasks.tables import Table

CHUNK_ROWS = 2048  # at most: what is compiled is computed whole, also for a table of few rows
CHUNK_ELEMENTS = 1 << 18  # of one slot's activations; a constant of the shape, so that neighbours change no sum
SLACK = 1.5  # room for more prefixes than a chunk has on average: a sample of the rows shares less
ROUND = 8  # tables that differ a little have equal shapes
WORTH = 0.85  # of the work without sharing: what saves less is not worth its gathers


class Sharing(NamedTuple):
    """A chunk of an evaluation has up to `prefixes` distinct prefixes of `length` tokens; 0 of both: no sharing."""

    length: int = 0
    prefixes: int = 0

    def __str__(self) -> str:
        return f"{self.prefixes} × {self.length} tokens" if self.length else "nothing"


def sharing_of(table: Table, *, num_layers: int, dim_model: int) -> Sharing:
    """The length that leaves the least to compute, a function of the table and the model's shape alone.

    For x/y mod 97, width 128, two layers: 2 tokens.
    """
    rows, length = table.tokens.shape
    answers = table.targets.shape[1]
    whole = _work(Sharing(), 0, length, answers, num_layers)
    best, least = Sharing(), WORTH * whole
    for shared in range(1, int(table.positions.min()) + 1):
        chunk = chunk_rows(length - shared, dim_model)
        distinct = table.sorted_rows.distinct(shared)
        most = math.ceil(SLACK * chunk * distinct / rows / ROUND) * ROUND
        option = Sharing(shared, min(most, distinct))
        work = _work(option, chunk, length, answers, num_layers)
        if work < least:
            best, least = option, work
    return best


def chunk_rows(length: int, dim_model: int) -> int:
    """Rows of one pass of which `length` tokens each are computed."""
    return max(1, min(CHUNK_ROWS, CHUNK_ELEMENTS // (length * dim_model)))


def _work(sharing: Sharing, chunk: int, length: int, answers: int, num_layers: int) -> float:
    """Multiplications for each row of a chunk, in units of the width squared: a layer has 12 at each position, the last
    one keys and values at each and the rest at the answers alone."""
    position = 12 * (num_layers - 1) + 2
    once = sharing.prefixes * sharing.length * position / chunk if chunk else 0.0
    return once + (length - sharing.length) * position + 10 * answers
