"""A folder on any filesystem that a sweep may live on: this machine's, S3, Google's or Azure's object stores.

Names are relative to the folder and use `/`. What cannot be used raises a `FolderError` that says what and why.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from grokray.errors import FileMissing, FolderError
from grokray.records.uri import OBJECT_STORES, checked_uri, hide_secrets, path_of_file_uri
from grokray.wording import first_line

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Where a store knows no conditional writes: what two write at once has settled after so long.
SETTLE_S = 1.0
PIECE_BYTES = 8 << 20
_ONE_SLASH = re.compile(f"({'|'.join(OBJECT_STORES)}):/?(?!/)")
_PROBE = bytes(1 << 16)  # more than what a full disk may have left in a block
_LOCAL_HINTS = {
    errno.EACCES: "choose another folder, or have its permissions changed",
    errno.EROFS: "choose another folder",
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or have the quota raised",
}
_BEFORE_DETAIL = re.compile(r".*Detail: \[errno \d+\] ")
Result = TypeVar("Result")


class AppendStream(Protocol):
    """A file that only grows, written in whole chunks."""

    def write(self, data: bytes) -> None: ...

    def hurry(self) -> None:
        """What was written shall last soon, though nobody waits for it."""

    def flush(self) -> None:
        """All that was written lasts when this returns."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A file's content, the tag of this version of it, and how old it is by the store's clock, where it says so."""

    data: bytes
    tag: str
    age_s: float | None = None


