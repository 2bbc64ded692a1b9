"""One trial's curve out of a sweep's tables: what a figure of it shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from grokray.arguments import start_of_id
from grokray.errors import ConfigError, FolderError, Problem
from grokray.records.collect import collect, tell_all
from grokray.records.folder import MANIFEST, SweepFolder
from grokray.records.schema import CURVES_SCHEMA
from grokray.records.tables import read_curves, read_task_curves, read_tasks, read_trials
from grokray.trial import MEASURES, PARTS
from grokray.wording import listed


@dataclass(frozen=True, kw_only=True)
class TaskCurve:
    """One task of a trial of several, on held-out pairs: as long as the trial's own lists."""

    grok_step: int | None
    loss: list[float | None]
    accuracy: list[float | None]


@dataclass(frozen=True, kw_only=True)
class TrialCurve:
    """Equally long lists; a value is None where it was not measured, or was no number.

    `row` is the trial's row in trials.parquet; `loss` and `accuracy` (exact match) are by part, without the parts
    that the trial does not have. `tasks` has each task of a trial of several, in their order; `measures` what else was
    measured, by the names of MEASURES, and then those of the user's own.
    """

    row: dict[str, Any]
    steps: list[int]
    loss: dict[str, list[float | None]]
    accuracy: dict[str, list[float | None]]
    tasks: dict[str, TaskCurve] = field(default_factory=dict)
    measures: dict[str, list[float | None]] = field(default_factory=dict)


def trial_curve(folder: SweepFolder, trial: str | None = None, *, best: bool = False) -> TrialCurve:
    """The curve of one trial: by its id or the start of it, the best one, or the only one that there is.

    Makes the tables anew where the journal has gone on since. ConfigError if the trial is not clear, or not measured.
    """
    bring_up_to_date(folder)
    row = choose(read_trials(folder).to_pylist(), trial, best=best, where=str(folder.store))
    table = on_logarithmic_axes(read_curves(folder, [row["trial_id"]]))
    if not table.num_rows:
        raise _refused(f"trial {row['trial_id']} has no measurement yet")
    curve = curve_of(row, table)
    return replace(curve, tasks=_tasks(folder, row["trial_id"], curve.steps))


def curve_of(row: dict[str, Any], table: pa.Table) -> TrialCurve:
    """Of a trial's row and its measurements, one at least, CURVES_SCHEMA by step; without its single tasks."""
    return TrialCurve(
        row=row,
        steps=table["step"].to_pylist(),
        loss=_columns(table, "loss"),
        accuracy=_columns(table, "exact_match"),
        measures=_measured(table, {name: name for name in _others(table.column_names)}),
    )


def _others(names: Collection[str]) -> list[str]:
    """Of a curve's columns those that are neither losses nor accuracies."""
    own = [name for name in names if name not in CURVES_SCHEMA.names and name not in MEASURES]
    return [*(name for name in MEASURES if name in names), *own]


def on_logarithmic_axes(measured: pa.Table) -> pa.Table:
    """CURVES_SCHEMA without step 0, for which such an axis has no place."""
    return measured.filter(pc.field("step") > 0)


def bring_up_to_date(folder: SweepFolder) -> None:
    """Collect, unless the tables are newer than all of the journal, or are all that there is. Where nothing can be
    written they are taken as they are, if they tell all that the journal tells; else FolderError."""
    store = folder.store
    parts = [name for name in store.sizes("journal") if name.endswith(".jsonl")]
    # Not by the clock: an archive may give files the year 1970, which no table is newer than.
    if not parts and store.exists(MANIFEST):
        return
    paths = [store.path(name) for name in (MANIFEST, *parts)]
    infos = store.patiently(lambda: store.filesystem.get_file_info(paths))
    made, *written = [info.mtime_ns or 0 for info in infos]
    if made <= max(written, default=0):
        try:
            collect(folder)
        except FolderError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # A copy has the times at which it was copied.
            if store.exists(MANIFEST) and tell_all(folder):
                return
            hint = "its tables are older than its journal; `grokray fetch` copies it to where they can be made anew"
            raise FolderError(str(error), hint=hint) from error


def choose(rows: Sequence[dict[str, Any]], trial: str | None, *, best: bool, where: str) -> dict[str, Any]:
    """The row that is meant; ConfigError where none is, or several are."""
    if not rows:
        raise _refused(f"{where} holds no trial yet")
    if best:
        return min(rows, key=_rank)
    start = "" if trial is None else start_of_id(trial)
    found = [row for row in rows if row["trial_id"].startswith(start)]
    if len(found) == 1:
        return found[0]
    ids = listed([row["trial_id"] for row in found])
    if not found:
        raise _refused(f"{where} holds no trial whose id starts with {trial}")
    what = "trials" if trial is None else f"trials whose id starts with {trial}"
    raise _refused(
        f"{where} holds {len(found):,} {what}: {ids}", hint="Name one of them, or take the best with --best."
    )


def _rank(row: dict[str, Any]) -> tuple[bool, float, float]:
    """Earliest grokking first, then the best held-out exact match, then the lowest held-out loss."""
    grok_step, accuracy, loss = row["grok_step"], row["best_heldout_exact_match"], row["best_heldout_loss"]
    if grok_step is not None:
        return (False, grok_step, 0.0)
    return (True, -1.0 * (accuracy or 0.0), float("inf") if loss is None else loss)


def _columns(table: pa.Table, metric: str) -> dict[str, list[float | None]]:
    return _measured(table, {part: f"{part}_{metric}" for part in PARTS})


def _measured(table: pa.Table, columns: Mapping[str, str]) -> dict[str, list[float | None]]:
    """Those of the columns that hold anything."""
    found = {name: table[column] for name, column in columns.items()}
    return {name: column.to_pylist() for name, column in found.items() if column.null_count < len(column)}


def _tasks(folder: SweepFolder, trial_id: str, steps: Sequence[int]) -> dict[str, TaskCurve]:
    rows = [row for row in read_tasks(folder).to_pylist() if row["trial_id"] == trial_id]
    if not rows:
        return {}
    measured = read_task_curves(folder)
    measured = measured.filter(pc.field("trial_id") == trial_id)
    keys = zip(*(measured[name].to_pylist() for name in ("task", "metric", "step")), strict=True)
    values = dict(zip(keys, measured["value"].to_pylist(), strict=True))

    def series(task: str, metric: str) -> list[float | None]:
        return [values.get((task, f"heldout_{metric}", step)) for step in steps]

    return {
        task: TaskCurve(grok_step=row["grok_step"], loss=series(task, "loss"), accuracy=series(task, "exact_match"))
        for row in rows
        for task in [row["task"]]
    }


def _refused(message: str, *, hint: str | None = None) -> ConfigError:
    return ConfigError([Problem(message=message)], hint=hint)
