"""An epoch's last batch, which holds what is left of the training rows.

Adam takes a step of the usual length whatever a batch holds, so one of few rows is mostly a step of noise: such batches
kept trials from memorizing (docs/log.md, 2026-11-30).
"""

from __future__ import annotations

from grokray.trial import TrialConfig

SMALL, FEW = 1 / 8, 32  # of batch_size; rows


def epoch_rows(config: TrialConfig, rows: int) -> int:
    """Of so many training rows those that an epoch has: `drop_last` leaves out a last batch that is smaller, unless it
    is the only one."""
    return rows - rows % config.batch_size if config.drop_last and rows >= config.batch_size else rows


def small_last_batch(config: TrialConfig, rows: int) -> int:
    """How many rows the last batch has, where these are few, and much fewer than the others'; else 0."""
    last = epoch_rows(config, rows) % config.batch_size
    return last if rows > config.batch_size and last < min(SMALL * config.batch_size, FEW) else 0


def what_it_may_do(last: int) -> str:
    rows = "1 row" if last == 1 else f"{last:,} rows"
    return f"{rows}, whose noise may keep a trial from memorizing; drop_last leaves it out"
