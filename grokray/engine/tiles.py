"""How many of a stack's slots are computed at once.

On a CPU a stack is computed tile by tile, each tile for several steps on end, so that its weights and activations stay
in the core's cache: what a wide tile saves in overhead it loses many times over where it spills to memory. No trial
feels how wide its tile is. A GPU takes as many slots at once as its memory holds.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from grokray.engine.shape import ShapeKey

Tiles = list[tuple[int, int]]  # (first slot, width)

ELEMENTS = 1 << 17  # of one layer's activations over a tile's slots (see docs/log.md for what was measured)
EAGER_ELEMENTS = 1 << 19  # eager kernels have more overhead to share, and leave the cache at every operation anyway
MOST = 16  # beyond, nothing more was gained
EAGER_MOST = 32  # so that the 20 trials that `cpu: 0.05` puts on a core are one tile
EVALUATED_ELEMENTS = 1 << 22  # of one layer over the slots that a GPU evaluates at once: as much as keeps it busy
PAD = 0.6  # a tile this full is run whole, rather than slot by slot


def tile_width(shape: ShapeKey, elements: int = ELEMENTS, most: int = MOST) -> int:
    """Of a CPU: a power of two, `most` at most. `elements` may be activated in a tile.

    With batches of 64 rows of 4 tokens, width 32: 16. With batches of 512 rows of 4 tokens, width 128: 1. And 1 for
    batches of one row, models of width 1, and bfloat16: how such products are rounded depends on how many there are.
    """
    if _rounds_by_number(shape, shape.batch_size):
        return 1
    return _power(elements // (shape.batch_size * shape.length * shape.dim_model), most)


def evaluated_width(shape: ShapeKey, bucket: int) -> int:
    """How many slots of a bucket a GPU evaluates at once: a function of these two alone, so that in one bucket no
    trial's metrics depend on how many others are due at the same time.

    Of x/y mod 97, width 128: 16.
    """
    return _power(EVALUATED_ELEMENTS // _evaluated_elements(shape), bucket)


def evaluated_tile(shape: ShapeKey, fewest: int) -> int:
    """How many slots a CPU evaluates at once, at most, that compiles nothing, in chunks of `fewest` rows and more: as
    many as a tile would have, and one where a tile would for the sake of rounding.

    Of x+y mod 13, width 32: 32. Of x/y mod 97, width 128: 2.
    """
    prefixes = shape.sharing.prefixes * shape.sharing.length
    if _rounds_by_number(shape, fewest) or prefixes == 1:
        return 1
    return _power(EAGER_ELEMENTS // _evaluated_elements(shape), EAGER_MOST)


def library_widths(shape: ShapeKey, trials: float = math.inf) -> tuple[int, ...]:
    """The widths that kernels of a CPU are compiled for, rising: one slot, and a whole tile where that is more and so
    many trials at once fill it."""
    tile = tile_width(shape)
    return (1, tile) if tile > 1 and _fills(trials, tile) else (1,)


def cover(training: int, widths: Collection[int]) -> Tiles:
    """Tiles of the given widths that hold the first `training` slots, the last one perhaps
    with some to spare: cover(19, (1, 16)) is [(0, 16), (16, 1), (17, 1), (18, 1)]."""
    out, start = [], 0
    for width in sorted(widths, reverse=True):
        while _fills(training - start, width):
            out.append((start, width))
            start += width
    if start < training:  # not even the narrowest is as full as that
        out.append((start, min(widths)))
    return out


def powers(widest: int) -> list[int]:
    """The widths that a GPU's buckets may have, rising: powers of two."""
    return [1 << power for power in range(widest.bit_length())]


def buckets(training: int, widths: Collection[int]) -> Tiles:
    """Tiles of a GPU, which computes slots for nothing until it is full: as wide as may be, the last one the narrowest
    that holds the rest. buckets(19, powers(8)) is [(0, 8), (8, 8), (16, 4)].
    """
    widest = max(widths)
    out = [(first, widest) for first in range(0, training - widest + 1, widest)]
    first = len(out) * widest
    if first < training:
        out.append((first, min(width for width in widths if width >= training - first)))
    return out


def _fills(slots: float, width: int) -> bool:
    """Whether a tile of that width is run whole for so many slots."""
    return slots >= PAD * width


def _power(fit: int, most: int) -> int:
    """The largest power of two up to both, at least 1."""
    return 1 << (max(1, min(fit, most)).bit_length() - 1)


def _rounds_by_number(shape: ShapeKey, rows: int) -> bool:
    """Whether products of so many rows are rounded by how many slots are computed at once."""
    return 1 in (rows, shape.dim_model) or shape.precision == "bf16"


def _evaluated_elements(shape: ShapeKey) -> int:
    """Of one layer's activations over a chunk of one slot."""
    return shape.chunk_rows * (shape.length - shape.sharing.length) * shape.dim_model
