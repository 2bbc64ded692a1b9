"""An epoch's last batch, which holds what is left of the training rows.

Adam takes a step of the usual length whatever a batch holds, so one of few rows is mostly a step of noise. Where epochs
are short that kept trials from memorizing (docs/log.md, 2026-11-30).
"""

from __future__ import annotations

from grokray.trial import TrialConfig

SMALL = 0.25  # of batch_size
SHORT = 8  # batches of an epoch; among more than that one small batch did no harm


def epoch_rows(config: TrialConfig, rows: int) -> int:
    """Of so many training rows those that an epoch has: `drop_last` leaves out a last batch that is smaller, unless it
    is the only one."""
    return rows - rows % config.batch_size if config.drop_last and rows >= config.batch_size else rows


def small_last_batch(config: TrialConfig, rows: int) -> int:
    """How many rows the last batch has, where these are few and the epoch is short; else 0."""
    full, last = divmod(epoch_rows(config, rows), config.batch_size)
    return last if 1 <= full < SHORT and last < SMALL * config.batch_size else 0


def what_it_may_do(last: int) -> str:
    rows = "1 row" if last == 1 else f"{last:,} rows"
    return f"{rows}, whose noise may keep a trial from memorizing; drop_last leaves it out"
