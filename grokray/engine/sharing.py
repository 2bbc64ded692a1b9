"""What is computed once for many rows: the tokens that they begin with.

The model is causal, so what it computes at a row's first tokens is the same for every row that begins with them. Of
x/y mod 97 half of each row is one of 97 prefixes. An evaluation computes one for about 96 rows. A batch of 512 rows has
about five of each, and computes all 97; but only without dropout, by which no two rows are computed alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from grokray.tasks.tables import Table

CHUNK_ROWS = 2048  # at most
CHUNK_ROUND = 32  # tables that differ a little have chunks of one size
CHUNK_ELEMENTS = 1 << 18  # of one slot's activations; a constant of the shape, so that neighbours change no sum
SLACK = 1.5  # room for more prefixes than a chunk has on average: a sample of the rows shares less
ROUND = 8  # tables that differ a little have equal shapes
WORTH = 0.85  # of the work without sharing: what saves less is not worth its gathers
BATCH_WORTH = 0.91  # the same, of a batch
LEAST_SAVED = 1 << 24  # multiplications of a batch: some 30 operations more cost as much


class Sharing(NamedTuple):
    """A chunk of an evaluation, or a batch, has up to `prefixes` distinct prefixes of `length` tokens; 0 of both: no
    sharing."""

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
    whole = work_of_a_row(Sharing(), 0, length, answers, num_layers)
    best, least = Sharing(), WORTH * whole
    for shared in range(1, int(table.positions.min()) + 1):
        chunk = chunk_rows(rows, length - shared, dim_model)
        distinct = table.sorted_rows.distinct(shared)
        most = math.ceil(SLACK * chunk * distinct / rows / ROUND) * ROUND
        option = Sharing(shared, min(most, distinct))
        work = work_of_a_row(option, chunk, length, answers, num_layers)
        if work < least:
            best, least = option, work
    return best


def batch_sharing_of(table: Table, *, num_layers: int, dim_model: int, batch_size: int, by_token: bool) -> Sharing:
    """The same for batches, which compute every prefix that is in domain.

    For x/y mod 97, width 128, two layers, batches of 512: 2 tokens.
    """
    length, answers = table.tokens.shape[1], table.targets.shape[1]
    first = _of_first_layer(num_layers) if by_token else 0
    whole = work_of_a_row(Sharing(), 0, length, answers, num_layers, first)
    best, least = Sharing(), BATCH_WORTH * whole
    for shared in range(1, int(table.positions.min()) + 1):
        option = Sharing(shared, math.ceil(table.sorted_in_domain.distinct(shared) / ROUND) * ROUND)
        work = work_of_a_row(option, batch_size, length, answers, num_layers, first)
        # The rows' gradients of each layer's keys and values, added up for each prefix; what comes before and after,
        # is done forward and twice backward.
        work += option.prefixes * shared * 2 * num_layers / (3 * dim_model)
        if work < least and 3 * (whole - work) * batch_size * dim_model**2 >= LEAST_SAVED:
            best, least = option, work
    return best


def _of_first_layer(num_layers: int) -> int:
    """Maps of the width at each position: queries, keys and values; an only layer has queries at the answers alone."""
    return 3 if num_layers > 1 else 2


def chunk_rows(rows: int, length: int, dim_model: int) -> int:
    """Rows of one pass over so many, of which `length` tokens each are computed.

    What is compiled computes a chunk whole, the last one too, so all are about equally full. Counted are the rows of a
    whole square, so that those of x/y, which lack y = 0, are chunked as those of x+y are: 9,312 and 9,409 by 960 each.
    """
    most = max(1, min(CHUNK_ROWS, CHUNK_ELEMENTS // (length * dim_model)))
    square = (math.isqrt(rows - 1) + 1) ** 2
    even = math.ceil(square / math.ceil(square / most))
    return min(math.ceil(even / CHUNK_ROUND) * CHUNK_ROUND, most)


def work_of_a_row(sharing: Sharing, rows: int, length: int, answers: int, num_layers: int, saved: int = 0) -> float:
    """Multiplications for each of so many rows, in units of the width squared: a layer has 12 at each position, the
    last one keys and values at each and the rest at the answers alone; `saved` at each position are not done."""
    position = 12 * (num_layers - 1) + 2 - saved
    once = sharing.prefixes * sharing.length * position / rows if rows else 0.0
    return once + (length - sharing.length) * position + 10 * answers
