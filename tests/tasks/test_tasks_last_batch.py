"""What is left of the training rows for an epoch's last batch."""

from __future__ import annotations

import pytest

from grokray.tasks.last_batch import epoch_rows, small_last_batch
from grokray.trial import TrialConfig


@pytest.mark.parametrize(
    ("rows", "size", "dropped", "kept"),
    [
        (264, 128, True, 256),
        (264, 128, False, 264),
        (256, 128, True, 256),
        (100, 128, True, 100),
        (128, 128, True, 128),
    ],
)
def test_an_epoch_leaves_out_its_last_batch_where_it_is_smaller_but_for_the_only_one(rows, size, dropped, kept):
    assert epoch_rows(TrialConfig(batch_size=size, drop_last=dropped), rows) == kept


@pytest.mark.parametrize(
    ("rows", "size", "last"),
    [
        (264, 128, 8),
        (264, 132, 0),
        (264, 110, 0),  # 44 of 110
        (8, 128, 0),  # the only one
        (7 * 104 + 12, 104, 12),
        (7 * 104 + 13, 104, 0),  # an eighth
        (4_656, 512, 0),  # 48 of Power et al.'s
        (2 * 512 + 31, 512, 31),
    ],
)
def test_a_last_batch_is_small_where_it_has_few_rows_and_much_fewer_than_others(rows, size, last):
    assert small_last_batch(TrialConfig(batch_size=size), rows) == last
    assert small_last_batch(TrialConfig(batch_size=size, drop_last=True), rows) == 0
