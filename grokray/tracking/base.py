"""What a tracker is, and what it is given.

Trackers run beside grokray's own records, in the driver's process alone. They read the journal's events, plain
mappings; all that they know of records is a `Fold`, which the sweep hands in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Event = dict[str, Any]
NOTHING_YET = -1  # the step up to which a new trial is written: there may be a point at 0


class Tracker(Protocol):
    """Shows events to somebody else. May raise anything: who calls it goes on without it.

    `observe` only takes an event in, so it is quick; `settle` writes out what came in, and may take its time.
    """

    name: str
    written: int  # rises with every point and every trial that is written: a sign of life

    def observe(self, event: Event) -> None:
        """Take one event. Events of one trial may come in any order: they lie in several parts of the journal."""
        ...

    def settle(self, *, whole: bool) -> None:
        """Write what is ready. `whole`: every event that lies in the journal now has been observed."""
        ...

    def close(self) -> None:
        """Write the rest. Nothing is observed afterwards; what has not ended may go on in a later session."""
        ...

    def abandon(self) -> None:
        """In place of `close`, after something went wrong: let go of everything."""
        ...


class Fold(Protocol):
    """What the events of one trial, and those of the sessions, come to, in whatever order they are read."""

    def apply(self, event: Event) -> None: ...

    @property
    def trial_id(self) -> str | None: ...

    @property
    def config(self) -> dict[str, Any] | None:
        """Every field of the trial's config; None until its `trial` event was read."""
        ...

    @property
    def index(self) -> int | None: ...

    @property
    def ended(self) -> bool: ...

    @property
    def run_again(self) -> bool:
        """Whether it had failed for good, and was run again: an earlier session may have told of that end."""
        ...

    @property
    def last_step(self) -> int:
        """Of the newest measurement; 0 before the first."""
        ...

    @property
    def end_step(self) -> int:
        """The trial is known to have got there; 0 while it has not ended."""
        ...

    def row(self) -> dict[str, Any]:
        """The trial's row in trials.parquet."""
        ...

    def examples(self) -> list[dict[str, Any]]:
        """Its validation examples, each with the step at which it was written, if there are any."""
        ...


MakeFold = Callable[[], Fold]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`wandb`: how much is sent. `mode`: where to; auto is online where a key is configured, else offline."""

    wandb: Literal["maximal", "minimal", "disabled"] = "disabled"
    mode: Literal["auto", "online", "offline"] = "auto"
    project: str = "grokray"
    entity: str | None = None
    tensorboard: bool = False

    @property
    def wanted(self) -> bool:
        return self.tensorboard or self.wandb != "disabled"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement: `values` are finite numbers by name, `time` unix seconds."""

    step: int
    time: float
    values: dict[str, float]


def point_of(event: Event) -> Point:
    """Of a `measurement`. A task's own metrics are named after it: `x+y_mod/heldout_loss`."""
    values = dict(event["metrics"])
    for task, metrics in (event.get("tasks") or {}).items():
        values |= {f"{task}/{name}": value for name, value in metrics.items()}
    values["wall_time_s"] = event.get("wall_time_s")
    numbers = {name: float(v) for name, v in values.items() if isinstance(v, int | float)}
    return Point(step=event["step"], time=event["t"], values=numbers)
