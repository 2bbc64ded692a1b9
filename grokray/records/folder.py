"""A sweep's folder: the names of all that is in it, how it is made, opened and locked.

sweep.yaml             the resolved search space
meta.json              schema version, creation, fingerprint, the commands that ran
journal/               what happened (grokray.records.journal)
checkpoints/<trial>/   what unfinished trials go on from, and what is kept of others
examples/              what trials answered, on demand
inputs/                rows, tasks and weights that trials are made of, by hash
trials.parquet         one row a trial, as last collected
curves/                one row a measurement, as last collected
tasks.parquet          of multitask trials only: one row a task of a trial
task_curves/           of multitask trials only: one row a number of a task
manifest.json          which files make up the tables
lock                   who works here
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grokray.errors import FolderError, OtherSearchSpace
from grokray.records.fingerprints import difference, differing, growth, has_grown, why_not_grown
from grokray.records.journal import JOURNAL, JournalWriter
from grokray.records.journal_reader import JournalReader
from grokray.records.lock import Lock, hold
from grokray.records.state import SweepState
from grokray.records.store import Store
from grokray.wording import listed

SWEEP_YAML = "sweep.yaml"
META = "meta.json"
CHECKPOINTS = "checkpoints"
EXAMPLES = "examples"
INPUTS = "inputs"
TRIALS = "trials.parquet"
CURVES = "curves"
TASKS = "tasks.parquet"
TASK_CURVES = "task_curves"
MANIFEST = "manifest.json"
LOCK = "lock"
PART = re.compile(r"part-(\d+)of(\d+)")

META_VERSION = 1
_LINES = 10


class SweepFolder:
    """A folder that holds a sweep. Use `create_or_open` to work in it, `open` to look into it."""

    def __init__(self, store: Store, meta: Mapping[str, Any], visit: Mapping[str, Any] | None = None) -> None:
        self.store = store
        self.meta = dict(meta)
        self._visit = visit
        self._grown_yaml: str | None = None
        self.growth: str | None = None  # what it is to have more of than when it was last worked on

    @classmethod
    def create_or_open(
        cls, uri: str | Path, sweep_yaml: str, fingerprint: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> SweepFolder:
        """The sweep's folder, made anew or gone on with.

        `fingerprint` maps every setting that defines the search space to its value; `meta` holds `versions`
        {package: version} and `command`. If the sweep has only grown, the folder is that of the larger sweep as soon as
        it is locked. Raises FolderError if the folder holds another search space, or something that is no sweep; and,
        within seconds, if the store cannot be reached or does not let one work there.
        """
        store = Store.from_uri(uri)
        fingerprint = json.loads(json.dumps(fingerprint))
        visit = {"t": time.time(), "command": meta.get("command"), "versions": meta.get("versions", {})}
        with store.impatient():
            if not store.exists(META):
                refuse_foreign(store)
            store.check()
            created = {
                **meta,
                "schema_version": META_VERSION,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "fingerprint": fingerprint,
                "commands": [],
            }
            # First of all: what has a meta.json is ours, whatever else is missing. Of two at once one makes it.
            store.create(META, _encode(created))
            folder = cls(store, _read_meta(store), visit)
            _refuse_other(store, folder.fingerprint, fingerprint)
            if not store.exists(SWEEP_YAML):  # it is new, or there was a crash since meta.json was written
                store.write_atomic(SWEEP_YAML, sweep_yaml.encode())
            if folder._take_growth(fingerprint):
                folder._grown_yaml = sweep_yaml
            return folder

    @classmethod
    def open(cls, uri: str | Path) -> SweepFolder:
        """An existing sweep's folder. Raises FolderError if there is none."""
        store = Store.from_uri(uri)
        with store.impatient():
            if not store.exists(META):
                raise _no_sweep(store)
            return cls(store, _read_meta(store))

    @classmethod
    def find(cls, uri: str | Path, fingerprint: Mapping[str, Any]) -> SweepFolder | None:
        """What `create_or_open` would go on with; None where it would begin. Nothing is written; errors as there."""
        store = Store.from_uri(uri)
        with store.impatient():
            if not store.exists(META):
                refuse_foreign(store)
                return None
            folder = cls(store, _read_meta(store))
            fingerprint = json.loads(json.dumps(fingerprint))
            _refuse_other(store, folder.fingerprint, fingerprint)
            folder._take_growth(fingerprint)
            return folder

    @contextmanager
    def lock(self, command: str | None = None) -> Iterator[Lock]:
        """Be the only process that works here, and note its command in meta.json. FolderBusy names another."""
        with hold(self.store, LOCK, command=command) as lock:
            current = _read_meta(self.store)
            _refuse_other(self.store, current["fingerprint"], self.fingerprint)  # made by two at once
            if self._grown_yaml is not None:  # before meta.json: after a crash it would be thought to be done
                self.store.write_atomic(SWEEP_YAML, self._grown_yaml.encode())
                current["fingerprint"], self._grown_yaml = self.fingerprint, None
            if self._visit is not None:
                current["commands"] = [*current.get("commands", []), self._visit]
                self.store.write_atomic(META, _encode(current))
                self._visit = None
            self.meta = current
            yield lock
            for name in (META, SWEEP_YAML, CHECKPOINTS, EXAMPLES):
                self.store.delete_unfinished(name)

    def _take_growth(self, fingerprint: Mapping[str, Any]) -> bool:
        """Whether it is to grow; then its fingerprint is the larger sweep's."""
        if not has_grown(self.fingerprint, fingerprint):
            return False
        self.growth = growth(self.fingerprint, fingerprint)
        self.meta["fingerprint"] = dict(fingerprint)
        return True

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.meta["fingerprint"]

    @property
    def sweep_yaml(self) -> str:
        """The resolved search space, as text."""
        return self.store.read_bytes(SWEEP_YAML).decode()

    def begun(self) -> bool:
        """Whether anything was ever written to the journal."""
        return bool(self.store.list(JOURNAL))

    def writer(self, role: str) -> JournalWriter:
        """A journal part for this process; `role` is such as `driver` or `engine`."""
        return JournalWriter(self.store, role)

    def reader(self) -> JournalReader:
        return JournalReader(self.store)

    def state(self) -> SweepState:
        """The whole journal, folded."""
        return self.folded()[0]

    def folded(self) -> tuple[SweepState, int]:
        """The same, and how many lines could not be read."""
        state, reader = SweepState(), self.reader()
        for chunk in reader.chunks():
            state.apply_all(chunk)
        return state, reader.damaged


