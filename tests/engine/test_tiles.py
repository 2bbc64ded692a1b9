"""How the slots of a stack are divided."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.sharing import Sharing
from grokray.engine.tiles import ELEMENTS, MOST, PAD, cover, evaluated_tile, tile_width
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small

CPU = torch.device("cpu")


def shape(**changes) -> ShapeKey:
    return shape_of(build_dataset(small(**changes)))


def test_worked_examples():
    assert tile_width(shape(dim_model=32, batch_size=64)) == 16
    assert tile_width(shape(dim_model=128, batch_size=512, modulus=97)) == 1
    assert cover(19, (1, 16)) == [(0, 16), (16, 1), (17, 1), (18, 1)]


def test_how_many_slots_a_cpu_evaluates_at_once():
    """Of single rows, width 1 and bfloat16 one by one: such products are rounded by how many there are."""
    few = shape(modulus=13, dim_model=32, batch_size=64)
    assert evaluated_tile(few, 100) == 32
    assert evaluated_tile(shape(dim_model=128, modulus=97), 960) == 2
    assert evaluated_tile(few, 1) == evaluated_tile(replace(few, sharing=Sharing(1, 1)), 100) == 1
    assert evaluated_tile(shape(precision="bf16"), 100) == evaluated_tile(shape(dim_model=1, num_heads=1), 100) == 1


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100, 500, 2000, 100_000])
def test_a_tile_is_as_wide_as_the_cache_allows_and_a_power_of_two(batch_size):
    s = shape(batch_size=batch_size, modulus=97)
    width, elements = tile_width(s), s.batch_size * s.length * s.dim_model
    assert width in (1, 2, 4, 8, 16)
    if batch_size == 1:
        assert width == 1
        return
    assert width == 1 or width * elements <= ELEMENTS
    assert width == MOST or 2 * width * elements > ELEMENTS


@given(st.integers(1, 200), st.sampled_from([(1,), (16,), (1, 16), (16, 1), (1, 2), (4,)]))
def test_tiles_follow_each_other_and_hold_every_slot_once(training, widths):
    tiles = cover(training, widths)
    ends = [first + width for first, width in tiles]
    assert [first for first, _ in tiles] == [0, *ends[:-1]]
    assert {width for _, width in tiles} <= set(widths)
    assert ends[-1] >= training
    assert tiles[-1][0] < training  # no tile is empty


@given(st.integers(1, 200))
def test_where_single_slots_can_be_computed_no_tile_is_much_emptier_than_it_may_be(training):
    first, width = cover(training, (1, 16))[-1]
    assert training - first >= PAD * width


@pytest.mark.parametrize(("training", "tiles"), [(9, 9), (10, 1), (16, 1), (25, 10), (26, 2)])
def test_a_tile_that_is_full_enough_is_run_whole(training, tiles):
    assert len(cover(training, (1, 16))) == tiles
