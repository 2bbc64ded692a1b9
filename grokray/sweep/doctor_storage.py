"""Whether a sweep's folder can be written and read, from here and from every node, and whether it is the same one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from grokray.errors import FolderError, GrokrayError
from grokray.records.folder import META, SweepFolder
from grokray.records.store import Store
from grokray.sweep.doctor import HERE, Finding, of_clock

# Hidden, so that no sweep takes it for something of its own.
PROBE = ".doctor-"


class Probe:
    """A small file of ours in the folder. `content` is what it must say wherever it is read."""

    def __init__(self, uri: str, mark: str) -> None:
        self.store, self.name, self.content = Store.from_uri(uri), f"{PROBE}{mark}", mark.encode()
        self._made: list[Path] = []

    def write(self) -> None:
        self._made = _absent(self.store) if self.store.is_local else []
        with self.store.impatient():
            self.store.write_atomic(self.name, self.content)
        self.read()

    def read(self) -> None:
        """FolderError if it is not what was written."""
        with self.store.impatient():
            content = self.store.read_bytes(self.name)
        if content != self.content:
            raise FolderError(f"{self.store} gives back other bytes than were written")

    def delete(self) -> None:
        with suppress(GrokrayError), self.store.impatient():
            self.store.delete(self.name)
        with suppress(OSError):  # such as that something is in it by now
            for folder in self._made:
                folder.rmdir()


def _absent(store: Store) -> list[Path]:
    """Folders that writing there makes, the innermost first."""
    folder = store.local_path()
    return [place for place in (folder, *folder.parents) if not place.exists()]


def mark() -> str:
    return secrets.token_hex(8)


def fault_of(error: Exception, where: str = HERE) -> Finding:
    hint = getattr(error, "hint", None) or "See that the folder's name and the credentials of that machine are right."
    return Finding(check="storage", level="fault", text=str(error), cure=hint, where=where)


def not_shared(store: str, where: str) -> Finding:
    text = f"what this machine writes to {store} is not there: it is another folder on each machine"
    cure = "Give an object store, such as s3://bucket/folder, or a filesystem that every node mounts."
    return Finding(check="storage", level="fault", text=text, cure=cure, where=where)


def of_store_here(probe: Probe) -> Iterator[Finding]:
    """Writes the probe, and leaves it there for the nodes to read."""
    try:
        before = time.time()
        probe.write()
        after = time.time()
    except GrokrayError as error:
        yield fault_of(error)
        return
    yield Finding(check="storage", level="ok", text=f"{probe.store} can be written and read")
    yield from _of_sweep(probe.store)
    if not probe.store.is_local and (written := _modified(probe)) is not None:
        yield of_clock(_offset(written, before, after), str(probe.store))


def _of_sweep(store: Store) -> Iterator[Finding]:
    """What is wrong with the sweep that the folder holds, if it does; its journal, which may be long, is not read."""
    try:
        with store.impatient():
            if store.exists(META):
                SweepFolder.open(store.uri)
    except GrokrayError as error:
        yield fault_of(error)


def _offset(written: float, before: float, after: float) -> float:
    """How far the store's clock, which shows whole seconds, is ahead of ours: 0 for what it may have been."""
    return min(written + 1 - before, 0.0) + max(written - after, 0.0)


def _modified(probe: Probe) -> float | None:
    """When the store says that the probe was written, in unix seconds."""
    with suppress(OSError, GrokrayError):
        info = probe.store.filesystem.get_file_info(probe.store.path(probe.name))
        return info.mtime_ns / 1e9 if info.mtime_ns else None
    return None
