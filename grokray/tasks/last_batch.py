"""An epoch's last batch, which holds what is left of the training rows."""

from __future__ import annotations

from grokray.trial import TrialConfig

SMALL = 0.25  # of batch_size: such batches kept trials from memorizing, see docs/log.md, 2026-11-30


def epoch_rows(config: TrialConfig, rows: int) -> int:
    """Of so many training rows those that an epoch has: `drop_last` leaves out a last batch that is smaller, unless it
    is the only one."""
    return rows - rows % config.batch_size if config.drop_last and rows >= config.batch_size else rows


def small_last_batch(config: TrialConfig, rows: int) -> int:
    """How many rows the last batch has, where these are few beside those of the others; else 0."""
    last = epoch_rows(config, rows) % config.batch_size
    return last if rows > config.batch_size and last < SMALL * config.batch_size else 0


def what_it_may_do(last: int) -> str:
    rows = "1 row" if last == 1 else f"{last:,} rows"
    return f"{rows}, whose noise may keep a trial from memorizing; drop_last leaves it out"
