"""A folder of this machine, or of a network filesystem that is mounted here."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from grokray.errors import FolderError
from grokray.records.store import AppendStream, Store, as_folder_error, checked_name

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_NOTHING_BESIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)


class LocalStore(Store):
    """`uri` is an absolute path."""

    is_local = True

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        for place in (Path(uri), *Path(uri).parents):
            # lexists is no help: a file in the middle of the path makes every later message puzzling.
            if os.path.exists(place) and not os.path.isdir(place):
                raise FolderError(f"{place} is a file, but must be a folder")

    @property
    def filesystem(self) -> FileSystem:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem()

    def path(self, name: str = "") -> str:
        return os.path.join(self.uri, checked_name(name)) if name else self.uri

    def local_path(self, name: str = "") -> Path:
        return Path(self.path(name))

    def read_bytes(self, name: str) -> bytes:
        with as_folder_error("read", self.shown(name)):
            return self.local_path(name).read_bytes()

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        with as_folder_error("read", self.shown(name)), open(self.path(name), "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def write_atomic(self, name: str, data: bytes | memoryview) -> None:
        self.write_pieces(name, [data])

    def write_pieces(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """As `write_atomic`; what the pieces raise leaves the file as it was."""
        path = self.local_path(name)
        with as_folder_error("write", self.shown(name)):
            with _written_beside(path, pieces) as temporary:
                os.replace(temporary, path)
            _sync_folder(path.parent)

    def create(self, name: str, data: bytes) -> bool:
        path = self.local_path(name)
        with as_folder_error("write", self.shown(name)):
            try:
                with _written_beside(path, [data]) as temporary:
                    _link(temporary, path)
            except FileExistsError:
                return False
            _sync_folder(path.parent)
        return True

    def append_stream(self, name: str) -> AppendStream:
        with as_folder_error("write", self.shown(name)):
            self.local_path(name).parent.mkdir(parents=True, exist_ok=True)
            return LocalAppend(self.path(name), self.shown(name))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        folder = self.path(prefix.rstrip("/"))
        with as_folder_error("list", self.shown(prefix)):
            found = {os.path.relpath(path, self.uri): size for path, size in _walk(folder)}
        return {name.replace(os.sep, "/"): size for name, size in found.items()}

    def entries(self) -> list[str]:
        with as_folder_error("list", str(self)):
            try:
                return sorted(os.listdir(self.uri))
            except FileNotFoundError:
                return []

    def delete(self, name: str) -> None:
        with as_folder_error("delete", self.shown(name)):
            self.local_path(name).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        if not prefix.strip("/"):
            raise ValueError("prefix is empty, but must name a folder inside the store")
        with as_folder_error("delete", self.shown(prefix)):
            try:
                shutil.rmtree(self.path(prefix))
            except FileNotFoundError:
                return

    def delete_unfinished(self, name: str) -> None:
        path = self.local_path(name)
        with as_folder_error("delete", self.shown(name)):
            for temporary in [*path.parent.glob(f".{path.name}.*.tmp"), *path.rglob(".*.tmp")]:
                temporary.unlink(missing_ok=True)

    def _size_or_none(self, name: str) -> int | None:
        with as_folder_error("read", self.shown(name)):
            path = self.path(name)
            try:
                return os.path.getsize(path) if not os.path.isdir(path) else None
            except (FileNotFoundError, NotADirectoryError):
                return None


class LocalAppend:
    """Unbuffered: what was written survives the death of the process (not that of the machine)."""

    def __init__(self, path: str, shown: str) -> None:
        self._path, self._shown = path, shown
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._links = os.fstat(self._descriptor).st_nlink  # some mounted filesystems count none

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        with as_folder_error("write", self._shown):
            # Or all would be written, and lost to whoever looks for it here, without a word.
            if os.fstat(self._open()).st_nlink < self._links or not os.path.exists(self._path):
                raise OSError(errno.ESTALE, "it was moved or deleted meanwhile")
            while rest:
                rest = rest[os.write(self._open(), rest) :]

    def hurry(self) -> None:
        pass

    def flush(self) -> None:
        with as_folder_error("write", self._shown):
            os.fsync(self._open())

    def close(self) -> None:
        if self._descriptor is not None:
            self.flush()
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self._shown} is closed")
        return self._descriptor


@contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """Where to write the file that is to be at `path`: beside it, so that a full disk, or a crash, leaves the one that
    was there as it was. Where nothing can be written beside it, it is written itself."""
    path = Path(os.path.realpath(path))  # a link stays one
    temporary = _beside(path)
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        if error.errno not in _NOTHING_BESIDE:
            raise
        yield path
        return
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Hidden, so that no listing takes the half-written file for a whole one."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def _written_beside(path: Path, pieces: Iterable[bytes | memoryview]) -> Iterator[Path]:
    """The data in a file beside `path`, on the disk; it is gone afterwards, unless it was moved."""
    temporary = _beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "xb") as file:
            for data in pieces:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    """Give the file its name, unless there is such a file: FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a filesystem without links; here a crash in between may leave a file cut short
        with open(path, "xb") as file:
            file.write(temporary.read_bytes())
            file.flush()
            os.fsync(file.fileno())


def _walk(folder: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path)
            continue
        try:
            yield entry.path, entry.stat().st_size
        except FileNotFoundError:  # removed by another process since it was listed
            continue


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the filesystem can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network filesystems cannot sync a folder; the file itself is safe by now
        pass
    finally:
        os.close(descriptor)