class Store(ABC):
    """One folder. Pickles as its URI alone, so it can be sent to another machine.

    >>> store = Store.from_uri("~/sweeps/robust")
    >>> store.write_atomic("checkpoints/ab12/000100.bin", b"...")
    >>> store.list("checkpoints")
    ['checkpoints/ab12/000100.bin']
    """

    is_local: bool

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @staticmethod
    def from_uri(uri_or_path: str | Path) -> Store:
        """The store at a path of this machine (made absolute, `~` expanded) or at a `file`, `s3`, `gs` or `abfs` URI.

        Makes no folder yet. Raises FolderError where no folder can be: an unknown scheme, or a file stands there; and
        for a URI that holds credentials.
        """
        from grokray.records.store_local import LocalStore
        from grokray.records.store_remote import RemoteStore

        text = os.fspath(uri_or_path)
        scheme, separator, _ = text.partition("://")
        if not text.strip():
            raise FolderError("the folder's name is empty, but must be a path or a URI")
        if slip := _ONE_SLASH.match(text):
            raise FolderError(f"{text} is no folder's name", hint=f"a URI begins with {slip[1]}://")
        if not separator:
            return LocalStore(os.path.abspath(os.path.expanduser(text)))
        if scheme == "file":
            return LocalStore(path_of_file_uri(text))
        return RemoteStore(checked_uri(text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __str__(self) -> str:
        return hide_secrets(self.uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def shown(self, name: str) -> str:
        """How a file is named to a person: its whole path or URI, without credentials."""
        return f"{str(self).rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name; a folder is none."""
        return self._size_or_none(name) is not None

    def size(self, name: str) -> int:
        """Bytes. Raises FolderError if there is no such file."""
        size = self._size_or_none(name)
        if size is None:
            raise FileMissing(f"{self.shown(name)} is missing")
        return size

    def list(self, prefix: str = "") -> list[str]:
        """The sorted names of all files in the folder `prefix` and below. A missing folder has none."""
        return sorted(self.sizes(prefix))

    def pieces(self, name: str) -> Iterator[bytes]:
        """A file of any size, a few megabytes at a time. Raises as `read_bytes` does."""
        offset, data = 0, None
        while data is None or len(data) == PIECE_BYTES:
            data = self.read_range(name, offset, PIECE_BYTES)
            offset += len(data)
            yield data

    def local_path(self, name: str = "") -> Path:
        """Where a file lies on this machine; only of a local store."""
        raise FolderError(f"{self} is not on this machine")

    def check(self) -> None:
        """Write, read, list and delete a small file. FolderError says in plain words what the store refuses, and why.

        Call it before anything costly is started; inside `impatient` it answers within some seconds.
        """
        name = f".grokray-probe-{secrets.token_hex(4)}"
        try:
            self.write_atomic(name, _PROBE)
            try:
                if self.read_bytes(name) != _PROBE or name not in self.entries():
                    raise FolderError(f"{self} does not give back what is written to it")
            finally:
                self.delete(name)
        except FolderError as error:
            raise FolderError(str(error).replace(self.shown(name), str(self)), hint=error.hint) from error

    def impatient(self) -> AbstractContextManager[None]:
        """While this holds, a store that does not answer is an error after some ten seconds, not after minutes."""
        return nullcontext()

    def patiently(self, call: Callable[[], Result]) -> Result:
        """What `call`, which uses `filesystem` itself, returns or raises; errors that pass are tried again."""
        return call()

    def read_tagged(self, name: str) -> Tagged | None:
        """A file with the tag that `replace` wants; None if there is none."""
        if not self.exists(name):
            return None
        data = self.read_bytes(name)
        return Tagged(data=data, tag=hashlib.sha256(data).hexdigest())

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        """Write the file if it still is the version of `tag`; whether it was.

        Where the store cannot check that itself, two that try within a second may rarely both be told that it was.
        """
        current = self.read_tagged(name)
        if current is None or current.tag != tag:
            return False
        return self._write_and_look(name, data)

    def _write_and_look(self, name: str, data: bytes) -> bool:
        """Write, wait, and look whose data it is: of several that do so at once the last one has it."""
        self.write_atomic(name, data)
        time.sleep(SETTLE_S)
        return self.exists(name) and self.read_bytes(name) == data

    @property
    @abstractmethod
    def filesystem(self) -> FileSystem:
        """The pyarrow filesystem that `path(name)` is a path of."""

    @abstractmethod
    def path(self, name: str = "") -> str:
        """The path of a file on `filesystem`."""

    @abstractmethod
    def read_bytes(self, name: str) -> bytes:
        """The whole file. Raises FolderError if it is missing or cannot be read."""

    @abstractmethod
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from byte `offset`."""

    @abstractmethod
    def write_atomic(self, name: str, data: bytes | memoryview) -> None:
        """All of it or nothing: a reader, or a crash at any moment, sees the old file or the new one."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet, as a whole; False if it is. Of several at once one is told True.

        A store that cannot do that is asked before and after: two within the same second may rarely both succeed.
        """

    @abstractmethod
    def append_stream(self, name: str) -> AppendStream:
        """A growing file. On this machine every write is with the operating system when it returns."""

    @abstractmethod
    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Name to bytes of all files in the folder `prefix` and below; hidden (dotted) files left out."""

    @abstractmethod
    def entries(self) -> list[str]:
        """The sorted names of the files and folders at the top, hidden ones too."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""

    @abstractmethod
    def delete_tree(self, prefix: str) -> None:
        """Remove a folder with all that is in it; nothing happens if there is none."""

    @abstractmethod
    def delete_unfinished(self, name: str) -> None:
        """Remove what a writer of this file, or of files in this folder, was killed at. Nobody may be writing there."""

    @abstractmethod
    def _size_or_none(self, name: str) -> int | None: ...


def checked_name(name: str) -> str:
    """The name itself. A name that would leave the folder is a defect of the caller: ValueError."""
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"name is {name!r}, but must be relative and stay inside the folder")
    return name


@contextmanager
def as_folder_error(action: str, shown: str) -> Iterator[None]:
    """Turn what the operating system or pyarrow reports into one line for the user."""
    try:
        yield
    except FileNotFoundError as error:
        why = "no file can be made there" if action == "write" else "it is missing"
        raise FileMissing(f"cannot {action} {shown}: {why}") from error
    except OSError as error:
        hint = _LOCAL_HINTS.get(error.errno or 0)
        raise FolderError(f"cannot {action} {shown}: {hide_secrets(reason(error))}", hint=hint) from error


def reason(error: Exception) -> str:
    """`Permission denied`, without number and path; the first line of pyarrow's longer ones, or the detail in it."""
    return _BEFORE_DETAIL.sub("", first_line(getattr(error, "strerror", None) or error))
