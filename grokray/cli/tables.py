"""Tables that fit the terminal, and what became of a sweep's trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from grokray.cli.wording import value
from grokray.tasks.resolve import CLEAR_NAMES
from grokray.wording import NOTHING, count, first_line, percent

if TYPE_CHECKING:
    from grokray.records.trial_state import TrialState
    from grokray.sweep.config import SweepConfig
    from grokray.sweep.progress import Progress

SHOWN_ID = 8
SHOWN_ERRORS = 3
LONG_NAME = 12  # of what is broken in the middle of a name


@dataclass(frozen=True, kw_only=True)
class Column:
    """`cells` from top to bottom. `optional` columns go first where the terminal is narrow, the last one first."""

    name: str
    cells: Sequence[str]
    optional: bool = False
    number: bool = True


def fitted(columns: Sequence[Column], width: int) -> RenderableType:
    """A table of at most `width` characters: headings are broken, then columns left out and named below; where all that
    are left are needed, cells are broken into lines; and where no number would stay whole, each row is a list."""
    kept, left_out = list(columns), []
    while True:
        for broken in (False, True):
            if _fits(table := _table(kept, broken), width):
                return _with_names(table, left_out)
        optional = [column for column in kept if column.optional]
        if not optional:
            table = _table(kept, broken=True, folded=True)
            return _with_names(table, left_out) if _fits(table, width) else _lists(columns)
        kept.remove(optional[-1])
        left_out.insert(0, optional[-1].name)


def fits_whole(columns: Sequence[Column], width: int) -> bool:
    """Whether `fitted` would leave nothing out, and make no list."""
    return any(_fits(_table(columns, broken), width) for broken in (False, True))


def _fits(table: Table, width: int) -> bool:
    return Console(width=10_000, height=1).measure(table).maximum <= width  # both, or TERM=dumb means 80


def best_table(trials: Sequence[TrialState], varying: Sequence[str], width: int) -> RenderableType:
    """Trials as they come, with the parameters that vary. A trial that has not grokked has its last step, as
    `> 2,000`."""
    columns = [
        Column(name="trial", cells=[t.trial_id[:SHOWN_ID] for t in trials], number=False),
        Column(name="grok_step", cells=[_grok_step(t) for t in trials]),
        Column(name="held-out", cells=[percent(t.best.get("heldout_exact_match")) for t in trials]),
    ]
    columns += [Column(name=n, cells=[_setting(t, n) for t in trials], optional=True) for n in varying]
    memorized = [t.events.get("memorization_step") for t in trials]
    columns += [
        Column(name="memorized", cells=[_steps(m) for m in memorized], optional=True),
        Column(name="outcome", cells=[t.outcome or NOTHING for t in trials], optional=True, number=False),
    ]
    return fitted(columns, width)


def varying_parameters(config: SweepConfig) -> list[str]:
    """The parameters that have more than one value, by their clear names; `seed` where there are several."""
    names = [CLEAR_NAMES.get(name, name) for name, p in config.parameters.items() if not p.is_fixed]
    return [*dict.fromkeys(names), *(["seed"] if len(config.seeds) > 1 else [])]


def tally(counts: Mapping[str, int], order: Iterable[str]) -> str:
    """`9 grokked · 7 budget`: what was counted, known words first."""
    names = [*order, *sorted(counts.keys() - {*order})]
    return " · ".join(f"{counts[n]:,} {n}" for n in names if counts.get(n))


def _table(columns: Sequence[Column], broken: bool, folded: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        name = column.name.replace("_", "_\n").replace(" ", "\n") if broken else column.name
        table.add_column(Text(name), justify="right" if column.number else "left", no_wrap=True, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(_in_lines(cell) if folded else cell) for cell in row))
    return table


def _in_lines(cell: str) -> str:
    """Broken where it reads best: `18.7 % (10.2 to 28.2 %)` before the interval, a long name after its words."""
    if " " in cell:
        return cell.replace(" (", "\n(")
    return cell.replace("_", "_\n") if len(cell) > LONG_NAME else cell


def _lists(columns: Sequence[Column]) -> RenderableType:
    """Each row as lines: its first cell, and below it the others with their names."""
    lines = []
    for first, *others in zip(*(column.cells for column in columns), strict=True):
        lines.append(Text(first or NOTHING, style="bold"))
        lines += [Text(f"  {c.name}: {cell}") for c, cell in zip(columns[1:], others, strict=True)]
    return Group(*lines)


def _with_names(table: Table, left_out: Sequence[str]) -> RenderableType:
    """The table, and below it the columns that it leaves out."""
    return Group(table, Text(f"not shown here: {', '.join(left_out)}", style="dim")) if left_out else table


def _grok_step(trial: TrialState) -> str:
    step = trial.events.get("grok_step")
    return f"{step:,}" if step is not None else f"> {trial.last_step:,}"


def _steps(steps: int | None) -> str:
    return NOTHING if steps is None else f"{steps:,}"


def _setting(trial: TrialState, name: str) -> str:
    setting: Any = trial.seed if name == "seed" else trial.config.get(name)
    return value(setting)


def repeats(progress: Progress) -> Iterator[Text]:
    """Why there are fewer trials than were asked for."""
    if progress.repeats:
        again = count(progress.repeats, "configuration")
        yield Text(
            f"{again} repeated an earlier one, and {'was' if progress.repeats == 1 else 'were'} not trained again"
        )


def audit(progress: Progress) -> Iterator[Text]:
    """What became of the trials that were to be stopped, but ran on by lot; nothing where there are none."""
    found = progress.audit
    if found.audited:
        ran_on = f"{found.audited:,} of {count(found.stops, 'trial')} to be stopped ran on"
        yield Text(f"audit: {ran_on}, {found.grokked or 'none'} of them grokked")


def unmeasured(progress: Progress) -> Iterator[Text]:
    """Why measures of the user's own are missing, a line for each."""
    for name, fault in list(progress.faults.items())[:SHOWN_ERRORS]:
        yield Text(f"not measured: {name} {fault.times:,} ×, as {fault.error}")
    if (more := len(progress.faults) - SHOWN_ERRORS) > 0:
        yield Text(f"not measured: {count(more, 'other measure')} now and then")


def failures(progress: Progress) -> Iterator[Text]:
    """Why trials failed, a line for each of the most frequent reasons."""
    for error, number in list(progress.errors.items())[:SHOWN_ERRORS]:
        yield Text(f"failed: {number:,} × {first_line(error)}")
    if (more := len(progress.errors) - SHOWN_ERRORS) > 0:
        yield Text(f"failed: {count(more, 'other reason')}, in the column error of trials.parquet")
