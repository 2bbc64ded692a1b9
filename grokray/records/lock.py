"""One process at a time. On this machine the kernel holds the lock, so a killed process leaves none behind.

On an object store the lock is advisory: an object with the holder's name, refreshed every 30 s, that others respect
until it is 2 minutes old. Two processes that start within the same second could both get it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from grokray.errors import FolderBusy, FolderError
from grokray.records.store import Store, as_folder_error, hide_secrets

REFRESH_S = 30.0
STALE_AFTER_S = 120.0
# What a mounted filesystem answers that cannot lock.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock. Times in unix seconds; `token` tells two holders apart."""

    host: str
    pid: int
    command: str
    since: float
    refreshed: float
    token: str

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{self.command!r} (process {self.pid} on {self.host}, since {since})"


@contextmanager
def hold(store: Store, name: str, *, command: str | None = None, what: str | None = None) -> Iterator[Holder]:
    """Hold the lock `name` of a folder. FolderBusy names the holder if another process has it.

    `what` is what the message says is in use (the folder, unless given); `command` is what the holder is called
    there (this process' command line, unless given).
    """
    now = time.time()
    holder = Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        command=command or _command_line(),
        since=now,
        refreshed=now,
        token=secrets.token_hex(8),
    )
    subject = f"{what} of {store}" if what else str(store)
    with _held(store, name, holder, subject):
        yield holder


@contextmanager
def _held(store: Store, name: str, holder: Holder, subject: str) -> Iterator[None]:
    if not store.is_local:
        with _advisory(store, name, holder, subject):
            yield
        return
    with as_folder_error("lock", store.shown(name)):
        path = store.local_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with _locked(descriptor, store, name, holder, subject):
            yield
    finally:
        os.close(descriptor)  # this releases the lock; the file stays, since another process may wait on it


def _locked(descriptor: int, store: Store, name: str, holder: Holder, subject: str) -> AbstractContextManager[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderBusy(_busy(subject, _holder(store, name))) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return _advisory(store, name, holder, subject)
        raise FolderError(f"cannot lock {store.shown(name)}: {error.strerror}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _encode(holder), 0)
    return _nothing()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _advisory(store: Store, name: str, holder: Holder, subject: str) -> Iterator[None]:
    _refuse_if_held(store, name, holder, subject)
    store.write_atomic(name, _encode(holder))
    _refuse_if_held(store, name, holder, subject)  # whoever wrote last has it
    released = threading.Event()
    refresher = threading.Thread(target=_refresh, args=(store, name, holder, released), name="lock", daemon=True)
    refresher.start()
    try:
        yield
    finally:
        released.set()
        refresher.join()
        with suppress(FolderError):  # the lock grows stale by itself
            current = _holder(store, name)
            if current is not None and current.token == holder.token:
                store.delete(name)


def _refuse_if_held(store: Store, name: str, holder: Holder, subject: str) -> None:
    current = _holder(store, name)
    if current is None or current.token == holder.token:
        return
    age = time.time() - current.refreshed
    if age < STALE_AFTER_S:
        wait = max(1, round(STALE_AFTER_S - age))
        raise FolderBusy(_busy(subject, current), hint=f"if that process is dead, try again in {wait} s")


def _refresh(store: Store, name: str, holder: Holder, released: threading.Event) -> None:
    while not released.wait(REFRESH_S):
        try:
            store.write_atomic(name, _encode(holder, refreshed=time.time()))
        except FolderError as error:  # four rounds may fail before the lock is stale
            log.warning("%s; trying again in %g s", error, REFRESH_S)


def _holder(store: Store, name: str) -> Holder | None:
    if not store.exists(name):
        return None
    try:
        return Holder(**json.loads(store.read_bytes(name)))
    except (ValueError, TypeError):  # being written at this moment
        return None


def _busy(subject: str, holder: Holder | None) -> str:
    return f"{subject} is in use by {holder or 'another process'}"


def _encode(holder: Holder, **changes: float) -> bytes:
    return (json.dumps(asdict(holder) | changes) + "\n").encode()


def _command_line() -> str:
    return shlex.join([os.path.basename(sys.argv[0]) or "python", *map(hide_secrets, sys.argv[1:])])
