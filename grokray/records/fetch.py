"""A sweep's folder copied, from wherever it lies to this machine; what is there and whole is not copied again.

The manifest goes last, and says which tables belong together: whoever reads the copy sees the old tables or the new
ones. While the sweep runs its tables may be made anew in the midst of a copy, which then starts again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokray.errors import FileMissing, FolderError
from grokray.records.fingerprints import has_grown
from grokray.records.folder import (
    CURVES,
    LOCK,
    MANIFEST,
    META,
    SWEEP_YAML,
    TASK_CURVES,
    SweepFolder,
    refuse_foreign,
)
from grokray.records.journal import JOURNAL
from grokray.records.lock import hold
from grokray.records.remote_append import batch_of
from grokray.records.store import Store
from grokray.records.store_local import LocalStore
from grokray.records.tables import read_manifest

THREADS = 8
ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """`files` and `bytes` were copied, `whole` files were there already; `tables` says whether the copy has any."""

    files: int
    bytes: int
    whole: int
    tables: bool


class _Changed(Exception):
    """The tables are no longer those of the manifest; the text says which of them."""


def fetch(
    source: str | Path,
    target: str | Path,
    *,
    tables_only: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fetched:
    """Copy the sweep in `source` to `target`, a folder of this machine; `progress(bytes done, bytes in all)`.

    Raises FolderError if there is no sweep, if `target` holds another one or went on by itself, FolderBusy while
    somebody works in `target`.
    """
    there = SweepFolder.open(source)
    here = Store.from_uri(target)
    if not isinstance(here, LocalStore):
        raise FolderError(f"{here} is not on this machine, but must be a folder of it")
    if here == there.store or (there.store.is_local and Path(there.store.uri) in Path(here.uri).parents):
        within = "" if here == there.store else "in "
        raise FolderError(f"{here} is {within}the sweep's own folder", hint="choose another folder")
    _refuse_other(there, here)
    with hold(here, LOCK):
        manifests, fault = [], ""
        for _ in range(ATTEMPTS):
            copy = _Copy(there, here, tables_only, progress)
            try:
                return copy.run()
            except _Changed as changed:
                manifests.append(copy.manifest)
                fault = str(changed)
    if any(manifest != manifests[0] for manifest in manifests):
        raise FolderError(f"the tables of {there.store} are made anew all the time", hint="try again later")
    raise FolderError(fault, hint="try again, as it may be made anew at this moment; else `grokray collect` does that")


def _refuse_other(there: SweepFolder, here: Store) -> None:
    if not here.exists(META):
        refuse_foreign(here)
        return
    copy = SweepFolder.open(here.path())
    same = copy.fingerprint == there.fingerprint or has_grown(copy.fingerprint, there.fingerprint)
    if not same or copy.meta.get("created") != there.meta.get("created"):
        raise FolderError(f"{here} holds another sweep than {there.store}", hint="choose another folder")
    known = {*there.store.list(JOURNAL)}
    # Batches of an object store become one object, their block, when there are many.
    own = {name for name in here.list(JOURNAL) if not {name, getattr(batch_of(name), "block", name)} & known}
    if own:
        text = f"{here} is no mere copy of {there.store} any more: a sweep went on there ({min(own)})"
        raise FolderError(text, hint="choose another folder")


class _Copy:
    def __init__(
        self, there: SweepFolder, here: LocalStore, tables_only: bool, progress: Callable[[int, int], None]
    ) -> None:
        self.there, self.source, self.here = there, there.store, here
        self.tables_only, self.progress = tables_only, progress
        self.manifest: Mapping[str, Any] | None = None
        self._journal_moved = False  # a batch was gone: it is part of a block by now, which is to be copied instead

    def run(self) -> Fetched:
        manifest = read_manifest(self.there) if self.tables_only or self.source.exists(MANIFEST) else None
        self.manifest = manifest
        tables = {file["name"]: file for file in manifest["files"]} if manifest else {}
        sizes = {name: file["bytes"] for name, file in tables.items()} | self._others({*tables})
        missing = [name for name in sizes if not self._is_whole(name, sizes[name], tables.get(name))]
        for name in (META, SWEEP_YAML):  # they say what the rest is, and are small
            self._copy(name, None)
        copied = self._copy_all({name: sizes[name] for name in missing}, tables)
        while self._journal_moved:
            self._journal_moved = False
            sizes = self.source.sizes(JOURNAL)
            copied += self._copy_all({n: size for n, size in sizes.items() if not self._is_whole(n, size, None)}, {})
        if manifest:
            self.here.write_atomic(MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
            self._remove_stale({*tables})
        return Fetched(files=len(missing), bytes=copied, whole=len(sizes) - len(missing), tables=bool(manifest))

    def _others(self, tables: set[str]) -> dict[str, int]:
        """What else is in the folder: the journal, checkpoints, examples, plots."""
        if self.tables_only:
            return {}
        skipped = tables | {META, SWEEP_YAML, MANIFEST, LOCK}
        return {name: size for name, size in self.source.sizes().items() if name not in skipped and not _is_part(name)}

    def _is_whole(self, name: str, size: int, table: Mapping[str, Any] | None) -> bool:
        if not self.here.exists(name) or self.here.size(name) != size:
            return False
        # The parts of the curves bear their hash in their names, other tables keep theirs when they are made anew.
        return table is None or _is_part(name) or self._sha256(name) == table["sha256"]

    def _sha256(self, name: str) -> str:
        """Of the copy's file."""
        digest = hashlib.sha256()
        for data in self.here.pieces(name):
            digest.update(data)
        return digest.hexdigest()

    def _copy_all(self, sizes: Mapping[str, int], tables: Mapping[str, Mapping[str, Any]]) -> int:
        """Bytes copied. The first failure ends it; what is whole by then need not be copied again."""
        total, done = sum(sizes.values()), 0
        self.progress(done, total)
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(self._copy, name, tables.get(name)) for name in sizes]
            try:
                for future in as_completed(futures):
                    done += future.result()
                    self.progress(done, max(done, total))  # what grows meanwhile is longer than it was
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return done

    def _copy(self, name: str, table: Mapping[str, Any] | None) -> int:
        try:
            self.here.write_pieces(name, self._pieces(name, table))
        except FileMissing:
            if self.source.exists(name):
                raise
            if table is not None:
                raise _Changed(f"{self.source.shown(name)} is missing") from None
            self._journal_moved |= name.startswith(f"{JOURNAL}/")
            return 0  # such as a checkpoint of a trial that has ended meanwhile
        return self.here.size(name)

    def _pieces(self, name: str, table: Mapping[str, Any] | None) -> Iterator[bytes]:
        """Of the source's file; raises at their end if it is another than the manifest's."""
        digest = hashlib.sha256()
        for data in self.source.pieces(name):
            digest.update(data)
            yield data
        if table is not None and digest.hexdigest() != table["sha256"]:
            raise _Changed(f"{self.source.shown(name)} is not what {MANIFEST} says of it")

    def _remove_stale(self, tables: set[str]) -> None:
        """Parts of tables that were made anew."""
        for name in (*self.here.list(CURVES), *self.here.list(TASK_CURVES)):
            if _is_part(name) and name not in tables:
                self.here.delete(name)


def _is_part(name: str) -> bool:
    return name.startswith((f"{CURVES}/", f"{TASK_CURVES}/")) and name.endswith(".parquet")
