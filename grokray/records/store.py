"""A folder on any filesystem that a sweep may live on: this machine's, S3, Google's or Azure's object stores.

Names are relative to the folder and use `/`. What cannot be used raises a `FolderError` that says what and why.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from grokray.errors import FolderError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss")


class AppendStream(Protocol):
    """A file that only grows, written in whole chunks."""

    def write(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


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
        """The store at a path of this machine (made absolute, `~` expanded) or at a `file`, `s3` or `gs` URI.

        Makes no folder yet. Raises FolderError where no folder can be: an unknown scheme, or a file stands there.
        """
        from grokray.records.store_local import LocalStore
        from grokray.records.store_remote import RemoteStore

        text = os.fspath(uri_or_path)
        scheme, separator, rest = text.partition("://")
        if not text:
            raise FolderError("the folder's name is empty, but must be a path or a URI")
        if not separator:
            return LocalStore(os.path.abspath(os.path.expanduser(text)))
        if scheme == "file":
            return LocalStore(_path_of_file_uri(text))
        if scheme not in OBJECT_STORES:
            known = ", ".join(("file", *OBJECT_STORES))
            raise FolderError(
                f"the scheme of {hide_secrets(text)} is {scheme!r}, but must be one of {known}, or a path"
            )
        if not urlsplit(text).hostname and scheme not in ("abfs", "abfss"):
            raise FolderError(f"{hide_secrets(text)} names no bucket, but must look like {scheme}://bucket/folder")
        return RemoteStore(text if rest else f"{scheme}://")

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
            raise FolderError(f"{self.shown(name)} is missing")
        return size

    def list(self, prefix: str = "") -> list[str]:
        """The sorted names of all files in the folder `prefix` and below. A missing folder has none."""
        return sorted(self.sizes(prefix))

    def local_path(self, name: str = "") -> Path:
        """Where a file lies on this machine; only of a local store."""
        raise FolderError(f"{self} is not on this machine")

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
        raise FolderError(f"cannot {action} {shown}: it is missing") from error
    except OSError as error:
        raise FolderError(f"cannot {action} {shown}: {hide_secrets(reason(error))}") from error


def reason(error: Exception) -> str:
    """`Permission denied`, without number and path; the first line of pyarrow's longer ones."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def hide_secrets(uri: str) -> str:
    """`s3://key:secret@bucket/x?region=eu` → `s3://bucket/x`: safe to print and to log."""
    if "://" not in uri:
        return uri
    # A secret with an unescaped slash is no valid URI, but stands in the message that says so.
    return re.sub(r"(\w+://)(?:[^/@\s]*(?::[^@\s]*)?@)?([^?\s]*)(?:\?\S*)?", r"\1\2", uri)


def _path_of_file_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise FolderError(f"{uri} names a host, but a file URI must look like file:///folder")
    return os.path.abspath(unquote(parts.path))
