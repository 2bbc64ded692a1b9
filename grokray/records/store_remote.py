"""A folder on an object store, through pyarrow.

Objects cannot grow, so an append stream keeps its last segment in memory and puts it anew every two seconds: a
killed process loses at most what it wrote since. Whole objects appear at once, so a plain put is atomic.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from grokray.errors import FolderError
from grokray.records.store import AppendStream, Store, as_folder_error, checked_name, hide_secrets, reason

PUT_INTERVAL_S = 2.0
SEGMENT_BYTES = 1 << 20

log = logging.getLogger(__name__)


class RemoteStore(Store):
    """`uri` as pyarrow reads it, such as `s3://bucket/folder?region=eu-west-1`. Connects on first use."""

    is_local = False

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._connection: tuple[FileSystem, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "_connection": None}

    @property
    def filesystem(self) -> FileSystem:
        return self._connect()[0]

    def path(self, name: str = "") -> str:
        base = self._connect()[1]
        return f"{base}/{checked_name(name)}" if name else base

    def read_bytes(self, name: str) -> bytes:
        with self._failing("read", name), self.filesystem.open_input_stream(self.path(name), compression=None) as file:
            return file.read()

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        with self._failing("read", name), self.filesystem.open_input_file(self.path(name)) as file:
            return file.read_at(length, offset)

    def write_atomic(self, name: str, data: bytes | memoryview) -> None:
        with self._failing("write", name):
            path = self.path(name)
            with self.filesystem.open_output_stream(path, compression=None) as file:
                file.write(data)

    def append_stream(self, name: str) -> AppendStream:
        return RemoteAppend(self, name)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        base = self.path()
        found = self._infos(prefix, recursive=True)
        sizes = {_below(base, info): info.size for info in found if info.type == FileType.File}
        return {name: size for name, size in sizes.items() if "/." not in f"/{name}"}

    def entries(self) -> list[str]:
        base = self.path()
        return sorted(_below(base, info) for info in self._infos("", recursive=False))

    def delete(self, name: str) -> None:
        with self._failing("delete", name):
            if self.exists(name):
                self.filesystem.delete_file(self.path(name))

    def delete_tree(self, prefix: str) -> None:
        if not prefix.strip("/"):
            raise ValueError("prefix is empty, but must name a folder inside the store")
        with self._failing("delete", prefix):
            path = self.path(prefix.strip("/"))
            if self.filesystem.get_file_info(path).type == FileType.Directory:
                self.filesystem.delete_dir(path)

    def _size_or_none(self, name: str) -> int | None:
        with self._failing("read", name):
            info = self.filesystem.get_file_info(self.path(name))
        return info.size if info.type == FileType.File else None

    def _infos(self, prefix: str, *, recursive: bool) -> list[FileInfo]:
        with self._failing("list", prefix):
            selector = FileSelector(self.path(prefix.strip("/")), allow_not_found=True, recursive=recursive)
            return self.filesystem.get_file_info(selector)

    def _connect(self) -> tuple[FileSystem, str]:
        if self._connection is None:
            with self._failing("open", ""):
                filesystem, path = FileSystem.from_uri(self.uri)
            self._connection = (filesystem, path.rstrip("/"))
        return self._connection

    @contextmanager
    def _failing(self, action: str, name: str) -> Iterator[None]:
        shown = self.shown(name) if name else str(self)
        with as_folder_error(action, shown):
            try:
                yield
            except pa.ArrowException as error:
                if isinstance(error, OSError):
                    raise
                raise FolderError(f"cannot {action} {shown}: {hide_secrets(reason(error))}") from error


class RemoteAppend:
    """Writes `name.jsonl`, then `name.0001.jsonl` and so on, each object closed once it reaches a mebibyte."""

    def __init__(self, store: RemoteStore, name: str) -> None:
        self._store, self._name = store, name
        self._segment, self._number, self._unsaved = bytearray(), 0, False
        # Two locks, so that training need not wait for the network when it writes.
        self._lock, self._putting, self._closing = threading.Lock(), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._put_from_time_to_time, name="journal", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, data: bytes) -> None:
        with self._lock:
            self._segment += data
            self._unsaved = True

    def flush(self) -> None:
        """Put what is not yet there. Raises FolderError if the store refuses; nothing is lost then."""
        with self._putting:
            with self._lock:
                data = bytes(self._segment) if self._unsaved else b""
                self._unsaved = False
            if not data:
                return
            try:
                self._store.write_atomic(self._segment_name(), data)
            except BaseException:
                self._unsaved = True
                raise
            if len(data) >= SEGMENT_BYTES:
                with self._lock:
                    del self._segment[: len(data)]
                self._number += 1

    def close(self) -> None:
        atexit.unregister(self.close)
        self._closing.set()
        self._thread.join()
        self.flush()

    def _put_from_time_to_time(self) -> None:
        while not self._closing.wait(PUT_INTERVAL_S):
            try:
                self.flush()
            except FolderError as error:  # the next round tries again; close() tells the caller if it lasts
                log.warning("%s; trying again in %g s", error, PUT_INTERVAL_S)

    def _segment_name(self) -> str:
        stem, dot, ending = self._name.rpartition(".")
        return self._name if self._number == 0 else f"{stem}.{self._number:04d}{dot}{ending}"


def _below(base: str, info: FileInfo) -> str:
    return info.path.strip("/").removeprefix(base.strip("/")).strip("/")
