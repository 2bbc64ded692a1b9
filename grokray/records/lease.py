"""A lock where no kernel keeps one: an object with its holder's name, which has to be refreshed.

Others respect it until it is two minutes old, so a holder survives an outage of the store of a minute. It is taken with
a put that fails if the object is there, and an expired one is taken over with a put that fails if it has changed: of
two that come at once, one gets it. By whose clock it has expired is the store's, where it tells; else it is looked at
for a while before, as clocks of machines may be hours apart.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from grokray.errors import FolderBusy, FolderError
from grokray.records.holder import Holder
from grokray.records.store import Store, Tagged

REFRESH_S = 20.0
EXPIRES_S = 120.0
# So long a lease is looked at before it is taken over where the store does not say how old it is.
WATCH_S, LOOK_S = 1.5 * REFRESH_S, 1.0
_ATTEMPTS = 3

log = logging.getLogger(__name__)


class Lease:
    """One that is held. `lost` is set once somebody else has it."""

    def __init__(self, store: Store, name: str, holder: Holder) -> None:
        self.lost = threading.Event()
        self._store, self._name, self._holder = store, name, holder
        self._refreshed = time.monotonic()
        self._refreshing = threading.Lock()

    def refresh(self) -> None:
        """Say that the holder lives, and find out whether it still has the lease. FolderError if the store refuses."""
        with self._refreshing:
            for _ in range(_ATTEMPTS):
                began = time.monotonic()  # in an outage the put may be much older than its answer
                current = self._store.read_tagged(self._name)
                holder = None if current is None else Holder.decode(current.data)
                if holder is not None and holder.token != self._holder.token:
                    self.lost.set()
                    return
                data = self._holder.encode(refreshed=time.time())
                if current is None:  # somebody has removed it, and others may take that for leave to come
                    done = self._store.create(self._name, data)
                else:
                    done = self._store.replace(self._name, data, current.tag)
                if done:
                    self._refreshed = began
                    return

    @property
    def doubtful(self) -> bool:
        """Whether others may have taken it since it was refreshed."""
        return time.monotonic() - self._refreshed > EXPIRES_S - REFRESH_S

    def keep(self, released: threading.Event) -> None:
        """Refresh it from time to time until it is released, or lost."""
        while not (released.wait(REFRESH_S) or self.lost.is_set()):
            try:
                self.refresh()
            except FolderError as error:  # several rounds may fail before others may take it
                log.warning("%s; trying again in %g s", error, REFRESH_S)

    def release(self) -> None:
        with self._refreshing, suppress(FolderError):  # it expires by itself
            current = self._store.read_tagged(self._name)
            holder = None if current is None else Holder.decode(current.data)
            if holder is not None and holder.token == self._holder.token:
                self._store.delete(self._name)


@contextmanager
def leased(store: Store, name: str, holder: Holder, subject: str) -> Iterator[Lease]:
    """Hold the lease while the block runs. FolderBusy names whoever has it."""
    _take(store, name, holder, subject)
    lease, released = Lease(store, name, holder), threading.Event()
    keeper = threading.Thread(target=lease.keep, args=(released,), name="lock", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        released.set()
        lease.release()


def expired(holder: Holder, found: Tagged | None = None) -> bool:
    """Whether others need not respect it any more; by the store's own clock, where it tells."""
    return holder.dead or _age_s(holder, found) >= EXPIRES_S


def _take(store: Store, name: str, holder: Holder, subject: str) -> None:
    current = None
    for _ in range(_ATTEMPTS):
        if store.create(name, holder.encode()):
            return
        found = store.read_tagged(name)
        if found is None:
            continue
        current = Holder.decode(found.data)
        if current is not None and current.token == holder.token:
            return
        if current is not None and not expired(current, found):
            wait = max(1, round(EXPIRES_S - _age_s(current, found)))
            raise FolderBusy(busy(subject, current), hint=f"if that process is dead, try again in {wait} s")
        if current is not None and found.age_s is None and not current.dead and _changes(store, name, found, subject):
            continue
        if store.replace(name, holder.encode(), found.tag):
            return
    raise FolderBusy(busy(subject, current))


def _changes(store: Store, name: str, found: Tagged, subject: str) -> bool:
    """Whether somebody refreshes it all the same: that it has expired was told by comparing clocks of two machines."""
    log.warning("%s seems to have been left; looking for %g s whether it is", subject, WATCH_S)
    deadline = time.monotonic() + WATCH_S
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        current = store.read_tagged(name)
        if current is None or current.tag != found.tag:
            return True
    return False


def _age_s(holder: Holder, found: Tagged | None) -> float:
    if found is not None and found.age_s is not None:
        return found.age_s
    return time.time() - holder.refreshed


def busy(subject: str, holder: Holder | None) -> str:
    return f"{subject} is in use by {holder or 'another process'}"
