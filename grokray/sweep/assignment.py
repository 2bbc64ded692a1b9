"""What a trainer is given and what it hands back. Apart from the trainer, so that the driver needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COMPILING = "training starts when the kernels of its shape are compiled: a minute or so, once on this machine"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One trial to run. At each step of `rungs` it waits for a decision; `attempt` counts its starts from 0.

    `keep_checkpoints` is one of `sections.KEEP`; `examples` are written of each part at every measurement.
    """

    trial_id: str
    config: dict[str, Any]
    attempt: int = 0
    rungs: tuple[int, ...] = ()
    decided: int = 0  # the highest rung that let it pass; a checkpoint may lie beyond one that was never asked
    checkpoint_interval: int = 1_000
    keep_checkpoints: str = "none"
    examples: int = 0
    planned_steps: float | None = None  # of its shape, over the whole sweep
    compiled: bool | None = None  # how it began; None where it has not
    session: str = ""  # of the driver that gives it
    fresh: bool = False  # nobody can have begun it, so nobody needs to look for a checkpoint


@dataclass(frozen=True, kw_only=True)
class Report:
    """A measurement that decides something: the trial waits at `rung`, or it has ended with `outcome`."""

    trial_id: str
    step: int
    metrics: dict[str, float]
    events: dict[str, Any]
    wall_time_s: float
    rung: int | None = None
    outcome: str | None = None
