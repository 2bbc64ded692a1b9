"""A folder on an object store, through pyarrow.

Whole objects appear at once, so a plain put is atomic. What fails in passing is tried again for minutes; what the
store refuses is an error at once, in plain words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from grokray.errors import FileMissing
from grokray.records.patience import Patience
from grokray.records.remote_append import RemoteAppend
from grokray.records.s3 import ConditionalPuts, Place
from grokray.records.store import AppendStream, Store, Tagged, checked_name
from grokray.records.trouble import is_outdated, refusal
from grokray.records.uri import hide_secrets

SINGLE_PUT_BYTES = 4 << 20
GOOGLE_RETRY_S = 10
# An answer without a body, and so without a reason; and one whose body is longer than what was to be read, for which
# pyarrow has no room.
_UNSAID = re.compile(r"(?:ACCESS_DENIED|HTTP status 4\d\d\)) during HeadObject")
_CUT = re.compile("during GetObject operation: Failed to flush response stream")

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """`path` is the folder's on both filesystems; `small` puts what has less than SINGLE_PUT_BYTES."""

    filesystem: FileSystem
    small: FileSystem
    path: str
    puts: ConditionalPuts | None = None

    @classmethod
    def open(cls, uri: str, *, impatient: bool) -> Connection:
        if uri.startswith("s3://"):
            place = Place.of(uri)
            large, small = (place.connect(impatient=impatient, delayed=delayed) for delayed in (False, True))
            path = f"{place.bucket}/{place.key}".rstrip("/")
            return cls(filesystem=large, small=small, path=path, puts=ConditionalPuts.of(place, impatient=impatient))
        if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in uri:
            uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={GOOGLE_RETRY_S}"
        filesystem, path = FileSystem.from_uri(uri)
        return cls(filesystem=filesystem, small=filesystem, path=path.rstrip("/"))


class RemoteStore(Store):
    """`uri` is such as `s3://bucket/folder?region=eu-west-1`. Connects on first use."""

    is_local = False

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._patience = Patience()
        self._connections: dict[bool, Connection] = {}  # by whether they are impatient

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["uri"])

    @property
    def filesystem(self) -> FileSystem:
        return self._connect().filesystem

    def path(self, name: str = "") -> str:
        base = self._connect().path
        return f"{base}/{checked_name(name)}" if name else base

    def impatient(self) -> AbstractContextManager[None]:
        return self._patience.short()

    def patiently(self, call: Callable[[], Result], name: str = "") -> Result:
        """`name` is what the call reads or writes, if it is one object."""
        return self._patience.keep_trying(partial(self._attempt, call, name), str(self))

    def read_bytes(self, name: str) -> bytes:
        def read() -> bytes:
            with self.filesystem.open_input_stream(self.path(name), compression=None) as file:
                return file.read()

        return self._try("read", name, read)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        def read() -> bytes:
            with self.filesystem.open_input_file(self.path(name)) as file:
                return file.read_at(length, offset)

        return self._try("read", name, read)

    def write_atomic(self, name: str, data: bytes | memoryview) -> None:
        def write() -> None:
            connection = self._connect()
            filesystem = connection.small if len(data) < SINGLE_PUT_BYTES else connection.filesystem
            with filesystem.open_output_stream(self.path(name), compression=None) as file:
                file.write(data)

        self._try("write", name, write)

    def create(self, name: str, data: bytes) -> bool:
        created = self._conditionally(name, lambda puts, key: puts.create(key, data))
        if created is not None:
            return created
        return not self.exists(name) and self._write_and_look(name, data)

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        replaced = self._conditionally(name, lambda puts, key: puts.replace(key, data, tag))
        return super().replace(name, data, tag) if replaced is None else replaced

    def read_tagged(self, name: str) -> Tagged | None:
        if self._connect().puts is None:
            return super().read_tagged(name)
        return self._try("read", name, lambda: self._puts.read(self._key(name)))

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
        def delete() -> None:
            try:
                self.filesystem.delete_file(self.path(name))
            except FileNotFoundError:
                return

        self._try("delete", name, delete)

    def delete_unfinished(self, name: str) -> None:
        """Nothing: an object is not there before it is whole."""

    def delete_tree(self, prefix: str) -> None:
        if not prefix.strip("/"):
            raise ValueError("prefix is empty, but must name a folder inside the store")

        def delete() -> None:
            path = self.path(prefix.strip("/"))
            if self.filesystem.get_file_info(path).type == FileType.Directory:
                self.filesystem.delete_dir(path)

        self._try("delete", prefix, delete)

    def _size_or_none(self, name: str) -> int | None:
        info = self._try("read", name, lambda: self.filesystem.get_file_info(self.path(name)))
        return info.size if info.type == FileType.File else None

    def _infos(self, prefix: str, *, recursive: bool) -> list[FileInfo]:
        def infos() -> list[FileInfo]:
            selector = FileSelector(self.path(prefix.strip("/")), allow_not_found=True, recursive=recursive)
            return self.filesystem.get_file_info(selector)

        return self._try("list", prefix, infos)

    def _conditionally(self, name: str, put: Callable[[ConditionalPuts, str], bool | None]) -> bool | None:
        """None if this store knows no such puts."""
        if self._connect().puts is None:
            return None
        return self._try("write", name, lambda: put(self._puts, self._key(name)))

    @property
    def _puts(self) -> ConditionalPuts:
        """Those of the connection that there is now: an attempt may have made another."""
        puts = self._connect().puts
        assert puts is not None
        return puts

    def _key(self, name: str) -> str:
        return self.path(name).partition("/")[2]

    def _connect(self) -> Connection:
        impatient = self._patience.impatient
        connection = self._connections.get(impatient)
        if connection is None:
            connection = self._try("open", "", lambda: Connection.open(self.uri, impatient=impatient))
            self._connections[impatient] = connection
        return connection

    def _try(self, action: str, name: str, call: Callable[[], Result]) -> Result:
        """Do it, again and again where it fails in passing. FolderError says what the store refuses."""
        shown = self.shown(name) if name else str(self)
        try:
            return self.patiently(call, name)
        except FileNotFoundError as error:
            raise FileMissing(f"cannot {action} {shown}: it is missing") from error
        except (OSError, pa.ArrowException) as error:
            raise refusal(action, shown, hide_secrets(str(error))) from error

    def _attempt(self, call: Callable[[], Result], name: str) -> Result:
        """Its error says why, and the next attempt looks for credentials anew where these are outdated."""
        try:
            return call()
        except FileNotFoundError:
            raise
        except OSError as error:
            told = self._with_reason(error, name)
            if is_outdated(told):
                self._connect_anew()
            if told is not error:
                raise told from error
            raise

    def _connect_anew(self) -> None:
        impatient = self._patience.impatient
        with suppress(OSError, pa.ArrowException):
            self._connections = {impatient: Connection.open(self.uri, impatient=impatient)}

    def _with_reason(self, error: OSError, name: str) -> OSError:
        try:
            if _UNSAID.search(str(error)):  # a listing's answer has a body
                self.filesystem.get_file_info(FileSelector(self.path(), allow_not_found=True))
            elif _CUT.search(str(error)) and name and self._connect().puts is not None:
                self._puts.look(self._key(name))
        except OSError as closer:
            return closer
        return error


def _below(base: str, info: FileInfo) -> str:
    return info.path.strip("/").removeprefix(base.strip("/")).strip("/")