def parts_in(entries: Iterable[str]) -> list[str]:
    """Of a folder's entries those that are folders of a sweep's parts, in their order."""
    found = [name for name in entries if PART.fullmatch(name)]
    return sorted(found, key=lambda name: int(PART.sub(r"\1", name)))


def refuse_foreign(store: Store) -> None:
    """FolderError if a folder without a sweep holds something else, which is not to be mixed with one."""
    # A lock alone is no content; neither are hidden files, such as those a file browser leaves.
    entries = [name for name in store.entries() if name != LOCK and not name.startswith(".")]
    if entries:
        text = f"{store} is not empty and holds no sweep (no {META}, but {listed(entries)})"
        raise FolderError(text, hint="choose another folder")


def _no_sweep(store: Store) -> FolderError:
    parts = parts_in(store.entries())
    if not parts:
        return FolderError(f"{store} is no sweep's folder: it holds no {META}")
    text = f"{store} is no sweep's folder, but holds parts of one: {listed(parts)}"
    return FolderError(text, hint="name one of the parts")


def _read_meta(store: Store) -> dict[str, Any]:
    try:
        meta = json.loads(store.read_bytes(META))
        version, _ = meta["schema_version"], dict(meta["fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{store.shown(META)} is damaged: it is no description of a sweep") from error
    if not isinstance(version, int) or version > META_VERSION:
        raise FolderError(f"schema_version of {store.shown(META)} is {version}, but must be at most {META_VERSION}")
    return meta


def _refuse_other(store: Store, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    names = differing(was, now)
    if not names or has_grown(was, now):
        return
    lines = [difference(name, was, now) for name in names]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"and {len(lines) - _LINES + 1} more"]
    text = "\n".join(f"  {line}" for line in lines)
    is_new = not store.list(JOURNAL)
    hint = "choose another folder with --out"
    if is_new:
        hint = f"nothing has happened there yet: remove it, or {hint}"
    elif allowed := why_not_grown(was, now):
        hint = f"{allowed}, or {hint}"
    raise OtherSearchSpace(f"{store} holds a sweep of another search space:\n{text}", hint=hint)


def _encode(meta: Mapping[str, Any]) -> bytes:
    return (json.dumps(meta, indent=2) + "\n").encode()
