"""Who is stopped early. One file per scheduler; `make_scheduler` is their table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from grokray.records.trial_state import Decision
from grokray.sweep.config import SweepConfig
from grokray.sweep.schedulers.asha import Asha
from grokray.sweep.schedulers.grok_asha import GrokAsha
from grokray.sweep.sections import Asha as AshaSection
from grokray.sweep.sections import GrokAsha as GrokAshaSection
from grokray.sweep.tune_loop import InOrder

Record = Callable[..., Any]


class Fifo(InOrder, FIFOScheduler):
    """Stops nobody."""


def make_scheduler(
    config: SweepConfig, *, max_steps: int, record: Record, decisions: Iterable[Decision]
) -> tuple[TrialScheduler, tuple[int, ...]]:
    """The scheduler and the steps at which it wants to be asked.

    `record(**fields)` is called with every decision, as the journal's `decision` event has it; `decisions` of
    earlier sessions fill the rungs again.
    """
    section = config.scheduler
    if isinstance(section, AshaSection):
        scheduler = Asha(section, max_steps=max_steps, record=record, seed=config.seed)
    elif isinstance(section, GrokAshaSection):
        scheduler = GrokAsha(section, record=record, seed=config.seed)
    else:
        return Fifo(), ()
    scheduler.refill(decisions)
    return scheduler, section.rungs(max_steps)
