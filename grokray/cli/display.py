"""A running sweep on the screen: a live picture in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from grokray.cli.pace import Pace
from grokray.cli.tables import best_table, tally, varying_parameters
from grokray.cli.wording import duration
from grokray.events import OUTCOMES
from grokray.wording import count, listed

if TYPE_CHECKING:
    from grokray.sweep.config import SweepConfig
    from grokray.sweep.progress import Progress
    from grokray.sweep.runner import Observer

LINE_EVERY_S = 10.0
LINE_AT_MOST_EVERY_S = 2.0  # where trials have ended since


def show_notes(console: Console, config: SweepConfig) -> None:
    """What loading read otherwise than written, what of it no trial uses, and what it found no more."""
    for note in config.notes:
        console.print(Text(f"note: {note}"))
    if gone := [*config.stand_ins]:
        are, copies = ("is", "the copy") if len(gone) == 1 else ("are", "the copies")
        text = f"note: {listed(gone)} {are} no longer there: {copies} in the sweep's folder {are} used"
        console.print(Text(text), soft_wrap=True)


@contextmanager
def observing(console: Console, config: SweepConfig, budget: int) -> Iterator[Observer]:
    """An observer that shows on the console what it is told; `budget` is the most steps that a trial may take."""
    from grokray.sweep.runner import Observer

    if not console.is_terminal or console.is_dumb_terminal:
        lines = Lines(console, Pace(budget))
        yield Observer(message=lines.say, progress=lines.take)
        return
    picture = Picture(config.name, varying_parameters(config), Pace(budget))
    with Live(picture, console=console, refresh_per_second=2, transient=True) as live:
        yield Observer(message=lambda text: live.console.print(Text(text)), progress=picture.take)


class Picture:
    """What is drawn anew twice a second."""

    def __init__(self, name: str, varying: list[str], pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.varying, self.pace, self.clock = name, varying, pace, clock
        self.progress: Progress | None = None
        self._start = clock()

    def take(self, progress: Progress) -> None:
        self.pace.add(self.clock(), progress)
        self.progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        elapsed = duration(self.clock() - self._start)
        p = self.progress
        if p is None:
            yield Text(f"{self.name}: starting · {elapsed}")
            return
        yield Text.assemble((self.name, "bold"), f" · {p.ended:,} of {count(p.total, 'trial')} ended · {elapsed}")
        # A bar by itself ends without a line break.
        yield Padding(ProgressBar(total=max(p.total, 1), completed=p.ended), 0)
        yield Text(f"{p.running:,} running · {p.waiting:,} waiting · {_outcomes(p)}")
        yield Text(_speed(self.pace, p))
        if p.best:
            yield Group(Text(), best_table(p.best, self.varying, options.max_width))


class Lines:
    """Plain lines: at the latest every 10 s, sooner where trials have ended, never more than one in 2 s."""

    def __init__(self, console: Console, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.pace, self.clock = console, pace, clock
        self._start, self._last, self._ended = clock(), float("-inf"), 0

    def say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def take(self, progress: Progress) -> None:
        now = self.clock()
        self.pace.add(now, progress)
        patience = LINE_EVERY_S if progress.ended == self._ended else LINE_AT_MOST_EVERY_S
        if now - self._last < patience:
            return
        self._last, self._ended = now, progress.ended
        p, elapsed = progress, duration(now - self._start)
        self.say(f"{elapsed}: {p.ended:,} of {p.total:,} ended, {p.running:,} running · {_outcomes(p)}")
        if p.running:
            self.say(f"  {_speed(self.pace, p)}")


def _outcomes(progress: Progress) -> str:
    counts = {"grokked": 0, **progress.outcomes}
    rest = {name: n for name, n in counts.items() if name != "grokked"}
    return " · ".join(filter(None, [f"{counts['grokked']:,} grokked", tally(rest, OUTCOMES)]))


def _speed(pace: Pace, progress: Progress) -> str:
    rate, left = pace.steps_per_s, pace.seconds_left(progress)
    if rate is None or left is None:
        return f"{count(progress.steps, 'trial-step')} so far"
    return f"{rate:,.0f} trial-steps/s · about {duration(left)} left"
