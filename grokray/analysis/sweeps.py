"""One or several sweeps' tables as one: all trials in memory, curves read when they are asked for.

Several folders may hold sweeps of one search space with other seeds, or of different ones. Their trials are numbered
through, and configurations with equal parameters are one. A trial that two folders hold is counted once, as the folder
has it where it came to its end without being audited, or else where it went further.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grokray.analysis.lost_steps import with_lost_steps
from grokray.analysis.made_columns import with_made
from grokray.analysis.outcomes import DECIDED, NO_PARAMETERS
from grokray.analysis.space import Space, narrowed, space_of_sweep, space_of_trials
from grokray.analysis.trial_curve import bring_up_to_date
from grokray.analysis.wording import counted
from grokray.arguments import a_path, refused
from grokray.errors import ConfigError, Problem
from grokray.records.folder import SweepFolder
from grokray.records.parts import missing_parts, not_there, parts_of
from grokray.records.schema import CONFIG_FIELDS, TRIALS_SCHEMA
from grokray.records.store import Store
from grokray.records.tables import (
    curve_columns,
    curve_parts,
    read_curves,
    read_manifest,
    read_tasks,
    read_trials,
)
from grokray.trial import TrialConfig
from grokray.wording import count, listed, nearest, show

# What a column holds that an older table does not have. A field of the config had its default then.
_DEFAULTS: dict[str, Any] = {name: info.get_default() for name, info in TrialConfig.model_fields.items()}
_DEFAULTS |= {"audited": False}
BY_HAND = "by hand"


@dataclass(frozen=True, kw_only=True)
class Sweeps:
    """`trials`: TRIALS_SCHEMA and `sweep`, the folder's name, one row a trial, by trial_index. `notes`: what a reader
    should know of how they came together. `of`: how many trials there are, where these were chosen among them, and
    `chosen` by what: conditions, or BY_HAND."""

    folders: tuple[SweepFolder, ...]
    names: tuple[str, ...]
    trials: pa.Table
    notes: tuple[str, ...] = ()
    of: int | None = None
    chosen: tuple[str, ...] = ()

    def part(self, chosen: np.ndarray, by: tuple[str, ...] = (BY_HAND,)) -> Sweeps:
        """Those of the trials for which `chosen` (n,) bool is true, and the folders that have any; `by` says what chose
        them. ConfigError where there is none."""
        if not chosen.any():
            raise ConfigError([Problem(message=f"none of {self.trials.num_rows:,} trials is chosen", field="chosen")])
        trials, of = self.trials.filter(pa.array(chosen)), self.of or self.trials.num_rows
        part = dataclasses.replace(self, trials=trials, of=of, chosen=tuple(dict.fromkeys((*self.chosen, *by))))
        return part._without_empty_folders() if len(self.folders) > 1 else part

    def with_column(self, name: str, expression: str) -> Sweeps:
        """With one more column of the trials: see `made_columns`."""
        trials, note = with_made(self.trials, name, expression)
        return dataclasses.replace(self, trials=trials, notes=(*self.notes, *([note] if note else [])))

    @property
    def size(self) -> str:
        """`300 trials`, `120 of 300 trials`"""
        number = self.trials.num_rows
        return count(number, "trial") if self.of is None else f"{number:,} of {count(self.of, 'trial')}"

    @property
    def choice(self) -> str | None:
        """`120 of 300 trials were chosen: weight_decay>=0.1, base=10`; None where these are all."""
        if self.of is None:
            return None
        return f"{self.size} {'was' if self.trials.num_rows == 1 else 'were'} chosen: {', '.join(self.chosen)}"

    def _without_empty_folders(self) -> Sweeps:
        there, number = np.unique(self.trials["folder_number"].to_numpy(), return_inverse=True)
        trials = self.trials.drop_columns(["folder_number"])
        if len(there) > 1:
            trials = trials.append_column("folder_number", pa.array(number, pa.int64()))
        folders, names = (tuple(all_of[at] for at in there) for all_of in (self.folders, self.names))
        return dataclasses.replace(self, trials=trials, folders=folders, names=names)

    @property
    def _is_one_folder(self) -> bool:
        """Whether it is all of one folder: then its curves are taken as they are."""
        return len(self.folders) == 1 and self.of is None

    @property
    def name(self) -> str:
        return ", ".join(self.names)

    @property
    def one_space(self) -> bool:
        """Whether all trials were drawn from the same search space."""
        first, *others = map(_space_lines, self.folders)
        return all(lines == first for lines in others)

    @property
    def learned(self) -> bool:
        """Whether a search that learns chose configurations: then what goes with a parameter may be another's doing."""
        return any(folder.fingerprint.get("method") == '"tpe"' for folder in self.folders)

    @property
    def uneven(self) -> str | None:
        """Why the trials are no even sample of any space; None where they may be one."""
        if self.learned:
            return "tpe chose configurations by what came of others"
        return None if self.one_space else "the sweeps have different search spaces"

    def space(self) -> Space:
        """The space that the trials were drawn from; of sweeps that differ in it what all of them span, adaptively."""
        if self.one_space:
            try:
                whole = space_of_sweep(self.folders[0].fingerprint, self.trials)
                return whole if self.of is None else narrowed(whole, self.trials)
            except (KeyError, ValueError):  # a folder of a version that wrote other lines
                return space_of_trials(self.trials)
        # No even sample of anything: "tpe" has the share estimated by a model.
        guessed, kinds = space_of_trials(self.trials), self._kinds()
        axes = tuple(
            dataclasses.replace(axis, kind=kinds[axis.name]) if axis.name in kinds and axis.low > 0 else axis
            for axis in guessed.axes
        )
        note = "the sweeps have different search spaces; what their trials span together is taken as the space"
        return dataclasses.replace(guessed, axes=axes, method="tpe", notes=(note,))

    def _kinds(self) -> dict[str, str]:
        """Whether ranges are even in the value or in its logarithm, where all sweeps say the same: values that a search
        came to like do not look logarithmic, wherever they were drawn from."""
        said: dict[str, set[str]] = {}
        for folder in self.folders:
            try:
                axes = space_of_sweep(folder.fingerprint, self.trials).axes
            except (KeyError, ValueError):  # of a version that wrote other lines
                return {}
            for axis in axes:
                said.setdefault(axis.name, set()).add("" if axis.values else axis.kind)
        return {name: kind for name, kinds in said.items() for kind in kinds if kinds in ({"log"}, {"uniform"})}

    def curves(self, trial_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Measurements of all trials or some, by trial_index and step. An id may be the start of one. ConfigError for a
        column that none has, and for an id of no trial, or of several."""
        self._check(columns)
        owned, parts = self._owned(), []
        ids = None if trial_ids is None else _whole_ids(trial_ids, set().union(*owned))
        for folder, own in zip(self.folders, owned, strict=True):
            wanted = own if ids is None else own & ids
            if not wanted and (ids or self.of is not None):
                continue
            everything = ids is None and self._is_one_folder
            found = read_curves(folder, None if everything else sorted(wanted), _there(folder, columns))
            parts.append(self._numbered(found))
        return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})

    def curve_parts(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """`trial_index`, `step` and these columns of all curves, a part at a time, each of whole trials; without the
        columns that a folder's curves do not have."""
        for folder, own in zip(self.folders, self._owned(), strict=True):
            keys = ["trial_index", "step"] if self._is_one_folder else ["trial_id", "trial_index", "step"]
            own_columns = {*curve_columns(folder)}
            for part in curve_parts(folder, [*keys, *(name for name in columns if name in own_columns)]):
                if not self._is_one_folder:
                    part = self._numbered(part.filter(_of(own)))
                yield part

    def curve_columns(self) -> list[str]:
        """Those that any folder's curves have."""
        return [*dict.fromkeys(name for folder in self.folders for name in curve_columns(folder))]

    def tasks(self) -> pa.Table:
        """A row for each task of each trial of several, TASKS_SCHEMA; each trial's own once."""
        parts = [read_tasks(folder).filter(_of(own)) for folder, own in zip(self.folders, self._owned(), strict=True)]
        return pa.concat_tables(parts, promote_options="default")

    def _owned(self) -> list[set[str]]:
        """The ids that each folder stands for."""
        if len(self.folders) == 1:
            return [set(self.trials["trial_id"].to_pylist())]
        place = self.trials["folder_number"].to_numpy()
        ids = np.array(self.trials["trial_id"].to_pylist(), dtype=object)
        return [set(ids[place == number].tolist()) for number in range(len(self.folders))]

    def _numbered(self, curves: pa.Table) -> pa.Table:
        if self._is_one_folder or "trial_id" not in curves.column_names:
            return curves
        index = dict(zip(self.trials["trial_id"].to_pylist(), self.trials["trial_index"].to_pylist(), strict=True))
        numbers = pa.array([index[trial_id] for trial_id in curves["trial_id"].to_pylist()], pa.int64())
        place = curves.schema.get_field_index("trial_index")
        curves = curves.set_column(place, "trial_index", numbers) if place >= 0 else curves
        return curves.sort_by([("trial_index", "ascending"), ("step", "ascending")])

    def _check(self, columns: Sequence[str] | None) -> None:
        known = {*self.curve_columns()}
        if unknown := [name for name in columns or () if name not in known]:
            raise unknown_column("columns", unknown[0], sorted(known), "the curves have")


def load_sweeps(paths: str | Path | Sequence[str | Path]) -> Sweeps:
    """One folder or several, each brought up to date with its journal; a folder that holds the parts of a sweep stands
    for these. FolderError for what is no sweep, ConfigError where there is no trial, or one folder is named twice."""
    given = _given(paths)
    if not given:
        raise ConfigError([Problem(message="no folder is named, but one at least is needed")])
    found = [(path, parts_of(path)) for path in given]
    lacking = tuple(not_there(names) for path, parts in found if (names := missing_parts(path, parts)))
    folders = [SweepFolder.open(part) for _, parts in found for part in parts]
    shown, places = [str(folder.store) for folder in folders], [_place(folder.store) for folder in folders]
    if twice := [name for number, name in enumerate(shown) if places[number] in places[:number]]:
        raise ConfigError([Problem(message=f"{twice[0]} is named twice")])
    for folder in folders:
        bring_up_to_date(folder)
    damage = tuple(said for folder in folders if (said := _damage(folder)) is not None)
    tables = [_whole(read_trials(folder)) for folder in folders]
    tables, told = zip(*map(with_lost_steps, tables), strict=True)
    if not sum(table.num_rows for table in tables):
        raise ConfigError([Problem(message=f"{', '.join(shown)}: no trial yet, so there is nothing to analyse")])
    names, lots = _names(shown), [str(folder.fingerprint.get("seed")) for folder in folders]
    trials, notes = (_named(tables[0], names[0]), ()) if len(folders) == 1 else _together(tables, names, lots)
    notes = (*lacking, *damage, *_told_again(sum(told)), *notes, *_watched_differently(trials))
    return Sweeps(folders=tuple(folders), names=names, trials=trials, notes=notes)


def _given(paths: Any) -> list[str]:
    if isinstance(paths, str | os.PathLike):
        return [a_path(paths)]
    if isinstance(paths, bytes) or not isinstance(paths, Iterable):
        raise refused("path", paths, "must be a path or a URI, or a list of them")
    return [a_path(path) for path in paths]


def _damage(folder: SweepFolder) -> str | None:
    damaged = read_manifest(folder)["damaged_lines"]
    if not damaged:
        return None
    lines = counted(damaged, "line", "was", "were")
    return f"{lines} damaged in the journal of {folder.store}: what they told is missing here"


def _told_again(trials: int) -> Iterator[str]:
    if trials:
        lost = counted(trials, "grok step", "was", "were")
        yield f"{lost} lost with damaged lines, and told by where the trial ended"


def _place(store: Store) -> str:
    """Links lead to one place."""
    return str(store.local_path().resolve()) if store.is_local else str(store)


def unknown_column(
    argument: str, name: object, known: Sequence[str], holder: str, vary: Sequence[str] = ()
) -> ConfigError:
    """`by is wieght_decay, but the trials have no such column; the nearest is weight_decay`. Where none is near, those
    that vary are named, or all."""
    offer = f"the parameters that vary are {', '.join(vary)}" if vary else f"there are {', '.join(known)}"
    shown = name if isinstance(name, str) and name else show(name)
    message = f"{argument} is {shown}, but {holder} no such column{nearest(name, known) or f'; {offer}'}"
    return ConfigError([Problem(message=message, field=argument)])


def _whole_ids(starts: Sequence[str], known: set[str]) -> set[str]:
    found = set(starts) & known
    for start in sorted(set(starts) - known):
        begun = sorted(one for one in known if start and one.startswith(start))
        if len(begun) != 1:
            what = f"{len(begun):,} trials have ids that start so: {listed(begun)}" if begun else "no id starts so"
            raise ConfigError([Problem(message=f"trial_ids holds {start!r}, but {what}", field="trial_ids")])
        found.update(begun)
    return found


def _of(trial_ids: set[str]) -> pc.Expression:
    return pc.field("trial_id").isin(pa.array(sorted(trial_ids), pa.string()))


def _whole(trials: pa.Table) -> pa.Table:
    """With every column of TRIALS_SCHEMA, those that an older version did not write filled in."""
    columns = [
        trials[field.name].cast(field.type)
        if field.name in trials.column_names
        else pa.repeat(pa.scalar(_DEFAULTS.get(field.name), field.type), trials.num_rows)
        for field in TRIALS_SCHEMA
    ]
    return pa.table(columns, schema=TRIALS_SCHEMA)


def _names(shown: Sequence[str]) -> tuple[str, ...]:
    """The folders' own names; whole paths where these are equal."""
    names = [name.rstrip("/").rsplit("/", 1)[-1] for name in shown]
    return tuple(names if len(set(names)) == len(names) else shown)


def _named(trials: pa.Table, name: str) -> pa.Table:
    return trials.append_column("sweep", pa.repeat(pa.scalar(name, pa.string()), trials.num_rows))


def _together(
    tables: Sequence[pa.Table], names: Sequence[str], lots: Sequence[str]
) -> tuple[pa.Table, tuple[str, ...]]:
    """`lots`: the search seed of each, which the lot of its audits is drawn by."""
    parts = [
        _named(table, name).append_column("folder_number", pa.repeat(pa.scalar(number, pa.int64()), table.num_rows))
        for number, (table, name) in enumerate(zip(tables, names, strict=True))
    ]
    everything = pa.concat_tables(parts)
    frame = everything.select(["trial_id", "state", "steps_trained", "outcome", "stop_step", "grok_step"]).to_pandas()
    frame["ended"] = frame["state"] == "ended"
    # An audited one stands for pruned ones, which count themselves if the other folder let them run to their end.
    damaged = (frame["outcome"] == "grokked") & frame["grok_step"].isna()  # the line that held the step
    frame["free"] = frame["stop_step"].isna() & frame["outcome"].isin(DECIDED) & ~damaged
    order = ["ended", "free", "steps_trained"]
    kept = frame.sort_values(order, ascending=False, kind="stable").drop_duplicates("trial_id")
    trials = everything.take(pa.array(np.sort(kept.index.to_numpy())))
    doubled = everything.num_rows - trials.num_rows
    notes = ()
    if doubled:
        trials = _with_chances(trials, _chances(everything, lots))
        one, many = "is in more than one folder, and counts once", "are in more than one folder, and count once"
        notes = (counted(doubled, "trial", one, many),)
    fields = {"trial_index": np.arange(trials.num_rows), "configuration": _configurations(trials)}
    for name, numbers in fields.items():
        trials = trials.set_column(trials.schema.get_field_index(name), name, pa.array(numbers, pa.int64()))
    return trials, notes


def _with_chances(trials: pa.Table, chances: Mapping[str, float]) -> pa.Table:
    """With these for `audit_probability`, where the scheduler wanted to stop the trial."""
    rows = trials.select(["trial_id", "stop_step", "audit_probability"]).to_pylist()
    values = [
        row["audit_probability"] if row["stop_step"] is None else chances.get(row["trial_id"], row["audit_probability"])
        for row in rows
    ]
    place = trials.schema.get_field_index("audit_probability")
    return trials.set_column(place, "audit_probability", pa.array(values, pa.float64()))


def _chances(everything: pa.Table, lots: Sequence[str]) -> dict[str, float]:
    """By trial_id, of trials that several folders wanted to stop: how likely one of them at least was to audit it,
    which is enough for it to stand for others. Lots of one search seed are one lot, those of two are independent."""
    spared: dict[str, list[tuple[str, float]]] = {}
    wanted = everything.filter(pc.field("stop_step").is_valid())
    columns = (wanted[name].to_pylist() for name in ("trial_id", "folder_number", "audit_probability"))
    for trial_id, folder, chance in zip(*columns, strict=True):
        spared.setdefault(str(trial_id), []).append((lots[int(folder)], 1 - float(chance or 0)))
    several = {trial_id: found for trial_id, found in spared.items() if len(found) > 1}
    # Of each lot the largest chance, which comes last.
    by_lot = {trial_id: dict(sorted(found, reverse=True)) for trial_id, found in several.items()}
    return {trial_id: 1 - math.prod(chances.values()) for trial_id, chances in by_lot.items()}


def _watched_differently(trials: pa.Table) -> Iterator[str]:
    """Where what counts as grokked is not the same for all trials."""
    for name in ("threshold", "sustain"):
        values = sorted(value for value in trials[name].unique().to_pylist() if value is not None)
        if len(values) > 1:
            yield f"{name} is {' or '.join(map(str, values))}, so trials did not grok, or memorize, by the same rule"


def _configurations(trials: pa.Table) -> np.ndarray:
    """(n,): a number for each distinct set of parameters, seeds apart, by first appearance."""
    names = [name for name in CONFIG_FIELDS if name not in NO_PARAMETERS and not _constant(trials[name])]
    if not names:
        return np.zeros(trials.num_rows, dtype=np.int64)
    return trials.select(names).to_pandas().groupby(names, dropna=False, sort=False).ngroup().to_numpy()


def _constant(values: pa.ChunkedArray) -> bool:
    return len(values.unique()) < 2


def _there(folder: SweepFolder, columns: Sequence[str] | None) -> list[str] | None:
    """With the keys that put rows in their place, without what this folder's curves do not have."""
    if columns is None:
        return None
    own = curve_columns(folder)
    return [name for name in dict.fromkeys(("trial_id", "trial_index", "step", *columns)) if name in own]


def _space_lines(folder: SweepFolder) -> dict[str, Any]:
    return {k: v for k, v in folder.fingerprint.items() if k == "method" or k.split(".")[0] == "parameters"}
