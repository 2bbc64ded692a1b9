"""One process at a time. On this machine the kernel holds the lock, so a killed process leaves none behind.

On an object store, and on a mounted filesystem that cannot lock, it is a lease (grokray.records.lease).
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from grokray.errors import ExecutionError, FolderBusy, FolderError
from grokray.records.holder import Holder
from grokray.records.lease import Lease, busy, leased
from grokray.records.store import Store, as_folder_error

# Who only looks whether anybody holds it, as `grokray status` does, shares it for a moment.
_TRIES, _PAUSE_S = 100, 0.02
# What a mounted filesystem answers that cannot lock.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Lock:
    """A lock that is held. `lost` is set once another process has it all the same: a lease expires in an outage."""

    def __init__(self, holder: Holder, subject: str, lease: Lease | None = None) -> None:
        self.holder = holder
        self.lost = threading.Event() if lease is None else lease.lost
        self._subject, self._lease = subject, lease

    def require(self) -> None:
        """Call it before writing what belongs to the holder alone. ExecutionError if that is somebody else by now."""
        if self._lease is not None and self._lease.doubtful:
            self._lease.refresh()
        if self.lost.is_set():
            raise ExecutionError(
                f"{self._subject} was taken over by another process while the store did not answer",
                hint="that process goes on with it; nothing of this one is lost",
            )


@contextmanager
def hold(store: Store, name: str, *, command: str | None = None, what: str | None = None) -> Iterator[Lock]:
    """Hold the lock `name` of a folder. FolderBusy names the holder if another process has it.

    `what` is what the message says is in use (the folder, unless given); `command` is what the holder is called
    there (this process' command line, unless given).
    """
    holder = Holder.here(command)
    subject = f"{what} of {store}" if what else str(store)
    if store.is_local:
        with _flocked(store, name, holder, subject) as locked:
            if locked:
                yield Lock(holder, subject)
                return
    with leased(store, name, holder, subject) as lease:
        yield Lock(holder, subject, lease)


@contextmanager
def _flocked(store: Store, name: str, holder: Holder, subject: str) -> Iterator[bool]:
    """Locked by the kernel; False on a filesystem that cannot. FolderBusy if another process has it."""
    with as_folder_error("lock", store.shown(name)):
        path = store.local_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        locked = _lock(descriptor, store, name, subject)
        if locked:
            with as_folder_error("lock", store.shown(name)):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, holder.encode(), 0)
        yield locked
    finally:
        os.close(descriptor)  # this releases the lock; the file stays, since another process may wait on it


def _lock(descriptor: int, store: Store, name: str, subject: str) -> bool:
    try:
        for _ in range(_TRIES):
            if _try(descriptor, fcntl.LOCK_EX):
                return True
            if not _try(descriptor, fcntl.LOCK_SH):
                break
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(_PAUSE_S)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise FolderError(f"cannot lock {store.shown(name)}: {error.strerror}") from error
    current = store.read_bytes(name) if store.exists(name) else b""
    raise FolderBusy(busy(subject, Holder.decode(current)))


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
